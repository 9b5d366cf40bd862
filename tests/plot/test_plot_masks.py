"""The picture of feature masks: the run's own masks, numbers against a loop, nothing changed, errors that help."""

import itertools
import math
import sys

import numpy as np
import pytest
import torch
from support.data import pictures
from support.figures import overlapping, texts
from torch.nn import functional as F

import hiercl
from hiercl.evaluation.feature_masks import FeatureMasks, feature_masks, mask_separation, variance_shares
from hiercl.hierarchy.hierarchy import Hierarchy
from hiercl.plot._masks import draw, masks

SETTINGS = {
    "epochs": 2, "batch": 32, "crop": 12, "monitor_every": 0, "precision": "float32", "progress": False, "dim": 16,
}  # fmt: skip
THREE = Hierarchy.from_dict(
    {"animals": {"cats": ["lion", "tiger"], "dogs": ["wolf", "poodle"]}, "vehicles": {"road": ["car", "truck"]}},
    level_names=("kind", "group", "class"),
)


@pytest.fixture(scope="module")
def data():
    return pictures(64)


@pytest.fixture(scope="module")
def runs(data):
    return {name: hiercl.fit(name, data, **SETTINGS) for name in ("g_hmlc", "a_hmlc")}


@pytest.fixture(scope="module")
def planted():
    """Six classes of three levels; of 12 features four tell the kinds apart, four the groups, four the classes."""
    rng = np.random.default_rng(0)
    leaf = np.arange(90) % 6
    dataset = hiercl.HierarchicalDataset(np.zeros((90, 2, 2, 3), dtype=np.uint8), leaf, THREE, "planted")
    parts = [rng.normal(size=(size, 4))[dataset.labels_at(level)] for level, size in enumerate(THREE.sizes)]
    v = torch.from_numpy(np.concatenate(parts, axis=1) + 0.2 * rng.normal(size=(90, 12))).float()
    hard = torch.eye(3).repeat_interleave(4, dim=1)
    return FeatureMasks(v, hard[None], dataset, "dimensions of the projection")


def shares_by_a_loop(v, dataset):
    v, found = v.double().numpy(), []
    for level in range(dataset.hierarchy.levels):
        labels = dataset.labels_at(level)
        within = sum(((v[labels == c] - v[labels == c].mean(axis=0)) ** 2).sum(axis=0) for c in set(labels))
        found.append(1 - within / ((v - v.mean(axis=0)) ** 2).sum(axis=0))
    return np.array([found[0], *(fine - coarse for coarse, fine in itertools.pairwise(found))])


def separation_by_a_loop(v, labels):
    z = F.normalize(v.double(), dim=1).numpy()
    between = sum(
        (labels == c).sum() * ((z[labels == c].mean(axis=0) - z.mean(axis=0)) ** 2).sum() for c in set(labels)
    )
    right = 0
    for i in range(len(z)):
        others = sorted((j for j in range(len(z)) if j != i), key=lambda j: -z[i] @ z[j])[:20]
        votes = {c: sum(math.exp(z[i] @ z[j] / 0.07) for j in others if labels[j] == c) for c in set(labels)}
        right += max(votes, key=votes.get) == labels[i]
    return between / ((z - z.mean(axis=0)) ** 2).sum(), right / len(z)


def bars(axis):
    """Widths of the bars, ``[sets, levels]``, in [0, 1]."""
    return np.array([[bar.get_width() / 100 for bar in part] for part in axis.containers])


@pytest.fixture
def float32(monkeypatch):
    """Features to all digits, also where a processor has bf16."""
    monkeypatch.setattr(sys.modules[FeatureMasks.__module__], "half_precision_is_native", lambda device: False)


def test_hard_masks_are_the_runs_own(runs, data, float32):
    method = runs["g_hmlc"].method
    found = feature_masks(runs["g_hmlc"], data)
    assert method.masked and torch.equal(found.mean, method.masks[0])
    assert np.array_equal(found.level_of, method.masks[0].argmax(dim=0).numpy())
    assert (np.diff(found.level_of[found.order]) >= 0).all(), "sorted by level"
    assert sorted(found.order) == list(range(16))
    share = found.shares[0][found.order][found.level_of[found.order] == 0]
    assert (np.diff(share) <= 0).all(), "within a level by what they separate"
    with torch.no_grad():
        pixels = torch.from_numpy(data.items).permute(0, 3, 1, 2).float() / 255
        seen = method.eval().represent(pixels).embedding
    for level in range(2):
        assert torch.allclose(F.normalize(found.through(level), dim=1), seen[:, level], atol=1e-4)
    figure = masks(runs["g_hmlc"], data)
    assert np.array_equal(figure.axes[0].images[0].get_array(), method.masks[0].numpy()[:, found.order])
    highest = found.shares.max(axis=1, keepdims=True)
    assert np.allclose(figure.axes[1].images[0].get_array(), (found.shares / highest)[:, found.order])
    assert {"group\n(8)", "class\n(8)"} <= set(texts(figure)) and not overlapping(figure)


