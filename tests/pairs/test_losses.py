"""info_nce against a slow loop written from the equation, closed forms, and finite differences."""

import math
from dataclasses import replace

import pytest
import torch
from support.loops import by_loop
from support.pairs import members, random_pairs, with_weights
from torch.nn import functional as F

from hiercl.pairs.losses import info_nce
from hiercl.pairs.pairs import Kind, Members, Pairs


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shared_denominator", [False, True])
@pytest.mark.parametrize("removed_logit", [-math.inf, 0.0])
def test_against_a_loop(seed, shared_denominator, removed_logit):
    pairs = random_pairs(seed)
    logits = 3 * torch.randn(6, 11, generator=torch.Generator().manual_seed(seed + 100))
    loss = info_nce(logits, pairs, shared_denominator, removed_logit)
    assert float(loss) == pytest.approx(by_loop(logits, pairs, shared_denominator, removed_logit), abs=1e-5)


@pytest.mark.parametrize("shared_denominator", [False, True])
def test_weights_of_anchors_and_candidates_against_a_loop(shared_denominator):
    pairs = with_weights(random_pairs(3))
    logits = 3 * torch.randn(6, 11, generator=torch.Generator().manual_seed(3))
    total, count = 0.0, 0
    for a in range(6):
        pulled = [c for c in range(11) if pairs.positive[a, c] > 0]
        summed = lambda chosen, a=a: sum(float(pairs.candidate_weight[a, c]) * math.exp(logits[a, c]) for c in chosen)  # noqa: E731
        rest = summed(c for c in range(11) if pairs.negative[a, c])
        for p in pulled:
            denominator = rest + (summed(pulled) if shared_denominator else math.exp(logits[a, p]))
            share = float(pairs.positive[a, p] / pairs.positive[a].sum())
            total += float(pairs.anchor_weight[a]) * share * (math.log(denominator) - float(logits[a, p]))
        count += bool(pulled)
    assert float(info_nce(logits, pairs, shared_denominator)) == pytest.approx(total / count, abs=1e-5)
    equal = replace(pairs, anchor_weight=torch.ones(6), candidate_weight=torch.ones(6, 11))
    assert info_nce(logits, equal, shared_denominator) == pytest.approx(
        float(info_nce(logits, random_pairs(3), shared_denominator))
    )


@pytest.mark.parametrize("shared_denominator", [False, True])
def test_float64_stays_float64(shared_denominator):
    pairs = random_pairs(4)
    logits = 3 * torch.randn(6, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    found = info_nce(logits, pairs, shared_denominator)
    assert found.dtype == torch.float64
    weights = replace(pairs, positive_weight=pairs.positive_weight.double())
    assert float(found) == pytest.approx(by_loop(logits, weights, shared_denominator, -math.inf), abs=1e-14)


def test_one_positive_is_cross_entropy():
    logits = torch.randn(5, 9)
    target = torch.arange(5)
    positive = F.one_hot(target, 9).float()
    pairs = Pairs.from_matrices(members(5), members(9), positive, positive == 0)
    assert info_nce(logits, pairs).item() == pytest.approx(F.cross_entropy(logits, target).item(), abs=1e-6)


@pytest.mark.parametrize("shared_denominator", [False, True])
def test_finite_differences(shared_denominator):
    pairs = random_pairs(1)
    pairs = Pairs.from_matrices(pairs.anchors, pairs.candidates, pairs.positive.double(), pairs.negative, pairs.removed)
    logits = torch.randn(6, 11, dtype=torch.float64, requires_grad=True)
    for some in (pairs, with_weights(pairs)):
        assert torch.autograd.gradcheck(lambda x, some=some: info_nce(x, some, shared_denominator), logits)


def test_anchors_without_partners_neither_break_nor_count():
    """Anchor 0 has all it needs, 1 has no positive, 2 no negative, 3 nothing at all."""
    positive = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0, 1.0, 0], [0, 0, 0]])
    negative = torch.tensor([[0, 1, 1], [1, 1, 1], [0, 0, 0], [0, 0, 0]]).bool()
    logits = torch.randn(4, 3, requires_grad=True)
    pairs = Pairs.from_matrices(members(4), members(3), positive, negative)
    losses = info_nce(logits, pairs, reduction="none")
    assert losses[0] > 0 and losses[1:].tolist() == [0.0, 0.0, 0.0]
    loss = info_nce(logits, pairs)
    assert loss.item() == pytest.approx(losses[0].item() / 2)
    loss.backward()
    assert torch.isfinite(logits.grad).all() and (logits.grad[[1, 2, 3]] == 0).all()
    assert int(pairs.without_positive) == 2 and int(pairs.without_negative) == 2


def test_nothing_is_pulled():
    pairs = Pairs.from_matrices(members(2), members(3), torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool))
    logits = torch.randn(2, 3, requires_grad=True)
    loss = info_nce(logits, pairs)
    loss.backward()
    assert loss.item() == 0 and (logits.grad == 0).all()


def test_extreme_logits_stay_finite():
    pairs = random_pairs(0)
    for scale in (1e4, -1e4):
        logits = (scale * torch.randn(6, 11)).requires_grad_()
        info_nce(logits, pairs).backward()
        assert torch.isfinite(logits.grad).all()


def test_permuting_candidates_changes_nothing():
    pairs = random_pairs(2)
    logits = torch.randn(6, 11)
    order = torch.randperm(11)
    candidates = Members(pairs.candidates.kind[order], pairs.candidates.item[order])
    permuted = Pairs.from_matrices(
        pairs.anchors, candidates, pairs.positive[:, order], pairs.negative[:, order], pairs.removed[:, order]
    )
    assert info_nce(logits[:, order], permuted).item() == pytest.approx(info_nce(logits, pairs).item(), abs=1e-6)


def test_removed_negatives_are_gone_or_neutral():
    """One positive at logit 0, one hard negative at 4: kept log(1 + e⁴), zeroed log 2, excluded 0."""
    logits = torch.tensor([[0.0, 4.0]])
    nothing = torch.tensor([[False, False]])
    hard = torch.tensor([[False, True]])
    candidates = Members.of(Kind.QUEUE, torch.tensor([1, 2]))
    positive = torch.tensor([[1.0, 0.0]])
    kept = Pairs.from_matrices(members(1), candidates, positive, hard, nothing)
    removed = Pairs.from_matrices(members(1), candidates, positive, nothing, hard)
    assert info_nce(logits, kept).item() == pytest.approx(math.log(1 + math.exp(4)), abs=1e-5)
    assert info_nce(logits, removed, removed_logit=0.0).item() == pytest.approx(math.log(2), abs=1e-6)
    assert info_nce(logits, removed).item() == 0


@pytest.mark.parametrize(
    "change, message",
    [
        ({"logits": torch.randn(6, 10)}, "do not fit"),
        ({"logits": torch.randn(6, 11).bfloat16()}, "float32"),
    ],
)
def test_wrong_input(change, message):
    with pytest.raises(ValueError, match=message):
        info_nce(change["logits"], random_pairs())
