"""How embeddings fill the unit sphere: alignment, uniformity, effective rank, and where their variance lies.

All functions take arrays of NumPy or tensors on any device. All but :func:`effective_rank` first scale every embedding
to unit length. All compute in float64, so that a
collapsed encoder gives a clean 0 and no rounding error. What is larger than the embeddings is computed in blocks.
"""

import math
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from hiercl.runtime.arguments import checked
from hiercl.runtime.arrays import Array, as_array, as_tensor, blocks, check_labelled, in_blocks
from hiercl.runtime.config import Above, AtLeast
from hiercl.runtime.errors import check_finite
from hiercl.runtime.types import Float, Int

NO_VARIANCE = 1e-12  # a smaller variance of unit embeddings is rounding of float32: the encoder has collapsed
BLOCK = 1024  # rows of a similarity matrix, at most, that are computed at once


def check_features(features: Array) -> Tensor:
    """Returns the features as a tensor; ValueError unless they are finite, ``[items, dim]``, of at least one item."""
    features = as_tensor(features)
    if features.ndim != 2 or features.numel() == 0:
        raise ValueError(f"features are {list(features.shape)}: pass [items, dim] with at least one item.")
    check_finite(features)
    return features


def check_labels(features: Array, labels: Array) -> np.ndarray:
    """Returns the labels as an array of NumPy; ValueError unless there is one integer for each item."""
    labels, shape = as_array(labels), tuple(as_tensor(features).shape)
    if labels.shape != shape[:1] or labels.dtype.kind not in "iu":
        form = f"{labels.dtype} {list(labels.shape)} for {shape[0] if shape else 'no'} items"
        raise ValueError(f"labels are {form}: pass one integer for each item.")
    check_labelled(labels)
    return labels


def unit(features: Float[Array, "items dim"]) -> Float[Tensor, "items dim"]:
    """Scales embeddings to unit length, in float64.

    Raises:
        ValueError: no item, an embedding that is not finite, or one of length zero.

    Example:
        >>> unit(torch.tensor([[3.0, 4.0]])).tolist()
        [[0.6, 0.8]]
    """
    features = check_features(features)
    length = in_blocks(lambda part: part.double().norm(dim=1, keepdim=True), features)
    if (length == 0).any():
        raise ValueError(
            f"{int((length == 0).sum())} of {len(features)} embeddings have length zero, so they have no direction: "
            "leave them out. Has the encoder collapsed?"
        )
    return features / length  # in the precision of the lengths


def numbered(features: Float[Tensor, "items dim"], labels: Int[Array, " items"]) -> Int[Tensor, " items"]:
    """Returns the labels as numbers 0, 1, 2, … without gaps, in sorted order, on the device of the features.

    Raises:
        ValueError: the labels are not one integer for each item.

    Example:
        >>> numbered(torch.ones(3, 2), np.array([7, 3, 7])).tolist()
        [1, 0, 1]
    """
    numbers = np.unique(check_labels(features, labels), return_inverse=True)[1]
    return torch.from_numpy(numbers).to(features.device)


@checked
def alignment(
    first: Float[Array, "pairs dim"], second: Float[Array, "pairs dim"], alpha: Annotated[float, Above(0)] = 2.0
) -> float:
    r"""Returns the mean distance, to the power α, of the two embeddings of a positive pair.

    $$\frac1P\sum_{p}\lVert x_p-y_p\rVert^\alpha$$

    Source: Wang & Isola 2020 (arXiv 2005.10242), section 4.1.

    Args:
        first: x, one embedding of every pair, for example of one view of every item.
        second: y, the other embedding of every pair.
        alpha: α, above 0.

    Returns:
        A number in $[0, 2^\alpha]$. 0 is perfect.

    Raises:
        ValueError: shapes that differ, α ≤ 0, no pair, an embedding that is not finite or of length zero.

    Example:
        >>> alignment(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
        2.0
    """
    first, second = check_features(first), check_features(second).to(as_tensor(first).device)
    if first.shape != second.shape:
        raise ValueError(f"first is {list(first.shape)} and second {list(second.shape)}: row i of both is one pair.")
    squared = in_blocks(lambda x, y: (unit(x) - unit(y)).square().sum(dim=1), first, second)
    return squared.pow(alpha / 2).mean().item()


