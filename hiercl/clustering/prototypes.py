"""PrototypeTree: prototypes of an embedding on several levels, linked into one tree by bottom-up k-means."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hiercl.clustering.kmeans import kmeans, nearest
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.errors import check_finite
from hiercl.runtime.types import Float, Int

MIN_CONCENTRATION = 1e-3


@dataclass(frozen=True)
class PrototypeTree:
    r"""A hierarchy that was learned: unit prototypes per level, coarse first, each with a parent one level up.

    Built as HCSC builds it (Guo et al., CVPR 2022, section 3.2; methods A.2): k-means of the embeddings gives the
    finest level; k-means of the prototypes of a level gives the next coarser one; an edge joins a prototype to the
    centre that it was assigned to.

    Attributes:
        centroids: per level, unit length.
        concentration: per level, the temperature $\phi_c$ of every prototype (see :func:`concentration`).
        parent: per level, the number of each prototype's parent one level up; zeros at level 0, below the root.
        assignment: prototype of every clustered item at every level.
        closeness: cosine of every clustered item to those prototypes.

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
    def fit(
        cls,
        z: Float[Tensor, "items dim"],
        sizes: Sequence[int],
        seed: int = 0,
        temperature: float = 0.2,
        iterations: int = 20,
        restarts: int = 1,
    ) -> "PrototypeTree":
        """Cluster embeddings bottom-up.

        Args:
            z: embeddings; brought to unit length first.
            sizes: number of prototypes per level, coarse to fine: the paper's 3000-2000-1000 is ``(1000, 2000, 3000)``.
            seed: of k-means.
            temperature: the mean concentration of every level.
            iterations: of Lloyd, at most.
            restarts: of k-means (the official code has 5).

        Raises:
            ValueError: sizes that do not grow from coarse to fine, more prototypes than items, non-finite embeddings,
                an embedding of length zero.
        """
        sizes = tuple(int(size) for size in sizes)
        if not sizes or any(fine <= coarse for coarse, fine in pairwise(sizes)) or sizes[0] < 1:
            raise ValueError(f"prototypes={sizes}: give at least one level, and sizes that grow from coarse to fine.")
        if sizes[-1] > len(z):
            raise ValueError(f"prototypes={sizes}: {sizes[-1]} prototypes need at least as many items, not {len(z)}.")
        check_finite(z)
        if (z.norm(dim=1) == 0).any():
            raise ValueError("An embedding has length zero and so no direction: the projection has collapsed.")
        z = F.normalize(z, dim=1)

        centroids, concentrations, parents = [], [], []
        members = z  # of the level at hand: the items, then the prototypes of the level below
        for level in reversed(range(len(sizes))):
            clusters = kmeans(members, sizes[level], seed + level, iterations, restarts)
            concentrations.append(
                concentration(clusters.distance.sqrt(), clusters.assignment, sizes[level], temperature)
            )
            members = F.normalize(clusters.centres, dim=1)
            centroids.append(members)
            parents.append(clusters.assignment)
        # parents[0] now says where each item belongs, parents[i] where the prototypes of the level below belong
        item, *edges = parents
        path = [item]
        for edge in edges:
            path.append(edge[path[-1]])
        assignment = torch.stack(path[::-1], dim=1)
        top = torch.zeros(sizes[0], dtype=torch.long, device=z.device)
        centroids, concentrations = tuple(centroids[::-1]), tuple(concentrations[::-1])
        closeness = torch.stack([(z * c[a]).sum(dim=1) for c, a in zip(centroids, assignment.T, strict=True)], dim=1)
        return cls(centroids, concentrations, (top, *edges[::-1]), assignment, closeness)

    @property
    def levels(self) -> int:
        """Number of levels."""
        return len(self.centroids)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of prototypes per level, coarse to fine."""
        return tuple(len(c) for c in self.centroids)

    def to(self, device: torch.device | str) -> "PrototypeTree":
        """The tree on another device."""
        return PrototypeTree(
            *(tuple(t.to(device) for t in group) for group in (self.centroids, self.concentration, self.parent)),
            self.assignment.to(device),
            self.closeness.to(device),
        )

    # -- points -------------------------------------------------------------------------------------------------

    def logits(self, z: Float[Tensor, "points dim"], level: int) -> Float[Tensor, "points prototypes"]:
        r"""$\langle z, c_i\rangle / \phi_i$ for every prototype of a level; z of unit length."""
        return z @ self.centroids[level].T / self.concentration[level]

    def posterior(self, z: Float[Tensor, "points dim"], level: int) -> Float[Tensor, "points prototypes"]:
        r"""Softmax of :meth:`logits` over the prototypes of the level: what HCSC's selection draws with.

        $$\pi_i(z) = \frac{e^{\langle z, c_i\rangle/\phi_i}}{\sum_{i'} e^{\langle z, c_{i'}\rangle/\phi_{i'}}}$$
        """
        return self.logits(z, level).softmax(dim=1)

    def log_normaliser(self, z: Float[Tensor, "points dim"], level: int) -> Float[Tensor, " points"]:
        """Logarithm of the posterior's denominator; it costs one pass over all prototypes, once for each point."""
        return self.logits(z, level).logsumexp(dim=1)

    def assign(self, z: Float[Tensor, "points dim"]) -> Int[Tensor, "points levels"]:
        """Prototypes of new points: the nearest finest one, then the walk up its parents."""
        check_finite(z)
        return self._walk_up(nearest(F.normalize(z, dim=1), self.centroids[-1])[0])

    def _walk_up(self, finest: Int[Tensor, " points"]) -> Int[Tensor, "points levels"]:
        path = [finest]
        for level in range(self.levels - 1, 0, -1):
            path.append(self.parent[level][path[-1]])
        return torch.stack(path[::-1], dim=1)

    # -- nodes --------------------------------------------------------------------------------------------------

    def path(self, item: int) -> tuple[int, ...]:
        """Prototypes of a clustered item, coarse to fine."""
        return tuple(self.assignment[item].tolist())

    def members(self, level: int, node: int) -> Int[Tensor, " members"]:
        """Indices of the items below a node."""
        self._check(level, node)
        return (self.assignment[:, level] == node).nonzero()[:, 0]

    def exemplars(self, level: int, node: int, count: int = 6) -> Int[Tensor, " exemplars"]:
        """The members closest to the node's prototype, closest first; fewer than ``count`` if it has fewer."""
        members = self.members(level, node)
        order = self.closeness[members, level].argsort(descending=True, stable=True)
        return members[order[:count]]

    def counts(self, level: int) -> Int[Tensor, " prototypes"]:
        """Number of items below every node of a level."""
        return torch.bincount(self.assignment[:, level], minlength=self.sizes[level])

    def _contingency(self, labels: Int[Tensor, " items"], level: int) -> Int[Tensor, "prototypes classes"]:
        if len(labels) != len(self.assignment):
            raise ValueError(f"{len(labels)} labels for a tree of {len(self.assignment)} items: pass one label each.")
        labels = labels.to(self.assignment.device)
        classes = int(labels.max()) + 1
        flat = self.assignment[:, level] * classes + labels
        return torch.bincount(flat, minlength=self.sizes[level] * classes).view(self.sizes[level], classes)

    def majority(self, labels: Int[Tensor, " items"]) -> tuple[Tensor, ...]:
        """Most frequent label below every node, per level (the lowest label wins a tie; 0 for an empty node)."""
        return tuple(self._contingency(labels, level).argmax(dim=1) for level in range(self.levels))

    def purity(self, labels: Int[Tensor, " items"]) -> tuple[Tensor, ...]:
        """Share of the members that have their node's majority label, per level; NaN for an empty node.

        Args:
            labels: true labels at one level of a hierarchy, e.g. ``torch.as_tensor(dataset.labels_at(0))``.
        """
        tables = [self._contingency(labels, level) for level in range(self.levels)]
        return tuple(table.max(dim=1).values / table.sum(dim=1) for table in tables)

    def as_hierarchy(self) -> Hierarchy:
        """The tree as a :class:`~hiercl.hierarchy.Hierarchy`: its leaves are the finest prototypes, in their order.

        The leaf label of item i is ``tree.assignment[i, -1]``. A prototype is named "level:number"; coarse prototypes
        to which no finer one belongs are left out.
        """
        paths = self._walk_up(torch.arange(self.sizes[-1], device=self.assignment.device)).cpu().numpy()
        ancestors, names = [], []
        for level, column in enumerate(paths.T):
            used, renumbered = np.unique(column, return_inverse=True)
            ancestors.append(renumbered)
            names.append(tuple(f"{level}:{node}" for node in used))
        return Hierarchy.from_ancestors(np.stack(ancestors, axis=1), tuple(names))

    def _check(self, level: int, node: int) -> None:
        if not 0 <= level < self.levels or not 0 <= node < self.sizes[level]:
            raise ValueError(f"No prototype {node} on level {level}: the tree has {self.sizes}, coarse to fine.")

    def state_dict(self) -> dict:
        """Plain tensors, for checkpoints."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_state_dict(cls, state: dict) -> "PrototypeTree":
        """The tree that :meth:`state_dict` came from."""
        groups = {name: tuple(state[name]) for name in ("centroids", "concentration", "parent")}
        return cls(**groups, assignment=state["assignment"], closeness=state["closeness"])

    def __repr__(self) -> str:
        return f"PrototypeTree(sizes={self.sizes}, items={len(self.assignment)})"


def concentration(
    distance: Float[Tensor, " members"], assignment: Int[Tensor, " members"], k: int, temperature: float
) -> Float[Tensor, " prototypes"]:
    r"""Temperature of every prototype: small for a tight, well-filled cluster.

    $$\phi_c = \frac{\frac1{n_c}\sum_{i\in c}\lVert u_i-\mu_c\rVert_2}{\log(n_c+10)}$$

    as in PCL (Li et al., 2021, eq. 12) and HCSC. Clusters with fewer than two members take the largest $\phi$; then
    $\phi$ is clipped to its 10th to 90th percentile and scaled so that its mean is the temperature.

    Args:
        distance: Euclidean distance (not squared) of every member to its centre, before the centre is normalised.
        assignment: cluster of every member.
        k: number of clusters.
        temperature: the mean of the result, > 0.
    """
    count = torch.bincount(assignment, minlength=k)
    total = torch.zeros(k, dtype=torch.float64, device=distance.device).index_add_(0, assignment, distance.double())
    phi = total / count.clamp(min=1) / torch.log(count + 10.0)
    several = count > 1
    phi = torch.where(several, phi, phi[several].max() if several.any() else phi.new_ones(()))
    low, high = torch.quantile(phi, 0.1), torch.quantile(phi, 0.9)
    phi = phi.clamp(low, high)
    mean = phi.mean()
    phi = phi / mean if mean > 0 else torch.ones_like(phi)  # every cluster is a point: nothing to tell them apart
    return (temperature * phi).float().clamp(min=MIN_CONCENTRATION)
