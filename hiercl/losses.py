"""The one loss: similarities and :class:`~hiercl.pairs.Pairs` in, a number out."""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from hiercl.pairs import Pairs
from hiercl.types import Bool, Float


def info_nce(
    logits: Float[Tensor, "anchors candidates"],
    pairs: Pairs,
    shared_denominator: bool = False,
    removed_logit: float = -math.inf,
    reduction: Literal["mean", "none"] = "mean",
) -> Float[Tensor, "..."]:
    r"""InfoNCE with weighted positives and removable negatives.

    For an anchor with logits $s_c$, positives $P$ with weights $w_p$, negatives $N$ and removed candidates $R$:

    $$\ell = \sum_{p\in P} \frac{w_p}{\sum_{p'} w_{p'}} \Big(\log D_p - s_p\Big), \qquad
      D_p = \underbrace{e^{s_p}}_{\text{or } \sum_{p'\in P} e^{s_{p'}}}
            + \sum_{n\in N} e^{s_n} + |R|\, e^{\text{removed\_logit}}$$

    With ``shared_denominator=False`` each positive has a denominator of its own (MoCo, HCSC, CsMl); with ``True`` all
    positives of an anchor compete in one (SupCon's "out" form, eq. 2 of arXiv 2004.11362).

    Args:
        logits: similarities already divided by the temperature or concentration, float32.
        pairs: the role of every pair.
        shared_denominator: whether positives compete with one another.
        removed_logit: −inf takes removed candidates out for good; 0 is what the official HCSC code does (each still
            adds $e^0 = 1$).
        reduction: ``"mean"`` over the anchors that have a positive, or ``"none"``: one loss per anchor, 0 for an
            anchor without a positive.

    Returns:
        A scalar, or ``[anchors]``. Never NaN for finite logits: an anchor without negatives has the loss 0 (with one
        positive), an anchor without a positive is left out of the mean; ``pairs.without_negative`` and
        ``pairs.without_positive`` count them. Unit: nats.

    Raises:
        ValueError: shapes that differ, logits that are not float32 or float64, an unknown reduction.

    Example:
        >>> loss = info_nce(query @ candidates.T / 0.1, pairs)
    """
    if logits.shape != pairs.negative.shape:
        raise ValueError(f"logits {tuple(logits.shape)} do not fit pairs {tuple(pairs.negative.shape)}.")
    if logits.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"logits are {logits.dtype}; similarities need float32 (bfloat16 is off by 0.1 in a logit).")
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction={reduction!r}; it is 'mean' or 'none'.")

    row, column = pairs.positive_index.T
    positive = logits[row, column]  # s_p
    counted = pairs.negative
    if shared_denominator:
        counted = counted.index_put((row, column), counted.new_ones(()))
    others = logits.masked_fill(~counted, -math.inf)
    if removed_logit > -math.inf:
        others = others.masked_fill(pairs.removed, removed_logit)
        counted = counted | pairs.removed
    log_others = _logsumexp(others, counted.any(dim=1))
    if shared_denominator:
        loss_of_positive = log_others[row] - positive
    else:
        loss_of_positive = F.softplus(log_others[row] - positive)  # log(e^s_p + e^rest) − s_p, without overflow

    weight = pairs.positive_weight
    total = weight.new_zeros(len(logits)).index_add(0, row, weight)
    share = weight / total[row]
    loss = logits.new_zeros(len(logits)).index_add(0, row, share * loss_of_positive)
    if reduction == "none":
        return loss
    return loss.sum() / (total > 0).sum().clamp(min=1)


def _logsumexp(
    masked: Float[Tensor, "anchors candidates"], any_left: Bool[Tensor, " anchors"]
) -> Float[Tensor, " anchors"]:
    """Row-wise log Σ exp, and −inf with a gradient of zero (torch's own is NaN) for a row in which nothing is left."""
    if any_left.all():
        return masked.logsumexp(dim=1)
    safe = masked.masked_fill(~any_left[:, None], 0.0)
    return safe.logsumexp(dim=1).masked_fill(~any_left, -math.inf)