def class_alignment(features: Float[Array, "items dim"], labels: Int[Array, " items"]) -> float:
    r"""Returns the mean squared distance of two different items of one class.

    $$\frac{\sum_c\sum_{i\ne j\in c}\lVert z_i-z_j\rVert^2}{\sum_c n_c(n_c-1)}
      = \frac{\sum_c 2 n_c\sum_{i\in c}\lVert z_i-\mu_c\rVert^2}{\sum_c n_c(n_c-1)}$$

    This is alignment (Wang & Isola 2020, arXiv 2005.10242, with α = 2) where all items of a class are positives of each
    other. All pairs count the same, so large classes count more than small ones.

    Args:
        features: embeddings.
        labels: class of every item, at one level.

    Returns:
        A number in [0, 4]. Random directions give 2. NaN if no class has two items.

    Raises:
        ValueError: labels that are not one integer for each item, an embedding that is not finite or of length zero.

    Example:
        >>> class_alignment(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), np.array([0, 0, 1]))
        2.0
    """
    z = unit(features)
    label = numbered(z, labels)
    count = torch.bincount(label)
    means = _class_means(z, label)
    scatter = in_blocks(lambda part, own: (part - means[own]).square().sum(dim=1), z, label)
    pairs = (count * (count - 1)).sum().item()
    return 2 * (count[label] * scatter).sum().item() / pairs if pairs else math.nan


@checked
def uniformity(
    features: Float[Array, "items dim"],
    t: Annotated[float, Above(0)] = 2.0,
    sample: Annotated[int, AtLeast(1)] | None = None,
    seed: Annotated[int, AtLeast(0)] = 0,
) -> float:
    r"""Returns how evenly the embeddings cover the sphere. Lower is more even.

    $$\log\,\frac{2}{n(n-1)}\sum_{i<j} e^{-t\lVert z_i-z_j\rVert^2}$$

    Source: Wang & Isola 2020 (arXiv 2005.10242), section 4.1.

    Args:
        features: embeddings of at least two items.
        t: sharpness of the kernel, above 0.
        sample: number of items, drawn at random, that are compared with all others: time grows with it and not with
            the square of the items. None: all of them.
        seed: seed of the draw.

    Returns:
        A number in $[-4t, 0]$. It is 0 if all embeddings are one point. Random directions in many dimensions give about
        $-2t$.

    Raises:
        ValueError: fewer than two items, t ≤ 0, sample < 1, an embedding that is not finite or of length zero.

    Example:
        >>> uniformity(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        -4.0
    """
    z = unit(features)
    if len(z) < 2:
        raise ValueError("uniformity is a mean over pairs: it needs at least two items.")
    sums, n = [], len(z)
    if sample is not None and sample < n:
        drawn = draw(n, sample, seed).to(z.device)
        for rows in blocks(sample, 2 * n, BLOCK):
            kernel = _kernel(2 * z[drawn[rows]] @ z.T, t)
            kernel[torch.arange(len(kernel), device=z.device), drawn[rows]] = -math.inf
            sums.append(kernel.flatten().logsumexp(dim=0))
        pairs = sample * (n - 1)
    else:
        for rows in blocks(n, 2 * n, BLOCK):  # the rows of this block against all items from its first one on
            kernel = _kernel(2 * z[rows] @ z[rows.start :].T, t)
            own = kernel[:, : len(kernel)]
            own.masked_fill_(torch.ones_like(own, dtype=torch.bool).tril(), -math.inf)
            sums.append(kernel.flatten().logsumexp(dim=0))
        pairs = n * (n - 1) / 2
    return torch.stack(sums).logsumexp(dim=0).item() - math.log(pairs)


def draw(items: int, sample: int, seed: int) -> Int[Tensor, " sample"]:
    """Draws so many of the items at random, in ascending order.

    Example:
        >>> len(draw(items=10, sample=4, seed=0))
        4
    """
    return torch.from_numpy(np.sort(np.random.default_rng(seed).permutation(items)[:sample]))


def effective_rank(features: Float[Array, "items dim"]) -> float:
    r"""Returns how many directions the embeddings use: the exponential of the entropy of their singular values.

    $$\exp\Big(-\sum_k p_k\log p_k\Big), \qquad p_k = \sigma_k \big/ \textstyle\sum_{k'}\sigma_{k'}$$

    Source: Roy & Vetterli 2007. RankMe (Garrido et al. 2023, arXiv 2210.02885) uses it for embeddings, and adds 1e-7 to
    every p.

    Args:
        features: embeddings. They are neither centred nor scaled. Pass unit embeddings to compare the result with the
            other measures of this file.

    Returns:
        A number from 1 (all embeddings lie on one line through the origin) to min(items, dim).

    Raises:
        ValueError: features that are not ``[items, dim]``, not finite, or all zero.

    Example:
        >>> round(effective_rank(torch.eye(3)), 6)
        3.0
    """
    values = torch.linalg.svdvals(check_features(features).double())
    if values.sum() == 0:
        raise ValueError("all embeddings are zero, so they have no effective rank.")
    return torch.special.entr(values / values.sum()).sum().exp().item()


