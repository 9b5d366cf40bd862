"""Blocks of anchors: the same value and gradient as the whole, in the memory of a block."""

import weakref

import pytest
import torch
from support.planted import BATCH, DIM, HIERARCHIES, ITEMS, long_tailed, planted, random_batch, with_gradient
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from hiercl.encoders import make_encoder
from hiercl.pairs.terms import BlockTerm, Term

THREE = HIERARCHIES["three levels"]
VARIANTS = {
    "simclr": ("simclr", {}),
    "supcon": ("supcon", {}),
    "hmc": ("hmc", {}),
    "hmc thinned": ("hmc", {"thinning": True}),
    "hmc heads": ("hmc", {"heads": "level"}),
    "hmce batch": ("hmce", {"maximum": "batch"}),
    "hmce batch thinned": ("hmce", {"maximum": "batch", "thinning": True}),
    "hmce centred": ("hmce", {"maximum": "centred", "thinning": True, "heads": "level"}),
    "hce batch": ("hce", {"maximum": "batch"}),
}


def make(variant: str, block: int | None, items: int = ITEMS):
    name, settings = VARIANTS[variant]
    return planted(name, None if name == "simclr" else THREE, long_tailed(THREE, items), block=block, **settings)


@pytest.mark.parametrize("block", [5, 6, 17])
@pytest.mark.parametrize("variant", VARIANTS)
def test_value_and_gradient_are_those_of_the_whole(variant, block, as_a_user):
    """18 views: blocks that do not divide them, that do, and a last one of a single anchor."""
    batch = random_batch(1)
    loss, gradient = with_gradient(make(variant, None), batch)
    other, of_other = with_gradient(make(variant, block), batch)
    assert loss == pytest.approx(other, rel=1e-6) and gradient.abs().max() > 1e-3
    assert torch.allclose(gradient, of_other, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_logits_and_pairs_on_demand_are_those_of_the_whole(variant):
    batch = random_batch(2)
    whole, blocks = (make(variant, block)(batch).terms for block in (None, 7))
    assert [term.name for term in whole] == [term.name for term in blocks]
    for term, block_term in zip(whole, blocks, strict=True):
        assert isinstance(term, Term) and isinstance(block_term, BlockTerm)
        assert torch.allclose(term.logits, block_term.logits, atol=1e-6)
        a, b = term.pairs, block_term.pairs
        for field in ("positive_index", "positive_weight", "negative", "removed"):
            assert torch.equal(getattr(a, field), getattr(b, field))
        assert torch.equal(a.anchors.item, b.anchors.item) and torch.equal(a.candidates.item, b.candidates.item)
        assert a.level == b.level and term.weight == block_term.weight
        assert term.shared_denominator == block_term.shared_denominator
        assert block_term.loss.item() == pytest.approx(term.loss.item(), rel=1e-6)


def test_a_block_of_all_or_more_is_the_whole():
    for block in (2 * BATCH, 1000):
        assert all(isinstance(term, Term) for term in make("hmc", block)(random_batch()).terms)


def test_gradient_reaches_the_weights_of_every_head():
    """Checkpointing looks at what a function is given; what it closes over must not be forgotten."""
    batch, gradients = random_batch(3), []
    for block in (None, 5):
        method = make("hmc heads", block)
        with_gradient(method, batch)
        gradients.append([parameter.grad for parameter in method.coarse_heads.parameters()])
    assert len(gradients[0]) == 4
    for whole, in_blocks in zip(*gradients, strict=True):
        assert whole.abs().max() > 1e-4 and torch.allclose(whole, in_blocks, atol=1e-6)


def test_blocks_are_float32_under_autocast_also_when_they_are_made_again():
    """The second time is in backward, outside of the method's own precision."""
    gradients = []
    for block in (None, 5):
        method = make("hmc", block)
        torch.manual_seed(0)
        method.encoder = make_encoder("convnet", mean=[0.5] * 3, std=[0.25] * 3).eval()
        pictures = random_batch(0, dim=3 * 8 * 8)
        object.__setattr__(pictures, "views", tuple(view.view(-1, 3, 8, 8) for view in pictures.views))
        with torch.autocast("cpu", torch.bfloat16):
            step = method(pictures)
            step.loss.backward()
        gradients.append(next(method.encoder.parameters()).grad)
        assert all(term.logits.dtype == torch.float32 for term in step.terms)
    assert torch.allclose(*gradients, rtol=1e-2, atol=1e-2 * float(gradients[0].abs().max()))


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of all tensors that operations make, until they are freed."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                if id(storage) not in self.known:
                    self.known.add(id(storage))
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self.freed, id(storage), storage.nbytes())
        self.most = max(self.most, self.now)
        return made

    def freed(self, number: int, size: int) -> None:
        self.known.remove(number)
        self.now -= size


@pytest.mark.parametrize("variant", ["simclr", "supcon", "hmc", "hmce batch thinned", "hmce centred"])
def test_blocks_need_a_fraction_of_the_memory(variant, as_a_user):
    """At the peak of a step, forward and backward. Also the maxima may not ask for the whole."""
    items, most = 256, []
    batch = random_batch(0, items=items, batch=items, dim=DIM)
    for block in (64, None):
        method = make(variant, block, items)
        with LiveTensors() as live:
            with_gradient(method, batch)
        most.append(live.most)
    in_blocks, whole = most
    assert whole > 2 * (2 * items) ** 2 * 4  # the similarities, and what the gradient needs of them
    assert in_blocks < whole / 4
