"""few_labels: balanced draws, frozen probes and fine-tuning, each against the same done by hand."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from support.data import HIERARCHY, pictures

from hiercl.datasets import FORMS, HierarchicalDataset
from hiercl.encoders import make_encoder
from hiercl.encoders.norms import SplitBatchNorm2d
from hiercl.evaluation.few_labels import draw_labelled, few_labels
from hiercl.evaluation.fine_tuning import FineTuneConfig, fine_tune, probabilities_at, rate_factor, total_steps
from hiercl.hierarchy import Hierarchy
from hiercl.metrics.probes import LinearProbe
from hiercl.runtime.seeds import stream_seed
from hiercl.training.loop import TrainingDivergedError

QUICK = FineTuneConfig(epochs=2, batch=16, precision="float32")


def small_encoder(norm: str = "batch", channels: int = 3):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make_encoder("convnet", [0.5] * channels, [0.25] * channels, channels, norm)


def stripes(n: int, seed: int) -> HierarchicalDataset:
    """The stripes of the training tests with little noise: four classes that are easy to tell apart once learned."""
    rng = np.random.default_rng(seed)
    labels, grid = np.arange(n) % 4, np.indices((16, 16))
    waves = [np.sin((0.8 if y % 2 else 1.9) * grid[y // 2] + rng.uniform(0, 6)) for y in labels]
    items = 128 + 80 * np.stack(waves)[..., None] + rng.normal(0, 20, (n, 16, 16, 3))
    return HierarchicalDataset(items.clip(0, 255).astype(np.uint8), labels, HIERARCHY, name="stripes")


# -- draws --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fraction", "each"), [(0.01, 1), (0.05, 2), (0.1, 5), (0.5, 25), (1, 50)])
def test_draws_take_the_same_number_of_every_class(fraction, each):
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 5], 50))
    index = draw_labelled(labels, fraction)
    assert np.bincount(labels[index], minlength=6).tolist() == [each, each, each, 0, 0, each]
    assert (np.diff(index) > 0).all()


def test_a_small_class_gives_all_it_has():
    labels = np.repeat([0, 1, 2], [60, 57, 3])
    assert np.bincount(labels[draw_labelled(labels, 0.25)]).tolist() == [10, 10, 3]


def test_draws_of_a_seed_are_the_same_and_nested_those_of_others_differ():
    labels = np.arange(400) % 4
    first = draw_labelled(labels, 0.1, seed=3)
    assert np.array_equal(first, draw_labelled(labels, 0.1, seed=3))
    assert set(first) < set(draw_labelled(labels, 0.2, seed=3))
    assert not np.array_equal(first, draw_labelled(labels, 0.1, seed=4))
    drawn = np.bincount(np.concatenate([draw_labelled(labels, 0.1, seed) for seed in range(400)]), minlength=400)
    assert 10 < drawn.min() and drawn.max() < 80  # 40 are expected of every item, with a deviation of 6


@pytest.mark.parametrize("fraction", [0, -0.1, 1.5, float("nan")])
def test_a_fraction_is_a_share(fraction):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        draw_labelled(np.array([0, 1]), fraction)


def test_no_labels_no_draw():
    with pytest.raises(ValueError, match=r"dataset\.labels"):
        draw_labelled(np.zeros(0, dtype=np.int64), 0.5)


# -- fine-tuning --------------------------------------------------------------------------------------------------


def test_the_given_encoder_and_random_numbers_are_left_untouched():
    encoder = small_encoder().train()
    encoder.stem.requires_grad_(False)
    for parameter in encoder.stage_modules[0].parameters():
        parameter.requires_grad_(False)
    before, modes = copy.deepcopy(encoder.state_dict()), [module.training for module in encoder.modules()]
    needs = [parameter.requires_grad for parameter in encoder.parameters()]
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    tuned = fine_tune(encoder, pictures(32), QUICK)
    assert torch.equal(torch.rand(3), expected)
    after = encoder.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert [module.training for module in encoder.modules()] == modes
    assert [parameter.requires_grad for parameter in encoder.parameters()] == needs
    assert not any(module.training for module in tuned.encoder.modules())
    moved = [not torch.equal(before[name], value) for name, value in tuned.encoder.named_parameters()]
    assert all(moved)  # what was frozen learns too


def test_same_seed_same_result_other_seed_another():
    one, same, other = (fine_tune(small_encoder(), pictures(32), QUICK, seed=seed) for seed in (1, 1, 2))
    proba = [tuned.predict_proba(pictures(20, seed=9)) for tuned in (one, same, other)]
    assert torch.equal(proba[0], proba[1]) and one.losses == same.losses
    assert not torch.equal(proba[0], proba[2])
    assert torch.allclose(proba[0].sum(dim=1), torch.ones(20))


@pytest.mark.parametrize(("trunk_lr", "head_lr"), [(0.0, 0.1), (0.1, 0.0)])
def test_trunk_and_head_have_their_own_learning_rates(trunk_lr, head_lr):
    encoder = small_encoder()
    tuned = fine_tune(encoder, pictures(32), FineTuneConfig(epochs=2, trunk_lr=trunk_lr, head_lr=head_lr))
    given = dict(encoder.named_parameters())
    kept = [torch.equal(given[name], value) for name, value in tuned.encoder.named_parameters()]
    # a head that stays at zero sends no gradient into the trunk
    assert all(kept)
    assert bool(tuned.head.weight.any()) == (head_lr > 0)


def test_three_steps_are_those_of_the_equation():
    """Whole pictures in one batch: SGD with momentum written out for both groups."""
    data, encoder = pictures(12), small_encoder()
    settings = {"crop": 16, "crop_scale": (1.0, 1.0), "flip": 0.0, "precision": "float32"}
    config = FineTuneConfig(epochs=3, trunk_lr=0.03, head_lr=0.3, momentum=0.5, weight_decay=0.01, **settings)
    tuned = fine_tune(encoder, data, config)

    trunk, head = copy.deepcopy(encoder).train(), torch.nn.Linear(encoder.width, 4)
    for parameter in head.parameters():
        torch.nn.init.zeros_(parameter)
    x, y = FORMS["images"].to_map(torch.from_numpy(data.items)), torch.from_numpy(data.labels)
    parameters = [*trunk.parameters(), *head.parameters()]
    rates = [0.03] * len(list(trunk.parameters())) + [0.3] * 2
    velocity = [torch.zeros_like(p) for p in parameters]
    losses = []
    for step in range(3):
        loss = -head(trunk(x)).log_softmax(dim=1)[torch.arange(12), y].mean()
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, parameters)
        share = 0.5 * (1 + np.cos(np.pi * step / 3))
        with torch.no_grad():
            for p, v, g, rate in zip(parameters, velocity, gradients, rates, strict=True):
                v.mul_(0.5).add_(g + 0.01 * p)
                p.sub_(share * rate * v)
    assert tuned.losses == pytest.approx(losses, rel=1e-3)
    assert torch.allclose(tuned.head.weight, head.weight, atol=1e-3)
    with torch.no_grad():
        expected = head(trunk.eval()(x)).softmax(dim=1)
    assert torch.allclose(tuned.predict_proba(data), expected, atol=5e-3)


def test_separable_classes_are_learned():
    config = FineTuneConfig(epochs=30, batch=20, trunk_lr=0.05, crop=16, crop_scale=(0.8, 1.0), flip=0.0)
    tuned = fine_tune(small_encoder(), stripes(80, seed=0), config)
    test = stripes(80, seed=1)
    right = (tuned.predict_proba(test).argmax(dim=1).numpy() == test.labels).mean()
    assert right > 0.9 and tuned.losses[0] > 1 > 3 * tuned.losses[-1]


def test_coarse_probabilities_are_sums_over_leaves():
    uneven = Hierarchy.from_dict({"a": ["p"], "b": ["q", "r"], "c": ["s", "t", "u"]})
    leaf = torch.rand(7, 6, generator=torch.Generator().manual_seed(0)).softmax(dim=1)
    coarse = probabilities_at(leaf, uneven, 0)
    by_hand = [[sum(float(row[y]) for y in range(6) if uneven.ancestors[y, 0] == c) for c in range(3)] for row in leaf]
    assert np.allclose(coarse, by_hand) and torch.equal(probabilities_at(leaf, uneven, -1), leaf)
    with pytest.raises(ValueError, match="6 leaves"):
        probabilities_at(leaf[:, :5], uneven, 0)


@pytest.mark.parametrize("norm", ["batch", "split", "group"])
def test_one_item_a_class_is_enough(norm):
    encoder = small_encoder(norm)
    data = pictures(4)
    tuned = fine_tune(encoder, data, QUICK)
    assert tuned.steps == 2 and tuned.predict_proba(pictures(9)).shape == (9, 4)
    assert not any(isinstance(module, SplitBatchNorm2d) for module in tuned.encoder.modules())
    assert any(isinstance(module, SplitBatchNorm2d) for module in encoder.modules()) == (norm == "split")
    # the same numbers in eval mode: only the way of training differs
    untouched = fine_tune(encoder, data, FineTuneConfig(most_steps=1, trunk_lr=0.0, head_lr=0.0, precision="float32"))
    assert torch.allclose(untouched.predict_proba(data), torch.full((4, 4), 0.25))


def test_gray_pictures():
    gray = HierarchicalDataset(pictures(16).items[..., :1].copy(), pictures(16).labels, HIERARCHY)
    tuned = fine_tune(small_encoder(channels=1), gray, QUICK)
    assert torch.isfinite(tuned.predict_proba(gray)).all()


def test_steps_and_rates():
    config = FineTuneConfig(epochs=10, most_steps=35, batch=8)
    assert [total_steps(items, config) for items in (3, 8, 9, 32, 1000)] == [10, 10, 20, 35, 35]
    tuned = fine_tune(small_encoder(), pictures(20), FineTuneConfig(epochs=9, most_steps=7, batch=8))
    assert tuned.steps == 7 and len(tuned.losses) == 3  # 3 steps an epoch: the last one is cut
    assert [rate_factor(share, None) for share in (0.0, 0.5, 1.0)] == pytest.approx([1, 0.5, 0])
    falls = [rate_factor(share, (0.4, 0.8)) for share in (0.0, 0.39, 0.4, 0.79, 0.8)]
    assert falls == pytest.approx([1, 1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "at least 1"),
        ({"batch": 1}, "at least 2"),
        ({"trunk_lr": -0.1}, "trunk_lr=-0.1"),
        ({"head_lr": float("inf")}, "head_lr=inf"),
        ({"milestones": (0.5, 1.5)}, "above 0 and below 1"),
        ({"crop": 0}, "crop=0"),
        ({"crop_scale": (0.0, 1.0)}, "scale of a crop"),
        ({"flip": 2.0}, "flip=2.0"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        FineTuneConfig(**settings)


def test_what_cannot_be_fine_tuned():
    points = HierarchicalDataset(np.zeros((4, 8, 3), dtype=np.float32), np.arange(4), HIERARCHY, name="clouds")
    with pytest.raises(ValueError, match="holds points"):
        fine_tune(small_encoder(), points)
    with pytest.raises(ValueError, match="at least two"):
        fine_tune(small_encoder(), pictures(1))
    with pytest.raises(TrainingDivergedError, match="lower trunk_lr"):
        fine_tune(small_encoder(), pictures(16), FineTuneConfig(epochs=30, trunk_lr=1e12, head_lr=1e12))
    tuned = fine_tune(small_encoder(), pictures(8), QUICK)
    with pytest.raises(ValueError, match="4 leaf classes"):
        tuned.predict_proba(pictures(8).under("a"))


# -- few_labels ---------------------------------------------------------------------------------------------------


def random_features(n: int, seed: int, labels: np.ndarray) -> torch.Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.eye(4, 6)[torch.as_tensor(labels)] + torch.randn(n, 6, generator=g)


def test_frozen_rows_are_those_of_a_probe_by_hand():
    train, test = pictures(200), pictures(120, seed=1)
    bank, queries = random_features(200, 0, train.labels), random_features(120, 1, test.labels)
    table = few_labels(small_encoder(), train, test, (0.05, 0.2, 1), 4, 7, None, False, (bank, queries), progress=False)
    assert len(table) == 3 * 2 and set(table["way"]) == {"linear"}
    for (fraction, level), row in table.set_index(["fraction", "level"]).iterrows():
        depth = HIERARCHY.level_names.index(level)
        accuracies = []
        for draw in range(4):
            index = torch.as_tensor(draw_labelled(train.labels, fraction, stream_seed(7, draw, "items")))
            labels = torch.as_tensor(train.labels_at(depth))[index]
            probe = LinearProbe.fit(bank[index], labels, penalties=(6 / (10 * len(index)),))
            accuracies.append(100 * np.mean(probe.predict(queries).numpy() == test.labels_at(depth)))
        assert row["accuracy"] == pytest.approx(np.mean(accuracies))
        assert row["deviation"] == pytest.approx(np.std(accuracies, ddof=1))
        assert row["labels"] == len(index) == 4 * row["per_class"] and row["draws"] == 4
    assert table[table["fraction"] < 1]["deviation"].min() > 0
    assert (table[table["fraction"] == 1]["deviation"] == 0).all()  # all items are labelled in every draw


def test_both_ways_at_every_level():
    encoder = small_encoder().train()
    train, test = pictures(48), pictures(32, seed=1)
    table = few_labels(encoder, train, test, (0.25,), draws=3, seed=2, config=QUICK, progress=False)
    assert encoder.training
    columns = ["fraction", "labels", "per_class", "level", "way", "accuracy", "draws", "deviation"]
    assert sorted(table.columns) == sorted(columns)
    assert table[["way", "level"]].to_numpy().tolist() == [
        ["linear", "group"],
        ["linear", "class"],
        ["fine-tuned", "group"],
        ["fine-tuned", "class"],
    ]
    seeds = [stream_seed(2, draw, "items") for draw in range(3)]
    leaf = [
        fine_tune(encoder, train.take(draw_labelled(train.labels, 0.25, seed)), QUICK, seed).predict_proba(test)
        for seed in seeds
    ]
    for level, name in enumerate(HIERARCHY.level_names):
        right = [
            100 * np.mean(probabilities_at(p, HIERARCHY, level).argmax(dim=1).numpy() == test.labels_at(level))
            for p in leaf
        ]
        (row,) = table[(table["way"] == "fine-tuned") & (table["level"] == name)].to_dict("records")
        assert row["accuracy"] == pytest.approx(np.mean(right))
        assert row["deviation"] == pytest.approx(np.std(right, ddof=1))
    again = few_labels(encoder, train, test, (0.25,), draws=3, seed=2, config=QUICK, progress=False)
    pd.testing.assert_frame_equal(table, again)


def test_one_draw_has_no_deviation():
    table = few_labels(small_encoder(), pictures(24), pictures(8), (0.01,), 1, fine_tuning=False, progress=False)
    assert table["deviation"].isna().all() and (table["draws"] == 1).all()
    assert (table["labels"] == 4).all() and (table["per_class"] == 1).all()


def test_features_are_those_of_the_encoder_in_eval_mode():
    encoder, train, test = small_encoder().train(), pictures(40), pictures(40, seed=1)
    frozen = copy.deepcopy(encoder).eval()
    with torch.no_grad():
        given = tuple(frozen(FORMS["images"].to_map(torch.from_numpy(data.items))) for data in (train, test))
    a, b = (
        few_labels(encoder, train, test, (0.5,), fine_tuning=False, features=features, progress=False)
        for features in (None, given)
    )
    assert np.allclose(a["accuracy"], b["accuracy"], atol=5)  # embedding may run in bf16


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"draws": 0}, "draws=0"),
        ({"fractions": ()}, "at least one"),
        ({"fractions": (0.1, 0.1)}, "none twice"),
        ({"fractions": (0.1, 2)}, "at most 1"),
        ({"test": pictures(8).under("a")}, "same names"),
        ({"features": (torch.zeros(3, 2), torch.zeros(8, 2))}, r"must be \[24, d\]"),
    ],
)
def test_wrong_input(changes, message):
    given = {"encoder": small_encoder(), "train": pictures(24), "test": pictures(8), "progress": False}
    with pytest.raises(ValueError, match=message):
        few_labels(**given | changes)


def test_data_without_classes():
    none = HierarchicalDataset(pictures(8).items, np.zeros(8, dtype=np.int64), Hierarchy.from_dict(["unlabelled"]))
    with pytest.raises(ValueError, match="no classes"):
        few_labels(small_encoder(), none, none, progress=False)
