"""benchmarks/methods_table.py: valid arms, right verdicts, and nothing is done twice or silently reused."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import hiercl
from hiercl.datasets import shapes

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = ("paired", "methods_arms", "methods_runs", "methods_claims", "methods_selection", "methods_pages")


@pytest.fixture(scope="module")
def scripts():
    """The modules of the benchmark, by name."""
    import importlib

    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield {name: importlib.import_module(name) for name in (*SCRIPTS, "methods_table")}
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def listed(scripts):
    return scripts["methods_arms"].ArmList.load(BENCHMARKS / "methods_arms.json")


# -- paired differences -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift, verdict", [(1.0, "held"), (-1.0, "not held"), (0.0, "undecided")])
def test_the_interval_is_that_of_the_paired_t_test(scripts, shift, verdict):
    rng = np.random.default_rng(0)
    a = rng.normal(30, 2, size=5)
    b = a + shift + rng.normal(0, 0.3, size=5)
    mean, low, high, found = scripts["paired"].difference(a, b, 1)
    expected = stats.ttest_rel(b, a).confidence_interval(0.95)
    assert np.allclose([low, high], [expected.low, expected.high])
    assert mean == pytest.approx((b - a).mean())
    assert found == verdict
    opposite = {"held": "not held", "not held": "held", "undecided": "undecided"}
    assert scripts["paired"].difference(a, b, -1)[3] == opposite[verdict]
    assert scripts["paired"].difference(a, b, 0)[3] == ""


def test_one_pair_and_equal_numbers_decide_nothing(scripts):
    assert scripts["paired"].difference([1.0], [2.0], 1) == (1.0, -np.inf, np.inf, "undecided")
    assert scripts["paired"].difference([1.0, 2.0], [1.0, 2.0], 1) == (0.0, 0.0, 0.0, "")
    assert scripts["paired"].interval_cell(1.0, -np.inf, np.inf, 1) == "+1.0"
    assert scripts["paired"].interval_cell(-1.0, -2.0, 0.5, 1) == "−1.0 [−2.0, +0.5]"
    assert (
        scripts["paired"].mean_cell([1.0, 3.0], 2) == "2.00 ± 1.41" and scripts["paired"].mean_cell([1.0], 2) == "1.00"
    )


# -- claims -----------------------------------------------------------------------------------------------------


def claim_of(scripts, **settings):
    """A claim on the linear accuracy at both levels."""
    module = scripts["methods_claims"]
    numbers = settings.pop("numbers", (module.Compared("linear", -1),))
    return module.Claim("A claim", "a number", (("a", "b"),), numbers, **settings)


def last_row(scripts, claim, numbers, tail=None):
    """The cells of the only pair."""
    table = scripts["methods_claims"].claims_table((claim,), numbers, tail or {}, ("coarse", "fine"))
    return [cell.strip() for cell in table.splitlines()[-1].strip("|").split("|")]


def accuracies(**arms):
    """(arm, seed) to the linear accuracy at the fine level."""
    return {(arm, seed): {("fine", "linear"): value} for arm, row in arms.items() for seed, value in enumerate(row)}


A, B = [10.0, 11, 12, 13, 14], [12.0, 13.1, 13.9, 15, 16]


def test_a_claim_pairs_seeds_and_says_how_many_there_are(scripts):
    numbers = accuracies(a=A, b=B)
    assert last_row(scripts, claim_of(scripts), numbers) == ["b − a", "5 of 5", "+2.00 [+1.91, +2.09] held"]
    del numbers["a", 0], numbers["b", 4]
    _, seeds, cell = last_row(scripts, claim_of(scripts, about=2.0), numbers)
    assert seeds == "3 of 5" and cell.startswith("+2.00 [") and cell.endswith("too few seeds for a verdict")
    assert last_row(scripts, claim_of(scripts), accuracies(a=A)) == ["b − a", "0 of 5", "not run"]
    assert last_row(scripts, claim_of(scripts), accuracies(a=A, b=A)) == ["b − a", "5 of 5", "the same numbers"]


@pytest.mark.parametrize(
    "about, end", [(2.0, "+2 in the interval"), (3.0, "+3 outside: it is below"), (1.0, "+1 outside: it is above")]
)
def test_a_claim_about_a_size_says_whether_the_interval_has_it(scripts, about, end):
    assert last_row(scripts, claim_of(scripts, about=about), accuracies(a=A, b=B))[2].endswith(f"held; {end}")


def test_a_relative_difference_is_in_per_cent_of_the_first_arm(scripts):
    compared = scripts["methods_claims"].Compared("linear", -1, relative=True)
    numbers = accuracies(a=[10.0, 20, 30, 40, 50], b=[10.3, 20.6, 30.9, 41.2, 51.5])
    cell = last_row(scripts, claim_of(scripts, numbers=(compared,)), numbers)[2]
    assert cell == "+3.00 [+3.00, +3.00] held"


def test_a_claim_of_the_long_tail_reads_the_long_tail(scripts):
    claim, numbers = claim_of(scripts, long_tail=True), accuracies(a=A, b=B)
    assert last_row(scripts, claim, numbers)[2] == "not run"
    assert last_row(scripts, claim, {}, numbers)[2].endswith(" held")


# -- the list ---------------------------------------------------------------------------------------------------


def test_every_arm_is_a_configuration_of_its_own(scripts, listed):
    module, train = scripts["methods_arms"], shapes.load(None, per_class=1, test_per_class=1)[0]
    chosen = {arm.chosen_by: {"lr": 1e-3, "temperature": 0.1, "cpu_seconds": 1.0} for arm in listed.arms.values()}
    chosen["csml"]["cpu_seconds"] = 3.0
    complete, seen = listed.with_choices(chosen), {}
    for arm in listed.arms.values():
        found = module.configuration(arm.method, complete.settings(arm, module.Size(), seed=0), train)
        assert seen.setdefault(json.dumps(found), arm.name) == arm.name, "two arms are the same"
    assert complete.settings(complete.arms["moco-equal-compute"], module.Size(epochs=10), seed=0)["epochs"] == 30
    assert {arm.name for arm in listed.representatives()} == set(chosen)


def test_every_claim_stands_on_arms_with_five_seeds(scripts, listed):
    for claim in scripts["methods_claims"].CLAIMS:
        for arm in (listed.arms[name] for pair in claim.pairs for name in pair):
            assert arm.seeds >= 5 and (arm.long_tail or not claim.long_tail)


def test_the_list_is_written_as_it_was_read(listed, scripts, tmp_path):
    from dataclasses import replace

    copy = replace(listed, path=tmp_path / "arms.json")
    copy.save()
    assert scripts["methods_arms"].ArmList.load(copy.path) == copy
    assert json.loads(copy.path.read_text())["arms"] == json.loads(listed.path.read_text())["arms"]


def test_an_arm_without_a_choice_is_an_error_that_says_what_to_do(scripts, listed):
    with pytest.raises(ValueError, match="--steps select"):
        listed.with_choices({}).choice("nobody")
    with pytest.raises(ValueError, match="moco"):
        listed.named(("mooco",))


# -- a small table ----------------------------------------------------------------------------------------------


@pytest.fixture
def small(scripts, monkeypatch, tmp_path):
    """A table of two arms, and of one that cannot be trained, on a few generated pictures."""
    data = shapes.load(None, per_class=10, test_per_class=3)
    monkeypatch.setattr(hiercl, "load", lambda name: data, raising=False)
    arms = {
        "moco": {"title": "MoCo", "method": "moco", "settings": {"queue": 64}, "seeds": 1},
        "supcon": {"title": "SupCon", "method": "supcon", "long_tail": True, "seeds": 1},
        "broken": {"title": "Broken", "method": "moco", "settings": {"queue": -1}, "choice": "moco"},
    }
    grid = {"lr": [1e-3, 2e-3], "temperature": [0.1]}
    content = {"common": {"batch": 64, "monitor_every": 0}, "grid": grid, "chosen": {}, "arms": arms}
    (tmp_path / "arms.json").write_text(json.dumps(content))

    def make(**settings):
        paths = {"results": tmp_path / "results", "out": tmp_path / "runs", "page": tmp_path / "page.md"}
        size = {"data": "shapes", "per_class": 8, "long_tail_per_class": 10, "epochs": 1, "select_epochs": 1}
        common = {"arms_file": tmp_path / "arms.json", "jobs": 1, "seeds": (0,), "imbalance": 4.0}
        return scripts["methods_table"].Table(**common | paths | size | settings)

    return make


def test_from_nothing_to_a_page_and_nothing_twice(scripts, small, tmp_path, capsys):
    main = scripts["methods_table"].main
    assert main(small()) == 1, "the broken arm fails, and the others do not"
    said = capsys.readouterr()
    assert "queue=-1" in said.err
    assert "| `moco` | MoCo | 1 |" not in said.out, "the short table has the arms with five planned seeds alone"
    files = sorted((tmp_path / "results").glob("*/*.json"))
    names = [f"{file.parent.name}/{file.name}" for file in files]
    assert names == [
        "shapes-convnet-10x1-longtail4/supcon-seed0.json",
        "shapes-convnet-8x1/moco-seed0.json",
        "shapes-convnet-8x1/selection.json",
        "shapes-convnet-8x1/supcon-seed0.json",
    ]
    moco, supcon, tail = (json.loads(files[place].read_text()) for place in (1, 3, 0))
    passes = ("query_per_item", "key_per_item", "refresh_per_item")
    assert [moco["cost"][name] for name in passes] == [1, 1, 0]
    assert [supcon["cost"][name] for name in passes] == [2, 0, 0]
    assert moco["cost"]["items_seen"] == 192 and moco["protocol"]["train_items"] == 240  # three batches of 64
    assert tail["protocol"]["train_items"] < 240 and tail["cost"]["items_seen"] < 192
    assert all(file.stat().st_size < 6000 for file in files)
    page = (tmp_path / "page.md").read_text()
    linear = " | ".join(f"{moco['levels'][level]['linear']:.2f}" for level in ("domain", "group", "class"))
    assert f"| `moco` | MoCo | 1 | {linear} |" in page
    assert "| `broken` | Broken | not run |" in page
    chosen = json.loads((tmp_path / "arms.json").read_text())["chosen"]
    rows = json.loads(files[2].read_text())
    for arm in ("moco", "supcon"):
        means = {row["lr"]: row["mean"] for row in rows if row["arm"] == arm}
        assert means[chosen[arm]["lr"]] == max(means.values())

    before = {file: file.stat().st_mtime_ns for file in files}
    main(small())
    assert {file: file.stat().st_mtime_ns for file in files} == before
    assert "linear" not in capsys.readouterr().out.split("training and")[0], "nothing was trained or tried again"


def test_another_configuration_is_said_and_trained_again(scripts, small, tmp_path, capsys):
    main = scripts["methods_table"].main
    only = {"arms": ("moco",), "imbalance": 1.0}
    main(small(**only))
    file = tmp_path / "results" / "shapes-convnet-8x1" / "moco-seed0.json"
    first = json.loads(file.read_text())
    content = json.loads((tmp_path / "arms.json").read_text())
    content["arms"]["moco"]["settings"]["queue"] = 100
    (tmp_path / "arms.json").write_text(json.dumps(content))
    capsys.readouterr()
    main(small(**only, steps=("table",)))
    assert "moco, seed 0: queue: there 64, here 100" in (tmp_path / "page.md").read_text()
    assert json.loads(file.read_text()) == first, "the table alone trains nothing"
    main(small(**only, steps=("train", "table")))
    assert "queue: there 64, here 100): trained again" in capsys.readouterr().out
    second = json.loads(file.read_text())
    assert second["configuration"]["method_settings"]["queue"] == 100 and second["hash"] != first["hash"]
    assert "left out" not in (tmp_path / "page.md").read_text()


def test_a_setting_that_a_result_was_made_before_has_its_default(scripts, listed):
    module, train = scripts["methods_arms"], shapes.load(None, per_class=1, test_per_class=1)[0]
    here = module.configuration("moco", {"queue": 8}, train)
    there = json.loads(json.dumps(here))
    del there["method_settings"]["momentum"], there["fit"]["norm"]
    assert module.differences(there, here) == []
    there["method_settings"]["queue"] = 9
    assert module.differences(there, here) == ["queue: there 9, here 8"]
    there["method"] = "hcsc"
    assert module.differences(there, here) == ["method: there 'hcsc', here 'moco'"]


def test_all_arms_of_a_seed_come_before_the_next(scripts, small, listed):
    table, plan = small(seeds=(3, 4)), scripts["methods_table"].plan
    arms = scripts["methods_arms"].ArmList.load(table.arms_file)
    jobs = [(arm.name, size.imbalance, seed) for arm, size, seed in plan(table, arms)]
    assert jobs == [
        *(("moco", 1.0, 3), ("supcon", 1.0, 3), ("broken", 1.0, 3), ("supcon", 4.0, 3)),
        ("broken", 1.0, 4),  # the others are planned with one seed
    ]


def test_passes_of_a_stopped_and_resumed_run_are_those_of_the_whole(scripts, monkeypatch, tmp_path):
    module, train = scripts["methods_runs"], shapes.load(None, per_class=8, test_per_class=1)[0]
    settings = {"epochs": 3, "batch": 64, "monitor_every": 0, "queue": 64, "prototypes": (4, 8), "warm_up": 0.0}
    _, expected = module.trained("hcsc", settings, train, tmp_path / "whole")
    write, written = module.write_atomically, []

    def stop_at_the_second_epoch(file, content):
        if written:
            raise KeyboardInterrupt
        written.append(file)
        write(file, content)

    monkeypatch.setattr(module, "write_atomically", stop_at_the_second_epoch)
    with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="Interrupted"):
        module.trained("hcsc", settings, train, tmp_path / "stopped")
    monkeypatch.setattr(module, "write_atomically", write)
    run, found = module.trained("hcsc", settings, train, tmp_path / "stopped")
    assert len(run.history) == 3 and found == pytest.approx(expected)
    assert expected["query"] == expected["key"] == 3 * 3 * 64
    assert expected["refresh"] == 3 * len(train)
