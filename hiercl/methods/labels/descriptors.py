"""What describes a feature dimension: Fisher ratios of the levels, or numbers that need no labels.

The mixtures of :mod:`hiercl.masks` and :mod:`hiercl.level_count` are fitted to these points. Level 0 is the coarsest.
Everything is computed in float64. Where the nodes of the items are given, items without a label (−1) are left out.
"""

from typing import Literal

import torch
from torch import Tensor

from hiercl.runtime.errors import check_finite, unknown
from hiercl.runtime.types import Float, Int

LOWEST_RATIO = 1e-6  # the lowest Fisher ratio, so that its logarithm is finite
DEAD = 1e-6  # a feature whose standard deviation is below this share of its mean is constant, up to float32's rounding
COMPONENTS = 16  # numbers that PCA keeps of a descriptor with one number for every item or dimension

Descriptor = Literal["contrast", "raw", "moments", "samples", "correlation"]
WITH_LABELS = ("contrast", "raw")
WITHOUT_LABELS = ("moments", "samples", "correlation")


@torch.no_grad()
def fisher_ratios(
    v: Float[Tensor, "items d"], ancestors: Int[Tensor, "items levels"], eps: float = 1e-6
) -> Float[Tensor, "d levels"]:
    r"""Returns how well every feature separates the classes of each level from their siblings.

    $$F_{j,h} = \frac{\operatorname{Var}\text{ between the classes of level } h \text{ within their parent}}
      {\operatorname{Var}\text{ within the classes of level } h + \epsilon}$$

    Let $\mu_c$ be the mean of a class, $s^2_c$ its variance (divided by $n_c - 1$), and $\bar\mu_{p(c)}$ the mean of
    the $\mu$ of its parent's children (at level 0, of all classes). The numerator is the mean of
    $(\mu_c-\bar\mu_{p(c)})^2$ over the classes that have a sibling. The denominator is the mean of $s^2_c$ over the
    classes that have two items or more. Every class has the weight 1, whatever its number of items.

    If no class of a level has a sibling, or none has two items, the ratio of every feature is 1 and its logarithm 0.

    Source: ours (the paper's statistic is not known).

    Args:
        v: features, e.g. projections, not normalised. Each is standardised first: ratios do not depend on its scale.
        ancestors: node of every item at every level, coarse first: ``hierarchy.labels_at_all(labels)`` as a tensor.
        eps: the small number ε, in units of a feature's variance.

    Returns:
        Ratios, float64, at least 1e-6. A constant feature has this lowest ratio.

    Raises:
        ValueError: shapes that do not fit, no item, no label, a feature that is not finite, a node with two parents.

    Example:
        >>> fisher_ratios(torch.tensor([[0.0], [1.0], [8.0], [9.0]]), torch.tensor([[0], [0], [1], [1]]))[0, 0] > 30
        tensor(True)
    """
    v, ancestors = with_labels(v, ancestors)
    x = standardised(v)
    squares = x.square()
    parent = torch.zeros_like(ancestors[:, 0], dtype=torch.long)
    ratios = []
    for level in range(ancestors.shape[1]):
        names, node = ancestors[:, level].unique(return_inverse=True)
        parent_of = parent.new_zeros(len(names)).scatter(0, node, parent)
        torn = parent_of[node] != parent
        if torn.any():
            raise ValueError(
                f"node {int(names[node[torn][0]])} of level {level} has two parents: ancestors must be a tree, coarse "
                "level first."
            )
        count = node.bincount()[:, None]
        mean = sums(x, node, len(names)) / count
        spread = (sums(squares, node, len(names)) - count * mean.square()).clamp(min=0)
        repeated = count[:, 0] > 1
        children = parent_of.bincount()[:, None]
        distance = mean - (sums(mean, parent_of, len(children)) / children)[parent_of]
        has_sibling = children[parent_of, 0] > 1
        if has_sibling.any() and repeated.any():
            within = (spread[repeated] / (count[repeated] - 1)).mean(dim=0)
            ratios.append(distance[has_sibling].square().mean(dim=0) / (within + eps))
        else:
            ratios.append(x.new_ones(x.shape[1]))
        parent = node
    return torch.stack(ratios, dim=1).clamp(min=LOWEST_RATIO)


