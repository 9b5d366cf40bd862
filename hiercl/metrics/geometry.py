"""How an embedding fills the sphere: alignment, uniformity, effective rank, and where its variance lies.

All but :func:`effective_rank` first bring every embedding to unit length. Everything is computed in float64, so that a
collapsed embedding gives a clean 0 and no rounding error.
"""

import math

import numpy as np
import torch
from torch import Tensor

from hiercl.runtime.errors import check_finite
from hiercl.runtime.types import Float, Int

NO_VARIANCE = 1e-12  # a variance of unit embeddings below this is the rounding of float32: the embedding has collapsed
BLOCK = 1024  # rows of a similarity matrix at a time


def unit(features: Float[Tensor, "items dim"]) -> Float[Tensor, "items dim"]:
    """Embeddings at unit length, in float64.

    Raises:
        ValueError: features that are not ``[items, dim]``, no item, a non-finite embedding, one of length zero.
    """
    _check(features)
    features = features.detach().double()
    length = features.norm(dim=1, keepdim=True)
    if (length == 0).any():
        raise ValueError(
            f"{int((length == 0).sum())} of {len(features)} embeddings have length zero and so no direction on the "
            "sphere: the encoder has collapsed, or its last layer gives only zeros for them; leave them out."
        )
    return features / length


def class_numbers(features: Float[Tensor, "items dim"], labels: Int[np.ndarray, " items"]) -> Int[Tensor, " items"]:
    """Labels numbered 0, 1, 2, … without gaps, in sorted order, beside the features.

    Raises:
        ValueError: labels that are not one integer for each item.
    """
    check_labels(features, labels)
    return torch.from_numpy(np.unique(labels, return_inverse=True)[1]).to(features.device)


def check_labels(features: Float[Tensor, "items dim"], labels: Int[np.ndarray, " items"]) -> None:
    """Raises ValueError unless there is one integer label for each item."""
    labels = np.asarray(labels)
    if labels.shape != features.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(
            f"labels are {labels.dtype} {list(labels.shape)} for {len(features)} items: pass one integer for each item."
        )


def alignment(first: Float[Tensor, "pairs dim"], second: Float[Tensor, "pairs dim"], alpha: float | int = 2.0) -> float:
    r"""How far apart the two of a positive pair are, on average; embeddings are brought to unit length first.

    $$\frac1P\sum_{p}\lVert x_p-y_p\rVert^\alpha$$

    Source: Wang & Isola 2020 (arXiv 2005.10242), section 4.1. It lies in $[0, 2^\alpha]$; 0 is perfect alignment.

    Args:
        first: x, one of every pair, e.g. one view of every item.
        second: y, the other one.
        alpha: α > 0.

    Raises:
        ValueError: shapes that differ, α ≤ 0, no pair, an embedding that is not finite or of length zero.

    Example:
        >>> alignment(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 3.0]]))
        2.0
    """
    if first.shape != second.shape:
        raise ValueError(f"first is {list(first.shape)} and second {list(second.shape)}: row i of both is one pair.")
    if not alpha > 0:
        raise ValueError(f"alpha={alpha}: it must be above 0.")
    squared = (unit(first) - unit(second)).square().sum(dim=1)
    return squared.pow(alpha / 2).mean().item()


def class_alignment(features: Float[Tensor, "items dim"], labels: Int[np.ndarray, " items"]) -> float:
    r"""Mean squared distance of two items of one class; embeddings are brought to unit length first.

    Alignment (Wang & Isola 2020, arXiv 2005.10242; α = 2) with all items of a class as each other's positives. Over all
    ordered pairs of different items of the same class, taken together, so that large classes count for more:

    $$\frac{\sum_c\sum_{i\ne j\in c}\lVert z_i-z_j\rVert^2}{\sum_c n_c(n_c-1)}
      = \frac{\sum_c 2 n_c\sum_{i\in c}\lVert z_i-\mu_c\rVert^2}{\sum_c n_c(n_c-1)}$$

    Args:
        features: embeddings.
        labels: of one level, one for each item; only which are equal matters.

    Returns:
        A number in [0, 4], 2 for random directions; NaN if no class has two items.

    Raises:
        ValueError: labels that are not one integer for each item, an embedding that is not finite or of length zero.

    Example:
        >>> class_alignment(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), np.array([0, 0, 1]))
        2.0
    """
    z, label = unit(features), class_numbers(features, labels)
    count = torch.bincount(label)
    scatter = (z - _class_means(z, label)[label]).square().sum(dim=1)
    pairs = (count * (count - 1)).sum().item()
    return 2 * (count[label] * scatter).sum().item() / pairs if pairs else math.nan


