"""The one loss: similarities and :class:`~hiercl.pairs.Pairs` in, a number out."""

import math
from numbers import Real
from typing import Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from hiercl.pairs.pairs import Pairs
from hiercl.runtime.types import Float


def info_nce(
    logits: Float[Tensor, "anchors candidates"],
    pairs: Pairs,
    shared_denominator: bool = False,
    removed_logit: float = -math.inf,
    reduction: Literal["mean", "none", "positives"] = "mean",
    count: Float[Tensor, ""] | None = None,
) -> Float[Tensor, "..."]:
    r"""Computes InfoNCE with weighted positives and removed negatives.

    For an anchor with logits $s_c$, positives $P$ with weights $w_p$, negatives $N$, removed candidates $R$, and
    weights $v_c$ in the denominators (1 without ``pairs.candidate_weight``):

    $$\ell = \sum_{p\in P} \frac{w_p}{\sum_{p'} w_{p'}} \Big(\log D_p - s_p\Big), \qquad
      D_p = \underbrace{e^{s_p}}_{\text{or } \sum_{p'\in P} v_{p'} e^{s_{p'}}}
            + \sum_{n\in N} v_n e^{s_n} + |R|\, e^{\text{removed\_logit}}$$

    With ``shared_denominator=False`` each positive has its own denominator (MoCo, HCSC, CsMl). With ``True`` all
    positives of an anchor are in one denominator (SupCon's "out" form, eq. 2 of arXiv 2004.11362).

    Args:
        logits: similarities divided by the temperature or concentration, float32.
        pairs: the role of every pair.
        shared_denominator: whether positives compete with one another.
        removed_logit: logit of removed candidates. −inf takes them out; 0 is what the official HCSC code does (each
            still adds $e^0 = 1$).
        reduction: ``"mean"``: the mean over the anchors that have a positive, with the weights of
            ``pairs.anchor_weight``; ``"none"``: one loss per anchor, without them, 0 for an anchor without a positive;
            ``"positives"``: one loss per positive, in the order of ``pairs.positive_index``.
        count: what ``"mean"`` divides by; None: the number of anchors that have a positive. With several processes it
            is the mean of that number over processes, so that the mean of their losses is the loss of all anchors.

    Returns:
        The loss in nats: a scalar, ``[anchors]`` or ``[positives]``. It is never NaN for finite logits: an anchor with
        one positive and no negative has the loss 0, and the mean leaves out anchors without a positive
        (``pairs.without_negative`` and ``pairs.without_positive`` count these).

    Raises:
        ValueError: shapes that differ, logits that are not float32 or float64, an unknown reduction, a removed_logit
            that is no number.

    Example:
        >>> from hiercl.pairs import Kind, Members
        >>> one, two = (Members.of(Kind.VIEW, torch.tensor(items)) for items in ([7], [7, 8]))
        >>> positive = torch.tensor([[1.0, 0.0]])
        >>> pairs = hiercl.Pairs.from_matrices(one, two, positive, negative=positive == 0)
        >>> info_nce(torch.tensor([[2.0, 2.0]]), pairs)  # log 2
        tensor(0.6931)
    """
    if not isinstance(pairs, Pairs):
        raise ValueError(f"pairs are a {type(pairs).__name__}: give hiercl.Pairs, or use hiercl.contrast(z, pairs).")
    if not isinstance(logits, Tensor):
        raise ValueError(f"logits are a {type(logits).__name__}: give a tensor, such as torch.as_tensor(logits).")
    if logits.shape != pairs.negative.shape:
        raise ValueError(f"logits {tuple(logits.shape)} do not fit pairs {tuple(pairs.negative.shape)}.")
    if logits.dtype not in (torch.float32, torch.float64):
        raise ValueError(f"logits are {logits.dtype}; similarities need float32 (bfloat16 is off by 0.1 in a logit).")
    if reduction not in ("mean", "none", "positives"):
        raise ValueError(f"reduction={reduction!r}; it is 'mean', 'none' or 'positives'.")
    if not isinstance(removed_logit, Real) or not -math.inf <= removed_logit < math.inf:
        raise ValueError(f"removed_logit={removed_logit!r}: it must be a number, or −inf.")

    row, column = pairs.positive_index.T
    counted = pairs.negative
    if shared_denominator:
        counted = counted.index_put((row, column), counted.new_ones(()))
    if pairs.candidate_weight is None:
        positive, log_others = PickAndLogSumExp.apply(logits, row, column, counted)  # s_p, log of the rest of D
    else:
        log_weight = pairs.candidate_weight.log()
        positive, log_others = PickAndLogSumExp.apply(logits + log_weight, row, column, counted)
        positive = positive - log_weight[row, column]
    if removed_logit > -math.inf:
        log_removed = removed_logit + pairs.removed.sum(dim=1).to(logits.dtype).log()  # log(|R| e^removed_logit)
        log_others = _log_add(log_others, log_removed)
    if shared_denominator:
        loss_of_positive = log_others[row] - positive
    else:
        loss_of_positive = F.softplus(log_others[row] - positive)  # log(e^s_p + e^rest) − s_p, without overflow

    if reduction == "positives":
        return loss_of_positive
    weight = pairs.positive_weight.to(logits.dtype)
    total = weight.new_zeros(len(logits)).index_add(0, row, weight)
    share = weight / total[row]
    loss = logits.new_zeros(len(logits)).index_add(0, row, share * loss_of_positive)
    if reduction == "none":
        return loss
    loss = loss if pairs.anchor_weight is None else loss * pairs.anchor_weight
    return loss.sum() / ((total > 0).sum().clamp(min=1) if count is None else count)


def _log_add(a: Float[Tensor, " anchors"], b: Float[Tensor, " anchors"]) -> Float[Tensor, " anchors"]:
    """Returns log(e^a + e^b) for a constant b. Where both are −inf the gradient is zero (that of torch is NaN)."""
    nothing = torch.isneginf(a) & torch.isneginf(b)
    return torch.logaddexp(a.masked_fill(nothing, 0.0), b).masked_fill(nothing, -math.inf)


class PickAndLogSumExp(torch.autograd.Function):
    r"""The picked entries $s_p$, and $\log\sum_{c\in\text{mask}} e^{s_c}$ of every row, −inf where its mask is empty.

    Indexing, ``masked_fill`` and ``logsumexp`` compute the same, but read the matrix three times as often, and their
    gradient is NaN for an empty row. The gradient here is the softmax within the mask, plus that of the picked entries.
    """

    @staticmethod
    def forward(ctx, logits: Tensor, row: Tensor, column: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        shifted = logits.masked_fill(~mask, -math.inf)
        highest = shifted.amax(dim=1, keepdim=True)
        highest.masked_fill_(torch.isneginf(highest), 0.0)
        exponentials = shifted.sub_(highest).exp_()
        total = exponentials.sum(dim=1, keepdim=True)
        ctx.save_for_backward(exponentials, total, row, column)
        return logits[row, column], (total.log() + highest).squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx, into_picked: Tensor, into_sum: Tensor) -> tuple[Tensor, None, None, None]:
        exponentials, total, row, column = ctx.saved_tensors
        gradient = exponentials * (into_sum[:, None] / total).masked_fill(total == 0, 0.0)
        return gradient.index_put_((row, column), into_picked, accumulate=True), None, None, None
