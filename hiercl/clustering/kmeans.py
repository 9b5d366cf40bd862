"""Lloyd's k-means. One loop for every device: only the search for the nearest centre differs."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hiercl.runtime.errors import check_finite
from hiercl.runtime.types import Float, Int


@dataclass(frozen=True)
class KMeans:
    """A finished clustering.

    Attributes:
        centres: means of the members.
        assignment: nearest centre of every point.
        distance: squared Euclidean distance to it.
    """

    centres: Float[Tensor, "k dim"]
    assignment: Int[Tensor, " points"]
    distance: Float[Tensor, " points"]

    @property
    def inertia(self) -> float:
        """Sum of the squared distances: what k-means makes small."""
        return float(self.distance.double().sum())


def kmeans(
    points: Float[Tensor, "points dim"], k: int, seed: int = 0, iterations: int = 20, restarts: int = 1
) -> KMeans:
    r"""Cluster points: minimise $\sum_i \min_c \lVert x_i - \mu_c\rVert^2$ by Lloyd's iterations.

    The first centres are drawn by k-means++ (Arthur & Vassilvitskii, 2007) on a sample of at most max(4,096, 4k)
    points. A centre that loses all its members moves to the point that is farthest from its own centre. The clustering
    with the smallest inertia of all restarts is kept. The draws are made on the CPU, so that every device starts alike.

    Args:
        points: float32, on any device.
        k: number of clusters.
        seed: of the draws.
        iterations: most Lloyd iterations; it stops earlier when nothing changes.
        restarts: number of starts.

    Raises:
        ValueError: fewer points than clusters, k < 1, a non-finite point.
    """
    if k < 1 or restarts < 1:
        raise ValueError(f"k={k} and restarts={restarts}: both must be at least 1.")
    if k > len(points):
        raise ValueError(f"k={k} clusters need at least {k} points, and there are {len(points)}: ask for fewer.")
    check_finite(points)
    rng = np.random.default_rng(seed)
    return min((_lloyd(points, k, rng, iterations) for _ in range(restarts)), key=lambda result: result.inertia)


def nearest(
    points: Float[Tensor, "points dim"], centres: Float[Tensor, "k dim"]
) -> tuple[Int[Tensor, " points"], Float[Tensor, " points"]]:
    """Nearest centre of every point and its squared Euclidean distance: faiss on the CPU, a matmul on CUDA."""
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


def nearest_by_matmul(
    points: Float[Tensor, "points dim"], centres: Float[Tensor, "k dim"], block: int = 8192
) -> tuple[Int[Tensor, " points"], Float[Tensor, " points"]]:
    """:func:`nearest` in blocks of points, from ‖x − μ‖² = ‖x‖² − 2⟨x, μ⟩ + ‖μ‖²."""
    norms = centres.square().sum(dim=1)
    parts = []
    for part in points.split(block):
        distance, assignment = torch.addmm(norms, part, centres.T, alpha=-2).min(dim=1)
        parts.append((assignment, (distance + part.square().sum(dim=1)).clamp(min=0)))
    assignments, distances = zip(*parts, strict=True)
    return torch.cat(assignments), torch.cat(distances)


def _lloyd(points: Float[Tensor, "points dim"], k: int, rng: np.random.Generator, iterations: int) -> KMeans:
    centres = _first_centres(points, k, rng)
    assignment, distance = nearest(points, centres)
    for _ in range(iterations):
        centres = _means(points, assignment, distance, centres)
        before = assignment
        assignment, distance = nearest(points, centres)
        if torch.equal(assignment, before):
            break
    return KMeans(centres, assignment, distance)


def _first_centres(points: Float[Tensor, "points dim"], k: int, rng: np.random.Generator) -> Float[Tensor, "k dim"]:
    """k-means++: each further centre is drawn with a probability proportional to the squared distance so far."""
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
        closest[chosen[-1]] = 0  # exactly, whatever the rounding: never drawn twice while another point remains
        cumulative = np.cumsum(closest, dtype=np.float64)
        if cumulative[-1] > 0:
            draw = int(np.searchsorted(cumulative, rng.random() * cumulative[-1], side="right"))
            chosen.append(min(draw, len(candidates) - 1))
        else:  # only copies of the centres are left
            chosen.append(int(rng.integers(len(candidates))))
    return torch.from_numpy(candidates[chosen]).to(points.device)


def _means(
    points: Float[Tensor, "points dim"],
    assignment: Int[Tensor, " points"],
    distance: Float[Tensor, " points"],
    centres: Float[Tensor, "k dim"],
) -> Float[Tensor, "k dim"]:
    """New centres. Sums are kept in float64, so that the order of addition (which CUDA varies) does not show."""
    k = len(centres)
    count = torch.bincount(assignment, minlength=k)
    total = torch.zeros(k, points.shape[1], dtype=torch.float64, device=points.device)
    total.index_add_(0, assignment, points.double())
    means = (total / count.clamp(min=1)[:, None]).float()
    empty = (count == 0).nonzero()[:, 0]
    if len(empty):
        means[empty] = points[distance.topk(len(empty)).indices]
    return means