def uniformity(features: Float[Tensor, "items dim"], t: float | int = 2.0) -> float:
    r"""How evenly embeddings cover the sphere: lower is more even; they are brought to unit length first.

    $$\log\,\frac{2}{n(n-1)}\sum_{i<j} e^{-t\lVert z_i-z_j\rVert^2}$$

    Source: Wang & Isola 2020 (arXiv 2005.10242), section 4.1. It lies in $[-4t, 0]$; 0 means that all embeddings are
    one point. Directions drawn evenly at random in many dimensions give about $-2t$.

    Args:
        features: at least two embeddings.
        t: sharpness of the kernel, > 0.

    Raises:
        ValueError: fewer than two items, t ≤ 0, an embedding that is not finite or of length zero.

    Example:
        >>> uniformity(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        -4.0
    """
    z = unit(features)
    if len(z) < 2:
        raise ValueError("Uniformity is a mean over pairs: it needs at least two items.")
    if not t > 0:
        raise ValueError(f"t={t}: it must be above 0.")
    blocks = []
    for start in range(0, len(z), BLOCK):  # rows of the block against all items from its first one on
        squared = (2 - 2 * z[start : start + BLOCK] @ z[start:].T).clamp(min=0)
        above_diagonal = torch.ones_like(squared, dtype=torch.bool).triu(diagonal=1)
        blocks.append((-t * squared).masked_fill(~above_diagonal, -math.inf).flatten().logsumexp(dim=0))
    return torch.stack(blocks).logsumexp(dim=0).item() - math.log(len(z) * (len(z) - 1) / 2)


def effective_rank(features: Float[Tensor, "items dim"]) -> float:
    r"""How many directions the embedding makes use of: the exponential of the entropy of its singular values.

    $$\exp\Big(-\sum_k p_k\log p_k\Big), \qquad p_k = \sigma_k \big/ \textstyle\sum_{k'}\sigma_{k'}$$

    Source: Roy & Vetterli 2007; as a measure of embeddings RankMe (Garrido et al. 2023, arXiv 2210.02885), which adds
    1e-7 to every p. The matrix is taken as it is, neither centred nor normalised: pass unit embeddings to compare with
    the other measures of this file.

    Returns:
        A number between 1 (all embeddings on one line through the origin) and min(items, dim).

    Raises:
        ValueError: features that are not ``[items, dim]``, not finite, or all zero.

    Example:
        >>> round(effective_rank(torch.eye(3)), 6)
        3.0
    """
    _check(features)
    values = torch.linalg.svdvals(features.detach().double())
    if values.sum() == 0:
        raise ValueError("All embeddings are zero: the matrix has no singular value above 0, and so no effective rank.")
    return torch.special.entr(values / values.sum()).sum().exp().item()


def total_variance(features: Float[Tensor, "items dim"]) -> float:
    r"""Variance of the embeddings on the sphere; they are brought to unit length first.

    $$1-\lVert\bar z\rVert^2 = \frac1n\sum_i\lVert z_i-\bar z\rVert^2$$

    Returns:
        A number in [0, 1]: 0 if all embeddings are one point, 1 if they cancel out.

    Raises:
        ValueError: an embedding that is not finite or of length zero.

    Example:
        >>> total_variance(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        0.5
    """
    z = unit(features)
    return _mean_square(z - z.mean(dim=0))


def variance_outside(features: Float[Tensor, "items dim"], components: int) -> float:
    r"""Share of the variance outside the first principal components; embeddings are brought to unit length first.

    $$\sum_{k>\text{components}}\lambda_k \Big/ \sum_k\lambda_k, \qquad
      \lambda \text{ the eigenvalues of } \frac1n\sum_i (z_i-\bar z)(z_i-\bar z)^\top, \text{ largest first}$$

    Args:
        features: embeddings.
        components: how many to leave out, 0 to dim.

    Returns:
        A number in [0, 1]; NaN for a collapsed embedding (total variance below 1e-12), which has nothing to share.

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


def variance_between(features: Float[Tensor, "items dim"], labels: Int[np.ndarray, " items"]) -> float:
    r"""Share of the variance that lies between the classes; embeddings are brought to unit length first.

    $$\sum_c n_c\lVert\mu_c-\bar z\rVert^2 \Big/ \sum_i\lVert z_i-\bar z\rVert^2$$

    with $\mu_c$ the plain mean of the unit embeddings of class c. The rest, 1 minus this, lies within the classes.

    Args:
        features: embeddings.
        labels: of one level, one for each item; only which are equal matters.

    Returns:
        A number in [0, 1]: 1 if every class is one point, 0 if all classes have the same mean, and about
        (classes − 1)/(items − 1) for labels that have nothing to do with the embedding. NaN for a collapsed embedding
        (total variance below 1e-12), which has nothing to share.

    Raises:
        ValueError: labels that are not one integer for each item, an embedding that is not finite or of length zero.

    Example:
        >>> variance_between(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([4, 4, 7]))
        1.0
    """
    z, label = unit(features), class_numbers(features, labels)
    centred = z - z.mean(dim=0)
    total = _mean_square(centred)
    if total < NO_VARIANCE:
        return math.nan
    between = _mean_square(_class_means(centred, label)[label])
    return min(between / total, 1.0)  # rounding may take it a little above


def _check(features: Tensor) -> None:
    if features.ndim != 2 or features.numel() == 0:
        raise ValueError(f"features are {list(features.shape)}: pass [items, dim] with at least one item.")
    check_finite(features)


def _class_means(z: Float[Tensor, "items dim"], label: Int[Tensor, " items"]) -> Float[Tensor, "classes dim"]:
    count = torch.bincount(label)
    return z.new_zeros(len(count), z.shape[1]).index_add_(0, label, z) / count[:, None]


def _mean_square(centred: Float[Tensor, "items dim"]) -> float:
    return centred.square().sum(dim=1).mean().item()
