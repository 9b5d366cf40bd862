"""HCSC's selection and loss: the oracles of methods.md A.10, and the plain form that recomputes everything."""

import math
from dataclasses import replace

import pytest
import torch
from plain import plain_prototype_pairs, plain_removals
from support.methods import BATCH, ITEMS, batch_of, make
from torch.nn import functional as F

from hiercl.clustering.prototypes import PrototypeTree
from hiercl.methods.base import TrainingInfo
from hiercl.methods.hcsc import HCSC, HIGHEST_KEEP, LOWEST_PROTOTYPE_KEEP
from hiercl.methods.with_tree import tree_sizes
from hiercl.pairs.losses import info_nce
from hiercl.runtime.seeds import Draws

INDEX = torch.arange(20, 20 + BATCH)


def terms_of(method, seed: int = 0):
    return {term.name: term for term in method(batch_of(method, INDEX, seed)).terms}


def equal_prototypes(tree: PrototypeTree) -> PrototypeTree:
    """The same tree with all prototypes of a level in one place and one concentration."""
    same = [F.normalize(torch.ones_like(c), dim=1) for c in tree.centroids]
    return replace(
        tree, centroids=tuple(same), concentration=tuple(torch.full_like(p, 0.1) for p in tree.concentration)
    )


def test_equal_prototypes_keep_all_but_one_in_m():
    """A.10 (i): p_keep = 1 − 1/M at every level."""
    method = make("hcsc")
    method.use(equal_prototypes(method.tree))
    terms = terms_of(method)
    for level, size in enumerate(method.tree.sizes):
        keep = terms[f"instance {level}"].pairs.keep_probability[:, BATCH:]
        assert torch.allclose(keep, torch.full_like(keep, 1 - 1 / size), atol=1e-5)
    for level in (1, 2):
        keep = terms[f"prototype {level}"].pairs.keep_probability
        assert torch.allclose(keep, torch.full_like(keep, 1 - 1 / method.tree.sizes[level - 1]), atol=1e-5)


def test_an_item_on_the_anchors_prototype_is_dropped():
    """A.10 (ii): distinct prototypes, φ → 0, queue items equal to the anchor's own prototype."""
    method = make("hcsc", prototypes=(3, 6))
    tree = method.tree
    sharp = replace(
        tree,
        centroids=tuple(torch.eye(c.shape[1])[: len(c)] for c in tree.centroids),
        concentration=tuple(torch.full_like(p, 1e-3) for p in tree.concentration),
    )
    for level in range(2):
        own = sharp.assignment[INDEX[0], level]
        method.queue.keys[:] = sharp.centroids[level][own]
        method.use(sharp)
        pairs = terms_of(method)[f"instance {level}"].pairs
        same = sharp.assignment[INDEX, level] == own
        keep = pairs.keep_probability[:, BATCH:]
        assert (keep[same] == 0).all() and pairs.removed[same][:, BATCH:].all()
        assert torch.allclose(keep[~same], torch.tensor(HIGHEST_KEEP))
    # Prototypes: the candidate that is its parent's twin, seen from the same parent, is dropped but for the floor.
    level_1 = sharp.centroids[0][sharp.parent[1]]
    method.use(replace(sharp, centroids=(sharp.centroids[0], level_1)))
    keep = terms_of(method)["prototype 1"].pairs.keep_probability
    siblings = sharp.parent[1][sharp.assignment[INDEX, 1]][:, None] == sharp.parent[1][None, :]
    assert torch.allclose(keep[siblings], torch.tensor(LOWEST_PROTOTYPE_KEEP))
    assert torch.allclose(keep[~siblings], torch.tensor(HIGHEST_KEEP))


def test_one_level_without_selection_is_info_nce_and_proto_nce():
    """A.10 (iii): PCL's two losses, by a loop over all prototypes."""
    method = make("hcsc", prototypes=(7,), select="none", scale="official").eval()
    batch = batch_of(method, INDEX)
    query, key = method.project(batch.views[0]).detach(), method.project_key(batch.views[1])
    tau, tree, total = method.config.temperature, method.tree, 0.0
    for i, item in enumerate(INDEX.tolist()):
        own = math.exp(float(query[i] @ key[i]) / tau)
        old = zip(method.queue.keys, method.queue.items.tolist(), strict=True)
        rest = sum(math.exp(float(query[i] @ k) / tau) for k, who in old if who != item)
        scores = [
            math.exp(float(query[i] @ c) / float(p))
            for c, p in zip(tree.centroids[0], tree.concentration[0], strict=True)
        ]
        total += math.log((own + rest) / own) + math.log(sum(scores) / scores[int(tree.assignment[item, 0])])
    assert method(batch).loss.item() == pytest.approx(total / BATCH, rel=1e-4)


