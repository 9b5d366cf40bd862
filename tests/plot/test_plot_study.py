"""The picture of a study: one scale on which effects can be told apart."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from hiercl import plot
from hiercl.plot._recorded import column_title

HISTORIES = pd.DataFrame({"variant": ["base"], "seed": [0], "epoch": [0], "loss": [1.0]})


def picture(means, more=()):
    """The picture of five seeds of a base and of variants that are better by these means, and their intervals."""
    noise = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
    runs = {"base": np.full(5, 10.0)} | {f"by {mean}": 10 + mean + noise for mean in means}
    table = pd.DataFrame(
        {"variant": name, "seed": seed, "state": "done", "seconds": 1.0, "linear": value}
        for name, values in runs.items()
        for seed, value in enumerate(values)
    )
    whole = {"metric": "linear", "level": "", "mean": 10.0, "difference": np.nan}
    rows = [{"variant": name, **whole} for name in runs]
    for row, mean in zip(rows[1:], means, strict=True):
        row |= {"difference": mean, "low": mean - 0.2, "high": mean + 0.2, "verdict": "better" if mean > 0.2 else ""}
    summary, baselines = pd.DataFrame([*rows, *more]), dict.fromkeys(list(runs)[1:], "base")
    return plot.study(summary, table, HISTORIES, "linear", baselines)


def drawn(means):
    """The panel of the effects."""
    return picture(means).axes[0]


def border(axis):
    return {line.get_marker(): line.get_ydata()[0] for line in axis.lines if line.get_marker() in ("<", ">")}


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_effects_of_one_size_share_a_scale():
    axis = drawn([0.5, -0.3, 1.0])
    assert not border(axis) and not axis.texts
    low, high = axis.get_xlim()
    assert low < -0.5 and high > 1.2


def test_an_effect_far_beyond_the_others_stands_at_the_border_with_its_numbers():
    axis = drawn([0.5, -12.0, 0.3, 0.4, 9.0])
    assert border(axis) == {"<": 3, ">": 0}, "rows from below"
    assert [text.get_text() for text in axis.texts] == ["+9.00 [+8.80, +9.20]", "−12.00 [−12.20, −11.80]"]
    low, high = axis.get_xlim()
    assert -1 < low < 0.1 and 0.7 < high < 1, "the scale is that of the others"


def test_of_two_effects_both_are_on_the_scale():
    low, high = drawn([0.5, -12.0]).get_xlim()
    assert low < -12 and high > 0.7


def test_more_than_twelve_variants_have_no_curves():
    assert len(picture([0.1 * place for place in range(1, 12)]).axes) == 3, "effects, curves, times"
    assert len(picture([0.1 * place for place in range(1, 13)]).axes) == 1


def test_a_level_without_the_metric_has_no_panel():
    empty = {"variant": "base", "metric": "linear", "level": "coarse", "mean": np.nan, "difference": np.nan}
    assert len(picture([0.5, 0.3], [empty]).axes) == 3
    with pytest.raises(ValueError, match="nothing to show of 'linear'"):
        plot.study(pd.DataFrame([empty]), FAMILIES.assign(state="done"), HISTORIES, "linear")


FAMILIES = pd.DataFrame(
    {"variant": name, "seed": seed, "knn class": x + 0.1 * seed, "ami": y, "method": "hmc"}
    for name, x, y in [("HMC, weight 1", 50.0, 80.0), ("HMC, weight 2", 48.0, 90.0), ("SupCon", 52.0, 60.0)]
    for seed in range(3)
)


def test_a_front_has_a_line_through_the_means_of_each_family_in_its_order():
    families = {"HMC": ["HMC, weight 2", "HMC, weight 1"], "SupCon": ["SupCon"]}
    axis = plot.front(FAMILIES, "knn class", "ami", families).axes[0]
    lines = [container[0].get_xydata() for container in axis.containers]
    assert np.allclose(lines[0], [[48.1, 90.0], [50.1, 80.0]]) and np.allclose(lines[1], [[52.1, 60.0]])
    assert [text.get_text() for text in axis.texts] == ["weight 2", "weight 1", ""]
    half = axis.containers[0][2][0].get_segments()[0][:, 0]
    assert np.ptp(half) == pytest.approx(2 * 4.3027 * 0.1 / np.sqrt(3), rel=1e-4), (
        "Student's t with 2 degrees of freedom"
    )


def test_brackets_have_every_seed_the_mean_and_ones_own_run():
    rows = {"control": "SupCon", "idea": "HMC, weight 1"}
    axis = plot.brackets(FAMILIES, rows, ["knn class"], own={"idea": {"knn class": 61.5}}).axes[0]
    for place, variant in enumerate(rows.values()):
        seeds = FAMILIES.loc[FAMILIES["variant"] == variant, "knn class"]
        dots = [c.get_offsets() for c in axis.collections if len(c.get_offsets()) == len(seeds) > 1]
        assert any(sorted(own[:, 0]) == sorted(seeds) and set(own[:, 1]) == {place} for own in dots)
        assert any(line.get_xdata()[0] == pytest.approx(seeds.mean()) for line in axis.lines)
    assert any(c.get_offsets().tolist() == [[61.5, 1.0]] for c in axis.collections)
    assert [text.get_text() for text in axis.get_yticklabels()] == list(rows)


@pytest.mark.parametrize(
    "column, title",
    [
        ("knn class", "kNN, class"),
        ("dendrogram_purity super_class", "dendrogram purity, super class"),
        ("uniformity", "uniformity"),
        ("outside, of all", "outside, of all"),
    ],
)
def test_a_column_is_called_by_its_metric_and_level(column, title):
    assert column_title(column) == title


REGIMES = {"small": {"none": "SupCon", "idea": "HMC, weight 1", "oracle": "HMC, weight 2"}}


def test_regimes_have_the_gain_over_the_first_arm_with_students_interval():
    noisy = FAMILIES.assign(
        **{"knn class": FAMILIES["knn class"] + (FAMILIES["variant"] == "SupCon") * FAMILIES["seed"]}
    )
    axis = plot.regimes(noisy, REGIMES | {"large": REGIMES["small"]}, ["knn class"], xlabel="classes").axes[0]
    lines = [container[0].get_xydata() for container in axis.containers]
    assert np.allclose([line[:, 1] for line in lines], [[-3, -3], [-5, -5]])  # -2 and -4, less the mean of 0, 1, 2
    assert (lines[0][:, 0] < lines[1][:, 0]).all(), "arms stand beside each other"
    assert np.allclose(np.mean([line[:, 0] for line in lines], axis=0), [0, 1]), "around their regime"
    bar = axis.containers[0][2][0].get_segments()[0][:, 1]
    assert np.ptp(bar) == pytest.approx(2 * 4.3027 / np.sqrt(3), rel=1e-4)
    assert [text.get_text() for text in axis.get_xticklabels()] == ["small", "large"]


def test_no_arm_of_a_regime_is_left_out():
    many = {f"arm {number}": "SupCon" for number in range(14)}
    axis = plot.regimes(FAMILIES, {"one": many}, ["knn class"]).axes[0]
    assert [container.get_label() for container in axis.containers] == list(many)[1:]


@pytest.mark.parametrize(
    "variants, columns, said",
    [
        ({}, ["knn class"], "at least one regime"),
        ({"a": {"none": "SupCon"}}, ["knn class"], "at least two arms"),
        (REGIMES | {"b": {"none": "SupCon", "other": "SupCon", "oracle": "SupCon"}}, ["knn class"], "regime 'b' has"),
        (REGIMES, ["knn"], "Unknown column"),
        ({"a": {"none": "SupCon", "idea": "Supcon"}}, ["knn class"], "Unknown variant"),
    ],
)
def test_regimes_of_what_there_is_not_are_an_error(variants, columns, said):
    with pytest.raises(ValueError, match=said):
        plot.regimes(FAMILIES, variants, columns)


@pytest.mark.parametrize(
    "rows, columns, own, said",
    [
        ({}, ["knn class"], None, "at least one variant"),
        ({"a": "SupCon"}, ["knn"], None, "Unknown column"),
        ({"a": "Supcon"}, ["knn class"], None, "Unknown variant"),
        ({"a": "SupCon"}, ["knn class"], {"b": {}}, "Unknown row"),
    ],
)
def test_brackets_of_what_there_is_not_are_an_error(rows, columns, own, said):
    with pytest.raises(ValueError, match=said):
        plot.brackets(FAMILIES, rows, columns, own)


def test_a_front_of_unknown_columns_or_variants_is_an_error():
    with pytest.raises(ValueError, match="ami, knn class"):
        plot.front(FAMILIES, "knn", "ami", {"SupCon": ["SupCon"]})
    with pytest.raises(ValueError, match="column 'method'"):
        plot.front(FAMILIES, "method", "ami", {"SupCon": ["SupCon"]})
    with pytest.raises(ValueError, match=r"variant with a finished run 'Supcon'.*SupCon"):
        plot.front(FAMILIES, "knn class", "ami", {"SupCon": ["Supcon"]})