def test_soft_masks_are_what_the_gate_gives_every_item(runs, data, float32):
    run = runs["a_hmlc"]
    found = feature_masks(run, data)
    with torch.no_grad():
        pixels = torch.from_numpy(data.items).permute(0, 3, 1, 2).float() / 255
        seen = run.method.eval().represent(pixels)
    assert torch.allclose(found.masks, seen.masks, atol=1e-4) and found.masks.std(dim=0).max() > 0
    for level in range(2):
        assert torch.allclose(F.normalize(found.through(level), dim=1), seen.embedding[:, level], atol=1e-4)
    figure = masks(run, data)
    assert np.allclose(figure.axes[0].images[0].get_array(), seen.masks.mean(dim=0).numpy()[:, found.order], atol=1e-4)
    deviation = float(found.masks.std(dim=0, correction=0).mean())
    assert any(f"mean over the items (± {deviation:.2g} between items)" in text for text in texts(figure))
    assert not overlapping(figure)


def test_the_scale_of_a_mask_changes_nothing(planted):
    """Masked features are brought to unit length: twice the mask of a level does not make it the one that is served."""
    soft = 0.2 + 0.6 * planted.masks
    scaled = soft * torch.tensor([1.0, 2.0, 0.5])[None, :, None]
    for weights in (soft, scaled):
        found = FeatureMasks(planted.features, weights, planted.dataset, "")
        assert np.array_equal(found.level_of, np.repeat([0, 1, 2], 4))


def test_a_gate_that_sees_no_input_gives_one_row(data):
    run = hiercl.fit("a_hmlc", data, gate="constant", **SETTINGS)
    found = feature_masks(run, data)
    assert torch.equal(found.masks[0], run.method.gate.logits.detach().sigmoid())
    assert "Masks" in texts(masks(run, data))


def test_masks_of_the_encoders_channels(data):
    run = hiercl.fit("g_hmlc", data, place="backbone", **SETTINGS)
    found = feature_masks(run, data)
    assert torch.allclose(found.features, hiercl.embed(run, data), atol=1e-4)
    assert torch.equal(found.mean, run.method.masks[0])
    assert any("channels of the encoder" in text for text in texts(masks(run, data)))


def test_separation_against_a_loop(planted):
    v, dataset = planted.features, planted.dataset
    keep = torch.arange(12) % 3 > 0
    for kept in (None, keep, keep.numpy()):
        table = mask_separation(v, dataset, kept)
        assert table["level"].tolist() == ["kind", "group", "class"]
        for level in range(3):
            between, knn = separation_by_a_loop(v if kept is None else v[:, keep], dataset.labels_at(level))
            assert table["variance_between"][level] == pytest.approx(between, abs=1e-6)
            assert table["knn"][level] == pytest.approx(knn, abs=1e-9)


def test_shares_against_a_loop(planted):
    v = planted.features.clone()
    v[:, 3] = 7.5  # constant: it separates nothing
    expected = shares_by_a_loop(planted.features, planted.dataset)
    expected[:, 3] = 0
    assert np.allclose(variance_shares(v, planted.dataset), expected, atol=1e-6)
    assert np.allclose(variance_shares(3 * v - 5, planted.dataset), expected, atol=1e-4), "whatever its scale"


def test_right_masks_are_seen_to_be_right(planted):
    """The blocks on the diagonal are the highest of their rows; turned round, they are not."""
    figure = draw(planted, "planted")
    blocks = [text for text in figure.axes[1].texts if text.get_text().endswith("%")]
    means = np.array([float(text.get_text()[:-2]) for text in blocks]).reshape(3, 3)  # [block, level]
    assert (means.argmax(axis=0) == [0, 1, 2]).all()
    assert [text.get_weight() == "bold" for text in blocks] == np.eye(3, dtype=bool).ravel().tolist()
    knn = bars(figure.axes[-1])
    assert knn[1, 2] > 0.9 and knn[1, 2] > knn[2, 2] + 0.2, "classes: their own mask against that of the others"
    wrong = FeatureMasks(planted.features, planted.masks.roll(1, dims=1), planted.dataset, planted.place)
    turned = bars(draw(wrong, "wrong").axes[-1])
    assert turned[1, 2] < turned[2, 2] - 0.2, "the other way round"
    assert not overlapping(figure)


def test_bars_are_the_separations(planted):
    figure = draw(planted, "planted", seed=3)
    v, dataset = planted.features, planted.dataset
    for axis, measure in zip(figure.axes[-2:], ("variance_between", "knn"), strict=True):
        shown = bars(axis)
        for level in range(3):
            own = planted.masks[0, level] > 0
            expected = [mask_separation(v, dataset, keep)[measure][level] for keep in (None, own, ~own)]
            assert np.allclose(shown[:, level], expected)
    control = [
        [mask_separation(planted.through_shuffled(h, 3 + draw), dataset)["knn"][h] for h in range(3)]
        for draw in range(5)
    ]
    marks = figure.axes[-1].collections[1].get_segments()  # after their ranges
    assert np.allclose([segment[0, 0] for segment in marks], 100 * np.mean(control, axis=0))


