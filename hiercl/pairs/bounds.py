"""What the loss of a term is if the embeddings say nothing, and what it cannot fall below."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hiercl.pairs.pairs import Kind, Pairs
from hiercl.pairs.terms import Term
from hiercl.runtime.types import Float

HALVINGS = 60  # of the interval that is searched


def if_equal(term: Term, temperature: float) -> Term:
    r"""Returns a term with the same pairs, in which every candidate is equally similar to the anchor (a cosine of 1).

    So it is if all embeddings are equal. The loss of an anchor is then the logarithm of the number of candidates in its
    denominator: $\log(1 + |N|)$ for each positive by itself, $\log(|P| + |N|)$ where positives share one (both without
    weights of candidates, and without a logit of removed ones).

    Args:
        term: a term of a step.
        temperature: divides the cosines; it matters only where removed candidates have a logit.

    Example:
        >>> step = run.step(train, batch=8)
        >>> term = if_equal(step.terms[0], 0.1)
        >>> bool(torch.isclose(term.reduced("none")[0], (1 + term.pairs.negative[0].sum()).log()))
        True
    """
    return replace(term, logits=torch.full_like(term.logits, 1 / temperature))


def floor(term: Term, temperature: float) -> Float[Tensor, ""] | None:
    r"""Returns a number that the loss of a term cannot fall below, whatever the embeddings are; None if none is known.

    Every positive has the cosine 1. A negative has the cosine −1, which is all that is known of keys of a queue. Where
    the candidates are the anchors themselves, the cosines of unit vectors obey $\sum_{ij}\langle z_i, z_j\rangle =
    \|\sum_i z_i\|^2 \ge 0$. With $b_i$ the mean cosine of an anchor with its negatives, the floor is then the minimum
    of

    $$\frac1n\sum_i\log\big(|P_i| + |N_i|\,e^{(b_i-1)/\tau}\big), \qquad \sum_i 1 + |P_i| + |N_i|\,b_i \ge 0, \qquad
      b_i\ge-1$$

    For equally large classes this is the loss of a simplex, $b_i = -1/(\text{classes} - 1)$, which Graf et al. (2021,
    arXiv 2102.08817, theorem 2) prove to be the minimum of SupCon. Prototypes have temperatures of their own; of them
    it is only known that the loss is not negative.

    Args:
        term: a term of a step, whose logits are cosines divided by the temperature.
        temperature: divides the cosines.

    Example:
        >>> pairs = hiercl.pairs.by_label(torch.tensor([0, 0, 1, 1]))
        >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])  # as far apart as two classes can be
        >>> best = hiercl.pairs.Term.of(z, pairs, temperature=0.5)
        >>> bool(torch.isclose(floor(best, 0.5), best.loss))
        True
    """
    pairs, weight = term.pairs, term.pairs.positive_weight
    if pairs.candidate_weight is not None or (term.shared_denominator and bool((weight != weight[:1]).any())):
        return None
    if bool((pairs.candidates.kind == Kind.PROTOTYPE).any()):
        return None if term.shared_denominator else term.loss.new_zeros(())
    if float(term.logits.abs().max()) > 1.001 / temperature:  # no cosines, or of another temperature
        return None
    cosines = torch.full_like(term.logits, -1)
    if _among_themselves(pairs) and pairs.anchor_weight is None:
        lowest = _lowest_cosines(pairs, temperature, term.shared_denominator)
        cosines = cosines * 0 + lowest.to(cosines)[:, None]
    cosines[pairs.positive_index[:, 0], pairs.positive_index[:, 1]] = 1
    return replace(term, logits=cosines / temperature).loss


def _among_themselves(pairs: Pairs) -> bool:
    """Says whether the candidates are the anchors themselves, each of which leaves itself alone."""
    anchors, candidates = pairs.anchors, pairs.candidates
    if len(anchors) != len(candidates) or not bool((candidates.kind == Kind.VIEW).all()):
        return False
    row, column = pairs.positive_index.T
    same = torch.equal(anchors.item, candidates.item)
    return same and not bool(pairs.negative.diagonal().any() | (row == column).any())


def _lowest_cosines(pairs: Pairs, temperature: float, shared: bool) -> Float[Tensor, " anchors"]:
    r"""Returns $b_i$ of every anchor at the minimum, float64.

    There every negative adds the same to the loss: $e^{u_i} = \lambda|P_i| / (1 - \lambda|N_i|)$ with
    $u_i = (b_i - 1)/\tau$. The sum of all $|N_i|\,b_i$ grows with λ, which is found by bisection.
    """
    negative, index = pairs.negative.cpu(), pairs.positive_index.cpu()
    negatives = negative.sum(dim=1).double()
    positives = torch.bincount(index[:, 0], minlength=len(negatives)).double()
    counted = (positives > 0) & (negatives > 0)
    members = positives + negatives + negative.sum(dim=0) + torch.bincount(index[:, 1], minlength=len(negatives))
    members = int((members > 0).sum())  # anchors and candidates of any pair
    # All other cosines of these members, of which there are members² − Σ |N_i|, are 1 at most.
    wanted = -(members**2 - negatives[counted].sum())
    n, p = negatives[counted], positives[counted] if shared else torch.ones_like(positives[counted])
    result = torch.ones_like(negatives)
    if not len(n):
        return result

    def cosines(share: Tensor) -> Tensor:
        return (1 + temperature * (share * p / (1 - share * n)).log()).clamp(-1, 1)

    low, high = n.new_zeros(()), 1 / n.max()
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if (n * cosines(middle)).sum() >= wanted:
            high = middle
        else:
            low = middle
    result[counted] = cosines(low)  # from below, so that rounding does not raise the floor
    return result