def total_variance(features: Float[Array, "items dim"]) -> float:
    r"""Returns the variance of the embeddings on the sphere.

    $$1-\lVert\bar z\rVert^2 = \frac1n\sum_i\lVert z_i-\bar z\rVert^2$$

    Args:
        features: embeddings.

    Returns:
        A number in [0, 1]: 0 if all embeddings are one point, 1 if their mean is the origin.

    Raises:
        ValueError: an embedding that is not finite or of length zero.

    Example:
        >>> total_variance(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        0.5
    """
    z = unit(features)
    return _mean_square(z - z.mean(dim=0))


@checked
def variance_outside(features: Float[Array, "items dim"], components: int) -> float:
    r"""Returns the share of the variance that lies outside the first principal components.

    $$\sum_{k>\text{components}}\lambda_k \Big/ \sum_k\lambda_k, \qquad
      \lambda \text{ the eigenvalues of } \frac1n\sum_i (z_i-\bar z)(z_i-\bar z)^\top, \text{ largest first}$$

    Args:
        features: embeddings.
        components: how many components to leave out, 0 to dim.

    Returns:
        A number in [0, 1]. NaN for collapsed embeddings (total variance below 1e-12).

    Raises:
        ValueError: a number of components that does not exist, an embedding that is not finite or of length zero.

    Example:
        >>> variance_outside(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), components=1)
        0.0
    """
    z = unit(features)
    if not 0 <= components <= z.shape[1]:
        raise ValueError(f"components={components}: embeddings of {z.shape[1]} dimensions have 0 to {z.shape[1]}.")
    centred = z - z.mean(dim=0)
    if _mean_square(centred) < NO_VARIANCE:
        return math.nan
    variances = torch.linalg.eigvalsh(centred.T @ centred).clamp(min=0).flip(0)
    return (variances[components:].sum() / variances.sum()).item()


def variance_between(features: Float[Array, "items dim"], labels: Int[Array, " items"]) -> float:
    r"""Returns the share of the variance that lies between the class means.

    $$\sum_c n_c\lVert\mu_c-\bar z\rVert^2 \Big/ \sum_i\lVert z_i-\bar z\rVert^2$$

    with $\mu_c$ the mean of the unit embeddings of class c. The rest of the variance lies within the classes.

    Args:
        features: embeddings.
        labels: class of every item, at one level.

    Returns:
        A number in [0, 1]: 1 if every class is one point, 0 if all classes have the same mean. Random labels give about
        (classes − 1)/(items − 1). NaN for collapsed embeddings (total variance below 1e-12).

    Raises:
        ValueError: labels that are not one integer for each item, an embedding that is not finite or of length zero.

    Example:
        >>> variance_between(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([4, 4, 7]))
        1.0
    """
    z = unit(features)
    label = numbered(z, labels)
    centred = z - z.mean(dim=0)
    total = _mean_square(centred)
    if total < NO_VARIANCE:
        return math.nan
    means = _class_means(centred, label)
    between = float(in_blocks(lambda own: means[own].square().sum(dim=1), label, width=z.shape[1]).mean())
    return min(between / total, 1.0)  # rounding may give a little more


def _class_means(z: Float[Tensor, "items dim"], label: Int[Tensor, " items"]) -> Float[Tensor, "classes dim"]:
    count = torch.bincount(label)
    return z.new_zeros(len(count), z.shape[1]).index_add_(0, label, z) / count[:, None]


def _mean_square(centred: Float[Tensor, "items dim"]) -> float:
    return in_blocks(lambda part: part.square().sum(dim=1), centred).mean().item()


def _kernel(twice_cosine: Float[Tensor, "rows items"], t: float) -> Float[Tensor, "rows items"]:
    """Returns −t ‖z_i − z_j‖² of unit vectors, in the memory of twice their cosine."""
    return twice_cosine.neg_().add_(2).clamp_(min=0).mul_(-t)
