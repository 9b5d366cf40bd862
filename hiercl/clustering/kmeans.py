"""Lloyd's k-means. All devices share one loop; only the search for the nearest centre differs."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hiercl.runtime.arrays import Array, as_tensor
from hiercl.runtime.errors import check_finite
from hiercl.runtime.types import Float, Int

Points = Float[Tensor, "points dim"]
Centres = Float[Tensor, "k dim"]
Assignment = Int[Tensor, " points"]
Distance = Float[Tensor, " points"]


@dataclass(frozen=True)
class KMeans:
    """The result of k-means.

    Attributes:
        centres: mean of the members of each cluster.
        assignment: nearest centre of every point.
        distance: squared Euclidean distance of every point to its centre.
    """

    centres: Centres
    assignment: Assignment
    distance: Distance

    @property
    def inertia(self) -> float:
        """Sum of the squared distances, which k-means minimises."""
        return float(self.distance.double().sum())


def kmeans(
    points: Float[Array, "points dim"], k: int, seed: int = 0, iterations: int = 20, restarts: int = 1
) -> KMeans:
    r"""Clusters points: minimises $\sum_i \min_c \lVert x_i - \mu_c\rVert^2$ by Lloyd's iterations.

    k-means++ (Arthur & Vassilvitskii, 2007) draws the first centres from a sample of at most max(4,096, 4k) points. It
    draws on the CPU, so that the start is the same on every device. A centre without members moves to the point that
    is farthest from its own centre.

    Args:
        points: an array, or a tensor on any device. They are clustered in float32.
        k: number of clusters.
        seed: seed of the draws.
        iterations: largest number of Lloyd iterations; it stops earlier when no assignment changes.
        restarts: number of starts; the result with the smallest inertia is kept.

    Returns:
        The clusters.

    Raises:
        ValueError: fewer points than clusters, k < 1, restarts < 1, a point that is not finite.

    Example:
        >>> points = torch.tensor([[0.0], [1.0], [10.0], [11.0]])
        >>> sorted(kmeans(points, k=2).centres[:, 0].tolist())
        [0.5, 10.5]
    """
    if k < 1 or restarts < 1:
        raise ValueError(f"k={k} and restarts={restarts}: both must be at least 1.")
    if k > len(points):
        raise ValueError(f"k={k} clusters need at least {k} points, and there are {len(points)}: ask for fewer.")
    points = as_tensor(points, "points").float()
    check_finite(points)
    rng = np.random.default_rng(seed)
    return min((_lloyd(points, k, rng, iterations) for _ in range(restarts)), key=lambda result: result.inertia)


def nearest(points: Float[Array, "points dim"], centres: Float[Array, "k dim"]) -> tuple[Assignment, Distance]:
    """Returns the nearest centre of every point, and the squared Euclidean distance to it.

    It searches with faiss on the CPU if faiss is installed, else with a matmul.

    Args:
        points: arrays or tensors; distances are computed in float32.
        centres: the same, on the same device.

    Example:
        >>> hiercl.clustering.nearest(torch.tensor([[0.0], [5.0]]), torch.tensor([[1.0], [7.0]]))[0].tolist()
        [0, 1]
    """
    points, centres = as_tensor(points, "points").float(), as_tensor(centres, "centres").float()
    if points.device.type == "cpu":
        try:
            import faiss  # here, so that importing hiercl stays light
        except ImportError:
            return nearest_by_matmul(points, centres)
        index = faiss.IndexFlatL2(centres.shape[1])
        index.add(np.ascontiguousarray(centres.numpy()))
        distance, assignment = index.search(np.ascontiguousarray(points.numpy()), 1)
        return torch.from_numpy(assignment[:, 0]), torch.from_numpy(distance[:, 0]).clamp(min=0)
    return nearest_by_matmul(points, centres)


def nearest_by_matmul(points: Points, centres: Centres, block: int = 8192) -> tuple[Assignment, Distance]:
    """Does what :func:`nearest` does, in blocks of points, by ‖x − μ‖² = ‖x‖² − 2⟨x, μ⟩ + ‖μ‖²."""
    norms = centres.square().sum(dim=1)
    parts = []
    for part in points.split(block):
        distance, assignment = torch.addmm(norms, part, centres.T, alpha=-2).min(dim=1)
        parts.append((assignment, (distance + part.square().sum(dim=1)).clamp(min=0)))
    assignments, distances = zip(*parts, strict=True)
    return torch.cat(assignments), torch.cat(distances)


def _lloyd(points: Points, k: int, rng: np.random.Generator, iterations: int) -> KMeans:
    centres = _first_centres(points, k, rng)
    assignment, distance = nearest(points, centres)
    for _ in range(iterations):
        centres = _means(points, assignment, distance, centres)
        before = assignment
        assignment, distance = nearest(points, centres)
        if torch.equal(assignment, before):
            break
    return KMeans(centres, assignment, distance)


def _first_centres(points: Points, k: int, rng: np.random.Generator) -> Centres:
    """k-means++: draws each next centre with a probability proportional to the squared distance to the chosen ones."""
    n = len(points)
    sample = np.sort(rng.permutation(n)[: min(n, max(4096, 4 * k))])
    candidates = points[torch.from_numpy(sample).to(points.device)].cpu().numpy()
    norms = np.square(candidates).sum(axis=1)
    chosen = [int(rng.integers(len(candidates)))]
    closest = np.full(len(candidates), np.inf, dtype=np.float32)
    for _ in range(k - 1):
        new = chosen[-1]
        distance = norms + norms[new] - 2 * candidates @ candidates[new]
        np.minimum(closest, np.maximum(distance, 0), out=closest)
        closest[chosen[-1]] = 0  # exactly 0, so that no point is drawn again while others remain
        cumulative = np.cumsum(closest, dtype=np.float64)
        if cumulative[-1] > 0:
            draw = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
            chosen.append(min(draw, len(candidates) - 1))
        else:  # all other points are copies of the centres
            chosen.append(int(rng.integers(len(candidates))))
    return torch.from_numpy(candidates[chosen]).to(points.device)


def _means(points: Points, assignment: Assignment, distance: Distance, centres: Centres) -> Centres:
    """Returns the new centres. Sums are in float64, so that the order of addition (CUDA varies it) has no effect."""
    k = len(centres)
    count = torch.bincount(assignment, minlength=k)
    total = torch.zeros(k, points.shape[1], dtype=torch.float64, device=points.device)
    total.index_add_(0, assignment, points.double())
    means = (total / count.clamp(min=1)[:, None]).float()
    empty = (count == 0).nonzero()[:, 0]
    if len(empty):
        means[empty] = points[distance.topk(len(empty)).indices]
    return means