def test_a_shuffled_mask_has_as_many_features(planted):
    through = planted.through_shuffled(0, seed=1)
    assert (through != 0).any(dim=0).sum() == 4
    assert torch.equal(through, planted.through_shuffled(0, seed=1))
    assert not torch.equal(through, planted.through_shuffled(0, seed=2))


def test_items_without_direction(planted):
    v = planted.features.clone()
    v[:10, :4] = 0
    keep = torch.arange(12) < 4
    table = mask_separation(v, planted.dataset, keep)
    rest = mask_separation(v[10:, :4], planted.dataset.take(np.arange(10, 90)))
    assert np.allclose(table["variance_between"], rest["variance_between"]) and table["knn"].notna().all()
    v[:, :4] = 0
    assert mask_separation(v, planted.dataset, keep)[["variance_between", "knn"]].isna().all(axis=None)
    assert len(draw(FeatureMasks(v, planted.masks, planted.dataset, ""), "no features of level 0").axes)


def test_nothing_overlaps_where_one_level_has_few_features(planted):
    few = torch.zeros(1, 3, 12)
    few[0, 0, 0], few[0, 1, 1:3], few[0, 2, 3:] = 1, 1, 1
    assert not overlapping(draw(FeatureMasks(planted.features, few, planted.dataset, "dimensions"), "few"))


def test_some_items_of_another_data_set(runs, data):
    other = pictures(48, seed=5)
    found = feature_masks(runs["g_hmlc"], other, max_items=20, seed=1)
    whole = feature_masks(runs["g_hmlc"], other)
    chosen = np.sort(np.random.default_rng(1).permutation(48)[:20])
    assert torch.allclose(found.features, whole.features[chosen], atol=1e-5)
    assert np.array_equal(found.dataset.labels, other.labels[chosen])
    assert any("20 pictures of stripes" in text for text in texts(masks(runs["g_hmlc"], other, max_items=20)))


@pytest.mark.parametrize("name", ["g_hmlc", "a_hmlc"])
@pytest.mark.parametrize("training", [True, False])
def test_the_run_stays_as_it_is(name, training, runs, data):
    method = runs[name].method.train(training)
    before = {key: value.clone() for key, value in method.state_dict().items() if isinstance(value, torch.Tensor)}
    random = torch.random.get_rng_state()
    masks(runs[name], data)
    after = method.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert method.training == training and method.encoder.training == training
    assert torch.equal(random, torch.random.get_rng_state())


def test_runs_without_masks_are_errors(runs, data):
    with pytest.raises(ValueError, match=r"supcon has no feature masks: .* g_hmlc and a_hmlc"):
        masks(hiercl.fit("supcon", data, **SETTINGS), data)
    with pytest.warns(UserWarning, match="never begins"):
        early = hiercl.fit("g_hmlc", data, warm_up=1.0, **SETTINGS)
    with pytest.raises(ValueError, match="no masks yet: the warm-up ends before epoch 2"):
        masks(early, data)
    with pytest.raises(ValueError, match="features of its own"):
        masks(hiercl.fit("a_hmlc", data, heads="level", **SETTINGS), data)
    learned = hiercl.fit("a_hmlc", data, source="prototypes", prototypes=(2, 4), warm_up=0.0, **SETTINGS)
    with pytest.raises(ValueError, match="levels of a learned tree"):
        masks(learned, data)


def test_a_pretrained_model_is_an_error(as_a_user, data):
    with pytest.raises(ValueError, match="pretrained 'g_hmlc' has an encoder and a head"):
        masks(hiercl.pretrained("g_hmlc"), data)


def test_other_hierarchies_are_errors(runs, data):
    flat = Hierarchy.from_dict(["a", "b", "c", "d"])
    with pytest.raises(ValueError, match="masks for 2 levels, 'flat' has 1"):
        masks(runs["g_hmlc"], hiercl.HierarchicalDataset(data.items, data.labels, flat, "flat"))
    one = hiercl.HierarchicalDataset(data.items, data.labels, flat, "flat")
    with pytest.raises(ValueError, match="one level has one mask"):
        masks(hiercl.fit("g_hmlc", one, **SETTINGS), one)
    assert masks(runs["g_hmlc"], data.under("b")).axes, "one mask for all fits a part of the classes too"
    with pytest.raises(ValueError, match="max_items=1 of 64"):
        masks(runs["g_hmlc"], data, max_items=1)


def test_wrong_subsets_are_errors(as_a_user, planted):
    v, dataset = planted.features, planted.dataset
    with pytest.raises(ValueError, match=r"features are \[80, 12\]: pass \[90, d\]"):
        mask_separation(v[:80], dataset)
    with pytest.raises(ValueError, match="one row for each item"):
        variance_shares(v[:80], dataset)
    with pytest.raises(ValueError, match="a truth value for each of the 12"):
        mask_separation(v, dataset, torch.ones(11, dtype=torch.bool))
    with pytest.raises(ValueError, match=r"keep is torch\.float32"):
        mask_separation(v, dataset, torch.ones(12))
    with pytest.raises(ValueError, match="keep at least one"):
        mask_separation(v, dataset, torch.zeros(12, dtype=torch.bool))
