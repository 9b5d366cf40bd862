"""PrototypeTree: prototypes of embeddings on several levels, which bottom-up k-means joins into a tree."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, SupportsIndex

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hiercl.clustering.kmeans import kmeans, nearest
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import MOST_CLASSES, Array, as_array, as_ids, as_tensor, unit_rows
from hiercl.runtime.config import Above, AtLeast, check_value
from hiercl.runtime.errors import check_directions, check_finite
from hiercl.runtime.given import whole_number
from hiercl.runtime.types import Float, Int

MIN_CONCENTRATION = 1e-3


@dataclass(frozen=True)
class PrototypeTree:
    r"""A learned hierarchy: prototypes on several levels, coarse first, each with a parent one level up.

    k-means of the embeddings gives the finest level. k-means of the prototypes of a level gives the next coarser level,
    and each prototype's parent is the centre that it is assigned to. Source: HCSC's official code.

    Attributes:
        centroids: prototypes of each level, unit vectors.
        concentration: temperature $\phi_c$ of every prototype of each level (see :func:`concentration`).
        parent: number of each prototype's parent, one level up, for each level; zeros at level 0.
        assignment: prototype of every clustered item at every level.
        closeness: cosine of every clustered item with these prototypes.

    Example:
        >>> tree = PrototypeTree.fit(torch.randn(1000, 16), sizes=(5, 20), seed=0)
        >>> tree.sizes
        (5, 20)
    """

    centroids: tuple[Tensor, ...]
    concentration: tuple[Tensor, ...]
    parent: tuple[Tensor, ...]
    assignment: Int[Tensor, "items levels"]
    closeness: Float[Tensor, "items levels"]

    @classmethod
    @checked
    def fit(
        cls,
        z: Float[Array, "items dim"],
        sizes: Sequence[int],
        seed: SupportsIndex = 0,
        temperature: Annotated[float, Above(0)] = 0.2,
        iterations: Annotated[int, AtLeast(0)] = 20,
        restarts: Annotated[int, AtLeast(1)] = 1,
    ) -> "PrototypeTree":
        """Clusters embeddings bottom-up.

        Args:
            z: embeddings, an array or a tensor on any device; they are normalised first.
            sizes: number of prototypes per level, coarse to fine; ``(1000, 2000, 3000)`` in HCSC's official code.
            seed: seed of k-means.
            temperature: mean concentration of every level.
            iterations: largest number of Lloyd iterations.
            restarts: number of starts of k-means (official code: 5).

        Returns:
            The tree.

        Raises:
            ValueError: sizes that do not grow from coarse to fine, more prototypes than items, embeddings that are not
                ``[items, dim]``, not finite or of length zero, another argument out of its range.
        """
        seed = whole_number(seed, "seed", least=0)
        sizes = check_value("prototypes", as_array(sizes) if isinstance(sizes, Tensor) else sizes, tuple[int, ...])
        if not sizes or any(fine <= coarse for coarse, fine in pairwise(sizes)) or sizes[0] < 1:
            raise ValueError(f"prototypes={sizes}: give at least one level, and sizes that grow from coarse to fine.")
        z = as_tensor(z).float()
        check_directions(z)
        if sizes[-1] > len(z):
            raise ValueError(f"prototypes={sizes}: {sizes[-1]} prototypes need at least as many items, not {len(z)}.")
        z = unit_rows(z)

        centroids, concentrations, parents = [], [], []
        members = z  # what a level clusters: the items, then the prototypes of the level below
        for level in reversed(range(len(sizes))):
            clusters = kmeans(members, sizes[level], seed + level, iterations, restarts)
            distance = clusters.distance.sqrt()
            concentrations.append(concentration(distance, clusters.assignment, sizes[level], temperature))
            members = F.normalize(clusters.centres, dim=1)
            centroids.append(members)
            parents.append(clusters.assignment)
        finest, *edges = parents  # finest prototype of each item; parents of the prototypes, fine to coarse
        top = torch.zeros(sizes[0], dtype=torch.long, device=z.device)
        centroids, parent = tuple(centroids[::-1]), (top, *edges[::-1])
        assignment = _paths(parent, finest)
        closeness = torch.stack([(z * c[a]).sum(dim=1) for c, a in zip(centroids, assignment.T, strict=True)], dim=1)
        return cls(centroids, tuple(concentrations[::-1]), parent, assignment, closeness)

    @property
    def levels(self) -> int:
        """Number of levels."""
        return len(self.centroids)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of prototypes per level, coarse to fine."""
        return tuple(len(c) for c in self.centroids)

    def to(self, device: torch.device | str) -> "PrototypeTree":
        """Returns the tree on another device."""
        groups = (self.centroids, self.concentration, self.parent)
        centroids, phi, parent = (tuple(level.to(device) for level in group) for group in groups)
        return PrototypeTree(centroids, phi, parent, self.assignment.to(device), self.closeness.to(device))

    # -- points -------------------------------------------------------------------------------------------------

    def logits(self, z: Float[Array, "points dim"], level: int) -> Float[Tensor, "points prototypes"]:
        r"""Returns $\langle z, c_i\rangle / \phi_i$ for every prototype of a level; z must be unit vectors.

        Raises:
            ValueError: no such level, or embeddings of another width.
        """
        level = self._level(level)
        z = z if isinstance(z, Tensor) else as_tensor(z).to(self.centroids[level])
        self._check_width(z)
        return z @ self.centroids[level].T / self.concentration[level]

    def posterior(
        self, z: Float[Array, "points dim"], level: int, sharpness: float | int = 1.0
    ) -> Float[Tensor, "points prototypes"]:
        r"""Returns the softmax of :meth:`logits` over the prototypes of the level, which HCSC's selection draws with.

        $$\pi_i(z) = \frac{e^{s\langle z, c_i\rangle/\phi_i}}{\sum_{i'} e^{s\langle z, c_{i'}\rangle/\phi_{i'}}}$$

        with s the ``sharpness``, at least 0. Errors are those of :meth:`logits`.
        """
        return (_sharpness(sharpness) * self.logits(z, level)).softmax(dim=1)

    def log_normaliser(
        self, z: Float[Array, "points dim"], level: int, sharpness: float | int = 1.0
    ) -> Float[Tensor, " points"]:
        """Returns the logarithm of the posterior's denominator."""
        return (_sharpness(sharpness) * self.logits(z, level)).logsumexp(dim=1)

    def assign(self, z: Float[Array, "points dim"]) -> Int[Tensor, "points levels"]:
        """Returns the prototypes of new points: the nearest finest prototype and its ancestors.

        Example:
            >>> run.tree.assign(torch.randn(5, 128)).shape
            torch.Size([5, 2])
        """
        z = as_tensor(z).float()
        check_finite(z)
        self._check_width(z)
        return _paths(self.parent, nearest(unit_rows(z), self.centroids[-1])[0])

    # -- nodes --------------------------------------------------------------------------------------------------

    def path(self, item: int) -> tuple[int, ...]:
        """Returns the prototypes of a clustered item, coarse to fine.

        Example:
            >>> len(run.tree.path(0))
            2
        """
        return tuple(self.assignment[whole_number(item, "item", least=0, most=len(self.assignment) - 1)].tolist())

    def members(self, level: int, node: int) -> Int[Tensor, " members"]:
        """Returns the indices of the items below a node."""
        level, node = self._node(level, node)
        return (self.assignment[:, level] == node).nonzero()[:, 0]

    def exemplars(self, level: int, node: int, count: int = 6) -> Int[Tensor, " exemplars"]:
        """Returns the members closest to the node's prototype, closest first, at most ``count``.

        Example:
            >>> pictures = train.items[run.tree.exemplars(level=0, node=1, count=3)]
        """
        count, members = whole_number(count, "count", least=0), self.members(level, node)
        order = self.closeness[members, level].argsort(descending=True, stable=True)
        return members[order[:count]]

    def counts(self, level: int) -> Int[Tensor, " prototypes"]:
        """Returns the number of items below every node of a level.

        Example:
            >>> int(run.tree.counts(level=1).sum()) == len(train)
            True
        """
        level = self._level(level)
        return torch.bincount(self.assignment[:, level], minlength=self.sizes[level])

    def _contingency(self, labels: Int[Array, " items"], level: int) -> Int[Tensor, "prototypes classes"]:
        labels = as_ids(labels).to(self.assignment.device)
        if labels.shape != self.assignment.shape[:1]:
            given = f"labels are {list(labels.shape)} for a tree of {len(self.assignment)} items"
            raise ValueError(f"{given}: pass one label each.")
        known, classes = labels >= 0, max(int(labels.max()), 0) + 1
        if classes > MOST_CLASSES:
            raise ValueError(f"labels go up to {classes - 1}: classes are numbered from 0.")
        flat = (self.assignment[:, level] * classes + labels)[known]
        return torch.bincount(flat, minlength=self.sizes[level] * classes).view(self.sizes[level], classes)

    def majority(self, labels: Int[Array, " items"]) -> tuple[Tensor, ...]:
        """Returns the most frequent label below every node, per level (of a tie the lowest; 0 for an empty node).

        Items without a label (−1) do not count, and so it is with :meth:`purity`.
        """
        return tuple(self._contingency(labels, level).argmax(dim=1) for level in range(self.levels))

    def purity(self, labels: Int[Array, " items"]) -> tuple[Tensor, ...]:
        """Returns the share of the members that have their node's majority label, per level; NaN for an empty node.

        Args:
            labels: true labels at one level of a hierarchy.

        Example:
            >>> [len(level) for level in run.tree.purity(torch.as_tensor(train.labels_at(0)))]
            [2, 4]
        """
        tables = [self._contingency(labels, level) for level in range(self.levels)]
        return tuple(table.max(dim=1).values / table.sum(dim=1) for table in tables)

    def as_hierarchy(self) -> Hierarchy:
        """Returns the tree as a :class:`~hiercl.hierarchy.Hierarchy` whose leaves are the finest prototypes, in order.

        The leaf label of item i is ``tree.assignment[i, -1]``. A prototype is named "level:number". Coarse prototypes
        without a finer one are left out.

        Example:
            >>> run.tree.as_hierarchy().n_leaves
            4
        """
        finest = torch.arange(self.sizes[-1], device=self.assignment.device)
        paths = _paths(self.parent, finest).cpu().numpy()
        ancestors, names = [], []
        for level, column in enumerate(paths.T):
            used, renumbered = np.unique(column, return_inverse=True)
            ancestors.append(renumbered)
            names.append(tuple(f"{level}:{node}" for node in used))
        return Hierarchy.from_ancestors(np.stack(ancestors, axis=1), tuple(names))

    def _level(self, level: int) -> int:
        number = whole_number(level, "level")
        if not -self.levels <= number < self.levels:
            raise ValueError(f"there is no level {number}: the tree has {self.levels}, coarse to fine, from 0.")
        return number % self.levels

    def _node(self, level: int, node: int) -> tuple[int, int]:
        level, number = self._level(level), whole_number(node, "node")
        if not 0 <= number < self.sizes[level]:
            raise ValueError(f"No prototype {number} on level {level}: the tree has {self.sizes}, coarse to fine.")
        return level, number

    def _check_width(self, z: Tensor) -> None:
        dim = self.centroids[-1].shape[1]
        if z.ndim != 2 or z.shape[1] != dim:
            form = f"embeddings are {list(z.shape)}, and the prototypes have {dim} numbers"
            raise ValueError(f"{form}: pass embeddings [points, {dim}] of the model that the tree was learned of.")

    def state_dict(self) -> dict:
        """Returns plain tensors, for checkpoints."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_state_dict(cls, state: dict) -> "PrototypeTree":
        """Returns the tree of a :meth:`state_dict`."""
        groups = {name: tuple(state[name]) for name in ("centroids", "concentration", "parent")}
        return cls(**groups, assignment=state["assignment"], closeness=state["closeness"])

    def __repr__(self) -> str:
        return f"PrototypeTree(sizes={self.sizes}, items={len(self.assignment)})"


def _sharpness(sharpness: float | int) -> float:
    return check_value("sharpness", sharpness, Annotated[float, AtLeast(0)])


def _paths(parent: Sequence[Tensor], finest: Int[Tensor, " points"]) -> Int[Tensor, "points levels"]:
    """Returns the finest prototypes with their ancestors, coarse to fine."""
    path = [finest]
    for edge in reversed(parent[1:]):
        path.append(edge[path[-1]])
    return torch.stack(path[::-1], dim=1)


def concentration(
    distance: Float[Tensor, " members"], assignment: Int[Tensor, " members"], k: int, temperature: float
) -> Float[Tensor, " prototypes"]:
    r"""Returns the temperature of every prototype; it is small for a tight cluster with many members.

    $$\phi_c = \frac{\frac1{n_c}\sum_{i\in c}\lVert u_i-\mu_c\rVert_2}{\log(n_c+10)}$$

    Clusters with fewer than two members take the largest $\phi$. Then $\phi$ is clipped to its 10th to 90th percentile
    and scaled so that its mean is the temperature. Source: the official codes of PCL and HCSC.

    Args:
        distance: Euclidean distance (not squared) of every member to its centre, before the centre is normalised.
        assignment: cluster of every member.
        k: number of clusters.
        temperature: mean of the result, above 0.

    Example:
        >>> concentration(torch.tensor([0.1, 0.1, 0.4, 0.4]), torch.tensor([0, 0, 1, 1]), k=2, temperature=0.2)
        tensor([0.1040, 0.2960])
    """
    count = torch.bincount(assignment, minlength=k)
    total = torch.zeros(k, dtype=torch.float64, device=distance.device).index_add_(0, assignment, distance.double())
    phi = total / count.clamp(min=1) / torch.log(count + 10.0)
    several = count > 1
    phi = torch.where(several, phi, phi[several].max() if several.any() else phi.new_ones(()))
    low, high = torch.quantile(phi, 0.1), torch.quantile(phi, 0.9)
    phi = phi.clamp(low, high)
    mean = phi.mean()
    phi = phi / mean if mean > 0 else torch.ones_like(phi)  # every cluster is a point: all are equal
    return (temperature * phi).float().clamp(min=MIN_CONCENTRATION)