@torch.no_grad()
def describe(
    v: Float[Tensor, "items d"], ancestors: Int[Tensor, "items levels"] | None = None, kind: Descriptor = "contrast"
) -> Float[Tensor, "d numbers"]:
    r"""Describes every feature by a few numbers, standardised over the features. A mixture is fitted to these points.

    With labels, and $s_j = [\log F_{j,0}, \dots, \log F_{j,H-1}]$ (see :func:`fisher_ratios`):

    * ``contrast``: $s_j - \frac1H\sum_h s_{j,h}$. It removes how informative a feature is overall.
    * ``raw``: $s_j$. An ablation: it separates informative features from others rather than one level from another.

    These need no labels:

    * ``moments``: mean, logarithm of the variance, kurtosis of $v_j$.
    * ``samples``: the feature's standardised values at all items, reduced to 16 numbers by PCA.
    * ``correlation``: its absolute correlations with all features (signs are arbitrary), reduced to 16 by PCA.

    Source: ours.

    Args:
        v: features.
        ancestors: node of every item at every level, coarse first; for ``contrast`` and ``raw``.
        kind: a name from above.

    Returns:
        Points, float64. Every column has mean 0 and variance 1 (a constant column is 0). After PCA only the first
        column has variance 1, and the others keep their proportion to it.

    Raises:
        ValueError: an unknown kind, a kind that needs labels without ``ancestors``, and all that `fisher_ratios`
            raises.

    Example:
        >>> nodes = torch.from_numpy(test.hierarchy.labels_at_all(test.labels))
        >>> describe(features, nodes, "raw").shape == (features.shape[1], 3)
        True
    """
    if kind not in WITH_LABELS + WITHOUT_LABELS:
        raise unknown("descriptor", kind, WITH_LABELS + WITHOUT_LABELS)
    if ancestors is None:
        check_features(v, ancestors)
    else:
        v, ancestors = with_labels(v, ancestors)
    if kind in WITH_LABELS:
        if ancestors is None:
            raise ValueError(f"the descriptor {kind!r} is made from labels: pass ancestors, or take {WITHOUT_LABELS}.")
        s = fisher_ratios(v, ancestors).log()
        return standardised(s - s.mean(dim=1, keepdim=True) if kind == "contrast" else s)
    if kind == "moments":
        x = standardised(v)
        v = v.double()
        variance = v.var(dim=0, correction=0).clamp(min=torch.finfo(torch.float32).tiny)
        return standardised(torch.stack([v.mean(dim=0), variance.log(), x.pow(4).mean(dim=0)], dim=1))
    x = standardised(v)
    correlation = x.T @ x / len(x)
    if kind == "samples":  # PCA needs only the inner products of the features
        return _principal_components(correlation)
    return _principal_components(correlation.abs() @ correlation.abs().T)


def standardised(v: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows columns"]:
    """Returns the columns with mean 0 and variance 1 in float64; a constant column is 0."""
    v = v.double()
    mean, deviation = v.mean(dim=0), v.std(dim=0, correction=0)
    dead = deviation <= DEAD * mean.abs() + torch.finfo(torch.float32).tiny
    return ((v - mean) / deviation.masked_fill(dead, 1.0)).masked_fill(dead, 0.0)


def _principal_components(products: Float[Tensor, "d d"]) -> Float[Tensor, "d components"]:
    """PCA of d points from their inner products: at most 16 numbers each, where the first has variance 1."""
    centred = products - products.mean(dim=0) - products.mean(dim=1, keepdim=True) + products.mean()
    values, vectors = torch.linalg.eigh(centred)
    values, vectors = values[-COMPONENTS:].flip(0).clamp(min=0), vectors[:, -COMPONENTS:].flip(1)
    if values[0] <= DEAD**2 * products.diagonal().mean():  # all points are equal
        return torch.zeros_like(vectors)
    return vectors * (len(products) * values / values[0]).sqrt()


def sums(x: Float[Tensor, "rows d"], group: Int[Tensor, " rows"], groups: int) -> Float[Tensor, "groups d"]:
    """Returns the sum of the rows of each group."""
    return x.new_zeros(groups, x.shape[1]).index_add(0, group, x)


def with_labels(v: Tensor, ancestors: Tensor) -> tuple[Tensor, Tensor]:
    """Returns features and nodes of the items that have a label.

    Raises:
        ValueError: no item has a label, and everything that :func:`check_features` raises.
    """
    check_features(v, ancestors)
    known = ancestors[:, -1] >= 0
    if not known.any():
        raise ValueError(f"none of the {len(v)} items has a label: Fisher ratios compare classes.")
    return v[known], ancestors[known]


def check_features(v: Tensor, ancestors: Tensor | None) -> None:
    """Raises ValueError for features that are not [items, d] or not finite, and for ancestors that do not fit."""
    if v.ndim != 2 or 0 in v.shape or not v.is_floating_point():
        raise ValueError(f"features are {v.dtype} {list(v.shape)}: pass floats [items, d], at least one of each.")
    check_finite(v)
    if ancestors is not None and (
        ancestors.ndim != 2
        or len(ancestors) != len(v)
        or ancestors.shape[1] < 1
        or ancestors.is_floating_point()
        or ancestors.dtype == torch.bool
    ):
        raise ValueError(
            f"ancestors are {ancestors.dtype} {list(ancestors.shape)} for {len(v)} items: pass the node ids of every "
            "item as integers [items, levels], coarse level first."
        )