@pytest.mark.parametrize("select", ["both", "instances"])
def test_cached_and_plain_form_remove_the_same(select):
    """A.10 (vi): the stored denominators give the removals that recomputing queue × prototypes gives."""
    method = make("hcsc", queue=40, select=select)
    for seed in range(3):
        terms = terms_of(method, seed)
        draws = Draws(torch.Generator().manual_seed(seed))
        plain = plain_removals(method, INDEX, draws)
        for level in range(3):
            assert torch.equal(terms[f"instance {level}"].pairs.removed, plain[level])
            if select == "both":
                prototypes = plain_prototype_pairs(method, INDEX, level, draws)
                assert torch.equal(terms[f"prototype {level}"].pairs.removed, prototypes.removed)
                assert torch.equal(terms[f"prototype {level}"].pairs.negative, prototypes.negative)
    assert sum(int(p.sum()) for p in plain) > 0


def test_stored_denominators_follow_the_queue():
    method = make("hcsc")
    for number in range(5):
        method.after_step(method(batch_of(method, torch.arange(ITEMS)[number::7][:BATCH], seed=number)))
        for level in range(3):
            expected = method.tree.log_normaliser(method.queue.keys, level)
            assert torch.allclose(method.log_normaliser[level], expected, atol=1e-5)


def test_draws_come_true_in_proportion():
    """Removals over many draws happen with the probability that the pairs state."""
    method = make("hcsc", queue=40)
    runs = 400
    removed = torch.zeros(BATCH, BATCH + 40)
    for seed in range(runs):
        pairs = method.select_instances(method.instance_pairs(INDEX), 0, Draws(torch.Generator().manual_seed(seed)))
        removed += pairs.removed
    expected = 1 - pairs.keep_probability
    allowed = method.instance_pairs(INDEX).negative
    error = (removed / runs - expected)[allowed]
    assert error.abs().max() < 5 * 0.5 / math.sqrt(runs) and (removed[~allowed] == 0).all()
    assert abs(error.mean()) < 0.01


def test_selection_follows_the_posterior_by_loop():
    method = make("hcsc", queue=10)
    tree = method.tree
    pairs = terms_of(method)["instance 1"].pairs
    for i, item in enumerate(INDEX.tolist()):
        own = int(tree.assignment[item, 1])
        for j, old in enumerate(method.queue.keys):
            scores = [
                math.exp(float(old @ c) / float(p))
                for c, p in zip(tree.centroids[1], tree.concentration[1], strict=True)
            ]
            keep = min(1 - scores[own] / sum(scores), HIGHEST_KEEP)
            assert float(pairs.keep_probability[i, BATCH + j]) == pytest.approx(keep, abs=1e-4)


def test_prototype_pairs():
    """The own prototype is pulled, all others of the level are open, the last one too; at the top all are kept."""
    method = make("hcsc")
    terms = terms_of(method)
    for level, size in enumerate(method.tree.sizes):
        pairs = terms[f"prototype {level}"].pairs
        own = method.tree.assignment[INDEX, level]
        assert torch.equal(pairs.positive, F.one_hot(own, size).float())
        open_ = pairs.negative | pairs.removed
        assert torch.equal(open_, pairs.positive == 0)
    assert not terms["prototype 0"].pairs.removed.any()


@pytest.mark.parametrize(
    "select, instances, prototypes",
    [("none", False, False), ("instances", True, False), ("prototypes", False, True), ("both", True, True)],
)
def test_each_selection_is_switchable(select, instances, prototypes):
    method = make("hcsc", queue=40, select=select)
    for seed in range(3):
        terms = terms_of(method, seed)
    assert terms["instance 0"].pairs.removed.any() == instances
    assert terms["prototype 1"].pairs.removed.any() == prototypes


def test_a_rule_of_ones_own():
    keeps_all = make("hcsc", select=lambda posterior: torch.ones_like(posterior))
    plain = make("hcsc", select=lambda posterior: 1 - posterior)
    both = make("hcsc", select="both")
    assert torch.equal(terms_of(plain)["instance 0"].pairs.removed, terms_of(both)["instance 0"].pairs.removed)
    rate = terms_of(keeps_all)["instance 0"].pairs.removed[:, BATCH:].float().mean()
    assert rate < 0.02  # 1 − HIGHEST_KEEP, as the official code clips


def test_sharpness_scales_the_logits_of_the_posterior():
    """The keep probabilities are those of a tree whose concentrations are divided by the sharpness."""
    sharp, plain = make("hcsc", sharpness=4.0), make("hcsc")
    scaled = replace(plain.tree, concentration=tuple(phi / 4 for phi in plain.tree.concentration))
    plain.queue.load_state_dict(sharp.queue.state_dict())
    sharp.use(plain.tree)
    plain.use(scaled)
    for name, term in terms_of(sharp).items():
        if term.selective:
            assert torch.allclose(term.pairs.keep_probability, terms_of(plain)[name].pairs.keep_probability, atol=1e-5)


@pytest.mark.parametrize(("terms", "other"), [("instances", "prototypes"), ("prototypes", "instances")])
def test_a_loss_of_one_kind_of_terms(terms, other):
    """The terms are those of the whole loss, and their weights sum to 1 again."""
    whole = terms_of(make("hcsc", select=terms))
    part = terms_of(make("hcsc", select=terms, terms=terms))
    assert list(part) == [name for name in whole if name.startswith(terms[:-1])]
    assert sum(term.weight for term in part.values()) == pytest.approx(1)
    for name, term in part.items():
        assert torch.allclose(term.logits, whole[name].logits) and term.weight == pytest.approx(2 * whole[name].weight)
    with pytest.raises(ValueError, match=f"select='{other}' has no effect with terms='{terms}'"):
        HCSC.Config(select=other, terms=terms)


