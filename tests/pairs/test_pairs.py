"""Pairs keep their promises; the audit counts what a loop counts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.pairs import members, random_pairs

from hiercl.clustering.prototypes import PrototypeTree
from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.pairs.audit import audit
from hiercl.pairs.pairs import Kind, Members, Pairs


def test_matrix_and_list_of_positives_agree():
    weights = torch.tensor([[0.0, 0.5, 0.0], [2.0, 0.0, 0.0]])
    pairs = Pairs.from_matrices(members(2), members(3), weights)
    assert torch.equal(pairs.positive, weights)
    assert int(pairs.without_positive) == 0 and int(pairs.without_negative) == 2


@pytest.mark.parametrize("first, second", [("positive", "negative"), ("positive", "removed"), ("negative", "removed")])
def test_a_pair_has_one_role(first, second):
    masks = {name: torch.zeros(2, 3, dtype=torch.bool) for name in ("positive", "negative", "removed")}
    masks[first][1, 2] = masks[second][1, 2] = True
    with pytest.raises(ValueError, match="one role"):
        Pairs.from_matrices(members(2), members(3), masks["positive"].float(), masks["negative"], masks["removed"])


def test_masks_of_another_shape_are_an_error():
    pairs = random_pairs()
    with pytest.raises((ValueError, TypeError)):  # the annotation, or the check itself
        Pairs(members(2), pairs.candidates, pairs.positive_index, pairs.positive_weight, pairs.negative, pairs.removed)


NAN, TWO = float("nan"), members(2)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Pairs.from_matrices(TWO, TWO, np.array([[0, -1.0], [1, 0]])), "NaN or not in its range"),
        (lambda: Pairs.from_matrices(TWO, TWO, torch.tensor([[0, NAN], [1, 0]])), "NaN or not in its range"),
        (lambda: replace(random_pairs(), anchor_weight=torch.full((6,), -1.0)), "anchor_weight at least 0"),
        (lambda: replace(random_pairs(), candidate_weight=torch.zeros(6, 11)), "candidate_weight must be above 0"),
        (lambda: replace(random_pairs(), candidate_weight=torch.full((6, 11), NAN)), "NaN or not in its range"),
        (lambda: replace(random_pairs(), anchor_weight=[1.0] * 6), "anchor_weight is a list: give a tensor"),
        (lambda: Pairs.from_matrices(TWO, TWO, [["a", "b"]]), "pass numbers"),
        (lambda: Pairs.from_matrices(TWO, TWO, np.ones(2)), r"pass a matrix, \[anchors, candidates\]"),
        (lambda: Pairs.from_matrices(TWO, TWO, np.eye(2), 1.0 - np.eye(2)), "negative is a tensor of torch.float64"),
        (lambda: Pairs.from_matrices([0, 1], TWO, np.eye(2)), "anchors are a list: give hiercl.pairs.Members"),
        (lambda: Pairs.from_matrices(TWO, TWO, np.eye(3)), "need masks of shape"),
        (
            lambda: replace(random_pairs(), positive_index=torch.tensor([[0, 99]]), positive_weight=torch.ones(1)),
            "6 x 11",
        ),
        (
            lambda: replace(random_pairs(), positive_index=torch.tensor([[-1, 0]]), positive_weight=torch.ones(1)),
            "below 0",
        ),
        (lambda: replace(random_pairs(), positive_weight=torch.ones(1)), "of every positive"),
        (lambda: Members.of("view", torch.arange(2)), "such as Kind.VIEW"),
        (lambda: Members(torch.zeros(3, dtype=torch.long), torch.arange(2)), "give one of each"),
    ],
)
def test_wrong_parts_of_pairs(make, message, as_a_user):
    with pytest.raises(ValueError, match=message):
        make()


def test_pairs_of_arrays_are_those_of_tensors():
    weights, pushed = np.array([[0, 0.5, 0], [2, 0, 0]], dtype=np.float32), np.array([[True, False, True], [False] * 3])
    ours = Pairs.from_matrices(Members.of(Kind.VIEW, np.arange(2)), members(3), weights, pushed)
    theirs = Pairs.from_matrices(members(2), members(3), torch.from_numpy(weights), torch.from_numpy(pushed))
    assert torch.equal(ours.positive, theirs.positive) and torch.equal(ours.negative, theirs.negative)


def test_counts_of_anchors_without_partners():
    pairs = random_pairs(3)
    assert int(pairs.without_positive) == int((pairs.positive.sum(dim=1) == 0).sum())
    assert int(pairs.without_negative) == int((pairs.negative.sum(dim=1) == 0).sum())


HIERARCHY = Hierarchy.from_dict({"a": ["a0", "a1"], "b": ["b0", "b1", "b2"]})
LABELS = np.array([0, 0, 1, 2, 3, 4, 1, 2, 4])


def prototype_pairs(level=0, number=1):
    prototypes = Members.of(Kind.PROTOTYPE, torch.tensor([0, number]))
    return Pairs.from_matrices(members(2), prototypes, torch.eye(2), level=level)


@pytest.mark.parametrize("seed", range(5))
def test_audit_against_a_loop(seed):
    pairs = random_pairs(seed)
    table = audit(pairs, LABELS, HIERARCHY)
    for level in range(2):
        seen = {"pulled": [], "pushed": [], "removed": []}
        for a in range(len(pairs.anchors)):
            for c in range(len(pairs.candidates)):
                item = int(pairs.candidates.item[c])
                if item < 0:
                    continue
                same = (
                    HIERARCHY.ancestors[LABELS[int(pairs.anchors.item[a])], level]
                    == HIERARCHY.ancestors[LABELS[item], level]
                )
                for role, mask in {
                    "pulled": pairs.positive > 0,
                    "pushed": pairs.negative,
                    "removed": pairs.removed,
                }.items():
                    if mask[a, c]:
                        seen[role].append(bool(same))
        row = table.iloc[level]
        assert row["pulled"] == len(seen["pulled"]) and row["pushed"] == len(seen["pushed"])
        assert row["precision"] == pytest.approx(np.mean(seen["pulled"]))
        assert row["false_negative_rate"] == pytest.approx(np.mean(seen["pushed"]))
        assert row["wasted_removals"] == pytest.approx(1 - np.mean(seen["removed"]))
        open_ = seen["pushed"] + seen["removed"]
        assert row["same_removed"] == pytest.approx(sum(seen["removed"]) / sum(open_))
        assert row["other_removed"] == pytest.approx(
            (len(seen["removed"]) - sum(seen["removed"])) / (len(open_) - sum(open_))
        )


def test_random_queue_entries_are_never_audited():
    queue = Members.of(Kind.QUEUE, torch.full((4,), -1))
    pairs = Pairs.from_matrices(members(2), queue, torch.zeros(2, 4), torch.ones(2, 4, dtype=torch.bool))
    table = audit(pairs, LABELS, HIERARCHY)
    assert (table["pushed"] == 0).all() and table["false_negative_rate"].isna().all()
    assert (table["negatives_left"] == 4).all()


def test_prototypes_have_the_label_of_their_majority():
    z = torch.nn.functional.normalize(torch.tensor([[1.0, 0.1], [1.0, 0.2], [0.9, 0.1], [-1, 0.1], [-1.0, 0.2]]), dim=1)
    labels = np.array([0, 0, 1, 2, 3])
    tree = PrototypeTree.fit(z, (2,), seed=0)
    own = tree.assignment[:, 0]
    positive = torch.nn.functional.one_hot(own, 2).float()
    prototypes = Members.of(Kind.PROTOTYPE, torch.arange(2))
    pairs = Pairs.from_matrices(members(5), prototypes, positive, positive == 0, level=0)
    table = audit(pairs, labels, HIERARCHY, tree)
    assert table["precision"].tolist() == [1.0, pytest.approx(3 / 5)]  # both clusters pure in a/b; majorities 0 and 2
    assert table["false_negative_rate"].tolist() == [0.0, 0.0]
    with pytest.raises(ValueError, match="tree"):
        audit(pairs, labels, HIERARCHY)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"tree": 42}, "tree is a int: give the hiercl.PrototypeTree"),
        ({"labels": LABELS[:6]}, "the pairs name item 8, and there are 6 labels"),
        ({"labels": LABELS[:, None]}, r"labels are \[9, 1\]"),
        ({"labels": LABELS + 3}, "there is no leaf"),
        ({"hierarchy": {"a": ["b"]}}, "hierarchy is a dict: give hiercl.Hierarchy"),
        ({"pairs": LABELS}, "pairs are a ndarray: give hiercl.Pairs"),
        ({"pairs": prototype_pairs(level=1), "tree": "fitted"}, "prototype 1 of level 1"),
        ({"pairs": prototype_pairs(number=5), "tree": "fitted"}, "prototype 5 of level 0"),
    ],
)
def test_wrong_parts_of_an_audit(change, message, as_a_user):
    if change.get("tree") == "fitted":
        change = change | {"tree": PrototypeTree.fit(torch.randn(9, 4), (2,), seed=0)}
    with pytest.raises(ValueError, match=message):
        audit(**({"pairs": random_pairs(), "labels": LABELS, "hierarchy": HIERARCHY} | change))


def test_anchors_without_any_candidate_are_not_counted():
    """Thinning takes them out: they have neither too few negatives nor any negatives to average."""
    negative = torch.tensor([[False, True, True], [False, False, False]])
    pairs = Pairs.from_matrices(members(2), members(3), torch.zeros(2, 3), negative)
    table = audit(pairs, LABELS, HIERARCHY)
    assert (table["negatives_left"] == 2).all() and (table["anchors_without_negative"] == 0).all()