def test_a_random_selection_removes_as_much_by_other_rules():
    """select_by="random" gives every anchor the keep probabilities of the tree, at other candidates."""
    of_tree, random = (terms_of(make("hcsc", select_by=by)) for by in ("tree", "random"))
    for name, term in of_tree.items():
        if term.selective:
            ours, theirs = term.pairs.keep_probability, random[name].pairs.keep_probability
            assert torch.allclose(ours.sort(dim=1).values, theirs.sort(dim=1).values)
            assert not torch.allclose(ours, theirs)


def test_a_selection_by_labels_removes_the_anchors_class():
    method = make("hcsc", select_by="labels")
    labels = method.labels
    method.queue.items[:] = torch.arange(len(method.queue))
    method.queue.items[0] = -1  # a key of no item: it has no class
    for level in range(3):
        pairs = terms_of(method)[f"instance {level}"].pairs
        same = labels[INDEX][:, None] == labels[method.queue.items]
        same[:, 0] = False
        own = method.queue.items == INDEX[:, None]  # left alone by rule
        assert torch.equal(pairs.keep_probability[:, BATCH:] == 0, same) and torch.equal(
            pairs.removed[:, BATCH:] & same, same & ~own
        )
        assert not (pairs.negative[:, BATCH:] & same).any()
    assert HCSC.needs_labels(method.config) and not HCSC.needs_labels(HCSC.Config())
    with pytest.raises(ValueError, match="select_by='labels' has no effect"):
        HCSC.Config(select="none", select_by="labels")


def test_removed_as_the_official_code_does():
    excluded, zeroed = make("hcsc", queue=40), make("hcsc", queue=40, removed="zeroed")
    a, b = terms_of(excluded)["instance 0"], terms_of(zeroed)["instance 0"]
    assert torch.equal(a.pairs.removed, b.pairs.removed) and a.pairs.removed.any()
    logits = a.logits * (~a.pairs.removed)  # "multiplied by 0"
    open_ = replace(a.pairs, negative=a.pairs.negative | a.pairs.removed, removed=torch.zeros_like(a.pairs.removed))
    assert b.loss.item() == pytest.approx(info_nce(logits, open_).item(), rel=1e-6)
    assert a.loss < b.loss


def test_weights():
    """Official: instances summed over levels, prototypes averaged. Normalised: all weights sum to 1."""
    official = make("hcsc", reduce="sum", scale="official")
    assert official.weights(1) == pytest.approx((1, 1 / 3))
    assert make("hcsc", scale="official").weights(1) == pytest.approx((1 / 3, 1 / 3))
    assert make("hcsc").weights(1) == pytest.approx((1 / 6, 1 / 6))
    assert make("hcsc", reduce="sum").weights(2) == pytest.approx((1 / 8, 1 / 24))


def test_local_crops_share_the_instance_selection_and_draw_prototypes_anew():
    method = make("hcsc", queue=40, local_crops=2)
    terms = terms_of(method)
    assert len(terms) == 3 * 6
    assert terms["local 1, instance 0"].pairs is terms["instance 0"].pairs
    drawn = [terms[f"{crop}prototype 2"].pairs.removed for crop in ("", "local 1, ", "local 2, ")]
    assert not torch.equal(drawn[0], drawn[1]) or not torch.equal(drawn[1], drawn[2])
    assert [round(24 * view.shrink) for view in method.plan] == [24, 24, 21, 18]


def test_no_gradient_to_keys_or_prototypes():
    method = make("hcsc")
    method(batch_of(method, INDEX)).loss.backward()
    assert all(p.grad is None for p in method.key_encoder.parameters())
    assert all(p.grad is not None for p in method.encoder.parameters())


def test_warm_up_is_moco():
    hcsc, moco = make("hcsc", warm_up=1.0), make("moco")
    assert hcsc.tree is None
    assert torch.equal(hcsc(batch_of(hcsc, INDEX)).loss, moco(batch_of(moco, INDEX)).loss)


def test_default_schedule_and_sizes():
    assert tree_sizes(None, 50_000) == (100, 200, 300) and tree_sizes(None, 10) == (2, 4, 6)
    assert TrainingInfo(50_000, 200, 195).warm_up_epochs(None) == 67  # a tenth would be 3,900 steps
    assert TrainingInfo(50_000, 400, 195).warm_up_epochs(None) == 40
    assert TrainingInfo(100, 5, 2).warm_up_epochs(0.5) == 3 and TrainingInfo(100, 5, 2).warm_up_epochs(0.0) == 0


def test_refresh_waits_for_the_warm_up():
    method = make("hcsc", warm_up=0.5)
    assert method.tree is None
    z = F.normalize(torch.randn(ITEMS, 128), dim=1)
    method.refresh(1, lambda function: z)
    assert method.tree is None
    method.refresh(2, lambda function: z)
    assert method.tree.sizes == (3, 6, 12)
