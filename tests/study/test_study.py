"""Tests of studies: variants, hashes, shared runs, runs that fail, are killed or busy, and honest effects."""

import json
import re
import subprocess
import sys
import textwrap
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_1samp
from support.data import clouds, pictures
from support.studies import BASE, make

import hiercl
from hiercl.datasets import HierarchicalDataset
from hiercl.study import Study, bootstrap_interval, effect, page, ready_names, t_interval, variants
from hiercl.study import running as R
from hiercl.study.configurations import DataConfig, DataFacts, RunData, canonical, configuration
from hiercl.study.effects import _resamples

TIMES = ["seconds", "cpu_seconds", "judging_seconds"]


@pytest.fixture(scope="module")
def data():
    return pictures(64), pictures(40, seed=1)


@pytest.fixture(scope="module")
def done(tmp_path_factory, data):
    """A finished study of two runs."""
    return make(tmp_path_factory.mktemp("done"), seeds=1).run(*data, progress=False)


def timeless(table):
    return table.drop(columns=TIMES, errors="ignore")


def made(settings, data, seed=0):
    """The configuration of settings on these data sets."""
    return configuration(canonical(settings), seed, lambda config: RunData.of(config, data).facts)


# -- variants and configurations --------------------------------------------------------------------------------


def test_a_grid_a_list_and_one_factor_at_a_time():
    vary = {"queue": [40, 80], "temperature": [0.1, 0.2]}
    assert list(variants(BASE, vary).values()) == [
        canonical(BASE | {"queue": q, "temperature": t}) for q in (40, 80) for t in (0.1, 0.2)
    ]
    single = variants(BASE, vary, one_at_a_time=True)
    assert list(single) == ["base", "queue=80", "temperature=0.1", "temperature=0.2"]  # queue=40 is the base
    assert single["queue=80"] == canonical(BASE | {"queue": 80})
    named = variants(BASE, {"small": {"method.queue": 8}, "SimCLR": {"method": "simclr"}})
    assert list(named) == ["small", "SimCLR"] and named["small"]["method.queue"] == 8
    assert "method.queue" not in named["SimCLR"], "a setting of the base's method alone"
    assert list(variants(BASE, [{}, {"queue": 8}])) == ["base", "queue=8"]
    assert list(variants({"method": "hcsc"}, {"prototypes": [(2, 4), (2,)]})) == ["prototypes=2-4", "prototypes=2"]


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({}, "nothing to vary"),
        ([], "nothing to vary"),
        ({"queue": 8}, "vary 'queue': give a list"),
        ({"queue": []}, "vary 'queue': give a list of its values, at least one"),
        ({"select": "none"}, "vary 'select': give a list"),
        ([{"queue": 8}, {"queue": 8}], "two variants are 'queue=8'"),
        ([{"queue": 8, "method.queue": 9}], "method.queue is given twice"),
    ],
)
def test_what_cannot_be_varied(vary, message):
    with pytest.raises(ValueError, match=message):
        variants(BASE, vary)
    with pytest.raises(ValueError, match="these are variants already"):
        variants(BASE, [{"queue": 8}], one_at_a_time=True)


def test_settings_have_one_name_each():
    settings = {"method": "moco", "data": "cifar100", "per_class": np.int64(5), "lr": 0.1, "crop": 16, "queue": 8}
    dotted = {"method.name": "moco", "data.name": "cifar100", "data.per_class": 5, "fit.lr": 0.1, "views.crop": 16}
    assert canonical(settings | {"knn_k": 3}) == dotted | {"method.queue": 8, "judged.knn_k": 3}
    assert canonical(dotted | {"method.queue": 8}) == dotted | {"method.queue": 8}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quee": 8}, "Unknown setting of moco 'quee'. Did you mean 'queue'"),
        ({"fit.queue": 8}, "Unknown setting of moco 'fit.queue'"),
        ({"optim.lr": 8}, "Unknown group of settings 'optim'.*Known: data, fit, judged, method, views"),
        ({"seed": 3}, "Unknown setting of moco 'seed'"),
        ({"prototypes": (2, 4)}, "Unknown setting of moco 'prototypes'"),
        ({"method": "mocco"}, "Unknown method 'mocco'"),
        ({"method": 5}, "method=5: give the name of a method"),
        ({"queue": "long"}, "queue='long'"),
        ({"per_class": 0}, "per_class=0"),
        ({"imbalance": 0.5}, "imbalance=0.5"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_trained(tmp_path, data, change, message):
    with pytest.raises(ValueError, match=rf"(?s)variant 'wrong': {message}"):
        make(tmp_path, {"good": {}, "wrong": change}).run(*data)
    assert not (tmp_path / "runs").exists()


def test_another_grid_is_another_study(tmp_path):
    lr, temperature = (make(tmp_path, grid=grid) for grid in ({"lr": [0.1]}, {"temperature": [0.1]}))
    assert lr.name != temperature.name
    make(tmp_path, name="mine", grid={"lr": [0.1]}).save()
    make(tmp_path, name="mine", grid={"lr": [0.1, 0.2]}).save()
    with pytest.raises(FileExistsError, match="another study of this name"):
        make(tmp_path, name="mine", grid={"queue": [16]}).save()


def test_no_method_no_seeds_no_such_baseline(tmp_path):
    with pytest.raises(ValueError, match="method=None: give the name of a method in base"):
        Study({}, {"queue": [8]}, out=tmp_path)
    for seeds in (0, (), (1, 1), (-1,)):
        with pytest.raises(ValueError, match="seeds="):
            make(tmp_path, seeds=seeds)
    with pytest.raises(ValueError, match=r"baseline 'mocko' is not a variant; they are 'temperature=0.1', 'temp"):
        make(tmp_path, baseline="mocko")
    with pytest.raises(ValueError, match="without folders"):
        make(tmp_path, name="a/b")


def test_the_same_configuration_twice_is_no_comparison(tmp_path, data):
    study = make(tmp_path, {"a": {}, "b": {"momentum": 0.99}}).of(*data)  # a default, written out
    with pytest.raises(ValueError, match="variants 'a' and 'b' are the same configuration"):
        study.run()


def test_the_hash_is_of_everything_that_matters(data):
    first = made(BASE, data)
    for same in ({"momentum": 0.99}, {"device": "cpu", "workers": 3}, {"encoder": "whitenet"}, {"subset_seed": 7}):
        assert first.training_hash == made(BASE | same, data).training_hash
    others = [made(BASE | change, data) for change in ({"lr": 1e-4}, {"crop": 10}, {"per_class": 9})]
    others += [made(BASE, data, seed=1), made(BASE, (pictures(64, seed=5), data[1]))]
    others.append(made(BASE | {"shuffled": True}, data))
    assert len({one.training_hash for one in (first, *others)}) == 1 + len(others)
    others = [made(BASE | change, data) for change in ({"knn_k": 3}, {"sample": 9})]
    for judged in (*others, made(BASE, (data[0], pictures(40, seed=9)))):
        assert judged.training_hash == first.training_hash and judged.report_hash != first.report_hash


OLD = {"encoder": "convnet", "optimiser": "adamw"}  # the defaults of the first version
SHORT = OLD | {"data": "cifar100", "per_class": 100, "epochs": 10, "batch": 256, "monitor_every": 5}
HCSC = Study(
    SHORT | {"method": "hcsc", "prototypes": [20, 100, 300], "warm_up": 0.3},
    {"all of these": {"removed": "zeroed", "reduce": "sum", "scale": "official", "restarts": 5}},
)
MIXTURE = Study(SHORT | {"method": "g_hmlc", "temperature": 0.2}, {"soft": {"soft": True, "descriptor": "contrast"}})
# Hashes that this version and the first one (commit 198604e) both make: the folders of old runs are found.
HASHES = [
    ("csml-parts", "CsMl", "0bfb8bdeb309e91e", "afe72e6cacc1eab3"),
    ("cifar100", "untrained", "cba3b3d6eb367a46", "afe72e6cacc1eab3"),
    ("label-free", "G-HMLC on prototypes", "ad8c791b34c0b80f", "afe72e6cacc1eab3"),
    ("modelnet10", "A-HMLC", "c4a80e73679cdd5b", "afe72e6cacc1eab3"),
    ("few-labels", "HCSC", "3d2feda6e169b396", "ba3d0d0717be55b5"),
    ("transfer", "SupCon", "2a0d57fe7132782c", "7eb2cb7d1ed059c1"),
    (HCSC, "all of these", "888fb1ea64a0b9b1", "afe72e6cacc1eab3"),
    (MIXTURE, "soft", "5c6edcbe91cb486c", "afe72e6cacc1eab3"),
]


@pytest.mark.parametrize(("study", "variant", "training", "report"), HASHES)
def test_folders_keep_their_names(study, variant, training, report):
    def facts(data):
        bank = None if data.judged_on in ("test", "held out") else "bank"
        return DataFacts("points" if "modelnet" in data.name else "images", (1000, 32, 32, 3), "train", bank, "test")

    study = Study.ready(study) if isinstance(study, str) else study
    made = configuration(study.variants[variant], 3, facts)
    assert (made.training_hash, made.report_hash) == (training, report)


def test_functions_are_told_apart_by_what_they_do(data):
    def rule(scale):
        return lambda posterior, power=scale: 1 - posterior**power

    hashes = [
        made({"method": "hcsc", "select": select}, data).training_hash
        for select in (
            rule(1),
            rule(2),
            lambda posterior: 1 - posterior,
            lambda posterior: (lambda p: 1 - 2 * p)(posterior),
        )
    ]
    assert len(set(hashes)) == 4 and hashes[0] == made({"method": "hcsc", "select": rule(1)}, data).training_hash
    with pytest.raises(ValueError, match=r"select=.* cannot be told from other functions: give a plain"):
        made({"method": "hcsc", "select": np.square}, data)


def test_what_is_drawn_can_follow_the_seed(data):
    settings = BASE | {"per_class": 4}
    facts = [
        [made(settings | extra, data, seed).facts.train for seed in (0, 1)] for extra in ({}, {"subset_seed": None})
    ]
    assert facts[0][0] == facts[0][1] == facts[1][0] != facts[1][1]


# -- runs -------------------------------------------------------------------------------------------------------


def test_from_nothing_to_a_summary_and_nothing_twice(tmp_path, data, monkeypatch):
    study = make(tmp_path, seeds=2).run(*data, progress=False)
    table = study.table()
    assert (table["state"] == "done").all() and len(table) == 4
    assert {"variant", "temperature", "seed", "linear class", "ami group", "uniformity", *TIMES} <= set(table)
    run = hiercl.fit(
        "moco", data[0], seed=1, progress=False, **{k: v for k, v in BASE.items() if k != "method"}, temperature=0.2
    )
    row = table[(table["variant"] == "temperature=0.2") & (table["seed"] == 1)].iloc[0]
    assert row["linear class"] == hiercl.evaluate(run, *data).rows[1]["linear"]
    summary = study.summary("linear")
    assert summary["level"].unique().tolist() == ["group", "class"]
    assert summary["verdict"].dropna().unique().tolist() == ["too few seeds (2 of 5)"]

    monkeypatch.setattr(R, "fit", None)  # nothing may be trained any more
    again = make(tmp_path).run(*data, progress=False).table()
    pd.testing.assert_frame_equal(again, table)
    with pytest.raises(ValueError, match=r"Unknown metric 'liner'. Did you mean 'linear'"):
        study.summary("liner")


def test_other_test_items_are_not_judged_by_the_features_of_the_first(tmp_path, data):
    others = pictures(40, seed=9)
    make(tmp_path, [{}], seeds=1).run(*data, progress=False)
    study = Study(BASE, [{}], 1, "others", tmp_path).run(data[0], others, progress=False)
    member = study.members()[0]
    run, report = member.place.load()
    assert pd.DataFrame(report.rows).equals(pd.DataFrame(hiercl.evaluate(run, data[0], others).rows))
    np.testing.assert_array_equal(member.place.test_features(), hiercl.embed(run, others).numpy())
    assert len(list((tmp_path / "runs").glob("*/run"))) == 1


def test_levels_may_have_spaces_in_their_names(tmp_path, data):
    named = [replace(part, hierarchy=replace(part.hierarchy, level_names=("level 0", "level 1"))) for part in data]
    study = make(tmp_path, seeds=1, metrics=("linear", "mistake_height")).run(*named, progress=False)
    summary = study.summary()
    assert {"level 0", "level 1"} <= set(summary["level"]) and "mistake_height level 1" in study.table()
    study.plot()
    assert "<th>level 0</th>" in study.report().read_text()


def test_data_without_labels_have_a_page_too(tmp_path, data):
    from hiercl.hierarchy.hierarchy import Hierarchy

    one = Hierarchy.from_dict(["unlabelled"])
    plain = [replace(part, labels=np.zeros(len(part), np.int64), hierarchy=one) for part in data]
    study = make(tmp_path, seeds=1, metrics=("linear", "uniformity"), grid={"lr": [0.01]}).run(*plain, progress=False)
    assert study.best()["uniformity"].notna().all() and "Best points" in study.report(tmp_path / "grid.md").read_text()
    page = study.report(tmp_path / "grid.html").read_text()
    assert "<h2>Best points</h2>" in page and "data:image" not in page, "its points are too many for pictures"
    with pytest.raises(ValueError, match=r"tries fit\.lr at every point of its grid"):
        study.changed(lr=0.1)
    with pytest.raises(ValueError, match="uses data sets of your own"):
        study.changed(data="cifar100")
    study = make(tmp_path, seeds=1, metrics=("linear", "uniformity")).run(*plain, progress=False)
    assert study.summary()["metric"].unique().tolist() == ["uniformity"]
    with pytest.raises(ValueError, match="Unknown metric 'linear'"):
        study.summary("linear")
    assert study.plot().axes[0].get_title(loc="left").startswith("uniformity")
    assert "uniformity" in study.report().read_text()
    assert "![Effects on uniformity" in study.report(tmp_path / "page.md").read_text()


def test_each_variant_can_have_a_baseline_of_its_own(tmp_path, data):
    pairs = {"temperature=0.5": "temperature=0.2", "temperature=0.2": "temperature=0.1"}
    study = make(tmp_path, {"temperature": [0.1, 0.2, 0.5]}, seeds=1, baseline=pairs).run(*data, progress=False)
    summary = study.summary("linear").set_index(["variant", "level"])
    means = summary["mean"]
    assert pd.isna(summary["difference"]["temperature=0.1", "class"])
    for variant, base in pairs.items():
        assert summary["difference"][variant, "class"] == means[variant, "class"] - means[base, "class"]
    other = study.summary("linear", against="temperature=0.1").set_index(["variant", "level"])["difference"]
    assert other["temperature=0.5", "class"] == means["temperature=0.5", "class"] - means["temperature=0.1", "class"]
    assert (
        study.plot("linear", against="temperature=0.1").axes[0].get_title(loc="left").startswith("linear group\ntemp")
    )
    with pytest.raises(ValueError, match="'SupCon' is not a variant"):
        study.summary("linear", against="SupCon")
    assert "<td>temperature=0.5</td>\n      <td>temperature=0.2</td>" in study.report().read_text()
    assert [t.get_text() for t in study.plot("linear").axes[0].get_yticklabels()] == [
        "temperature=0.5\nless temperature=0.2",
        "temperature=0.2\nless temperature=0.1",
    ]


def test_data_are_named_or_given_not_both(tmp_path, data):
    with pytest.raises(ValueError, match="'data=shapes' names its data: leave out data="):
        make(tmp_path, [{"data": "shapes"}]).of(*data)


def test_other_data_on_another_machine_are_an_error(tmp_path, data):
    made_for = make(tmp_path, [{}], seeds=1).of(*data).members()[0]
    assert R.make_run(made_for.configuration, tmp_path / "runs", (pictures(64, seed=8), data[1])) == "failed"
    assert "are not the data that the study was made for" in made_for.place.why


def test_studies_that_overlap_train_nothing_twice(tmp_path, data, monkeypatch):
    trained = []
    fit = R.fit
    monkeypatch.setattr(R, "fit", lambda *a, **k: (trained.append(k["temperature"]), fit(*a, **k))[1])
    make(tmp_path, seeds=1).run(*data, progress=False)
    other = make(tmp_path, {"temperature": [0.2, 0.5]}, seeds=1).run(*data, progress=False)
    assert trained == [0.1, 0.2, 0.5] and (other.table()["state"] == "done").all()
    make(tmp_path, [{"temperature": 0.1, "knn_k": 3}], seeds=1).run(*data, progress=False)  # judged anew
    assert len(list((tmp_path / "runs").glob("*/report-*"))) == 4
    assert len(list((tmp_path / "runs").glob("*/run/checkpoint.pt"))) == 3


def test_a_broken_variant_does_not_stop_the_others(tmp_path, data, monkeypatch, capsys):
    fit = R.fit

    def broken(*arguments, **settings):
        if settings["temperature"] == 0.2:
            raise RuntimeError("the disk is full")
        return fit(*arguments, **settings)

    with monkeypatch.context() as patch:
        patch.setattr(R, "fit", broken)
        study = make(tmp_path, {"temperature": [0.1, 0.2, 0.5]}, seeds=1).run(*data, progress=False)
    assert "temperature=0.2, seed 0: RuntimeError: the disk is full" in capsys.readouterr().out
    table = study.table()
    assert table["state"].tolist() == ["done", "failed", "done"] and "disk" in table["error"][1]
    assert study.run(*data, progress=False).table()["state"].tolist() == ["done"] * 3, "what failed is tried again"


def test_stopped_after_an_epoch_it_goes_on(tmp_path, data):
    def stop(run):
        raise KeyboardInterrupt

    study = make(tmp_path, [{"epochs": 2}], seeds=1)
    with pytest.warns(UserWarning, match="Interrupted"):
        study.run(*data, progress=False, after_epoch=stop)
    assert study.table()["state"].tolist() == ["stopped"] and len(study.histories()) == 1
    study.run(*data, progress=False)
    whole = make(tmp_path / "whole", [{"epochs": 2}], seeds=1).run(*data, progress=False)
    pd.testing.assert_frame_equal(timeless(study.table()), timeless(whole.table()))


SCRIPT = """
    import glob, os, random, signal, sys, time
    import torch
    torch.set_num_threads(1)
    sys.path.insert(0, {tests!r})
    from support.data import pictures
    from support.studies import make
    data, out = (pictures(64), pictures(40, seed=1)), {out!r}

    def child():
        pid = os.fork()
        if pid == 0:
            try:
                make(out, {{"temperature": [0.1, 0.2], "epochs": [2]}}, seeds=1).run(*data, progress=False)
            finally:
                os._exit(0)
        return pid

    def inside():
        begun, ended = (len(glob.glob(out + "/runs/*" + end)) for end in ("/run/config.json", "/report-*"))
        return begun > ended

    random.seed(3)
    for number in range(4):
        pid, moment = child(), random.uniform(0, 0.3)
        if number % 2:  # every other one is killed as soon as a run has begun, or a little later
            while not inside() and os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                time.sleep(0.005)
        time.sleep(moment)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        print("inside" if inside() else "between")
    for pid in [child() for _ in range(2)]:
        os.waitpid(pid, 0)
"""


def test_killed_at_random_moments_and_ended_by_two_at_once(tmp_path, data):
    script = SCRIPT.format(tests=str(Path(__file__).parent.parent), out=str(tmp_path / "study"))
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=300, capture_output=True, text=True
    )
    assert "inside" in said.stdout.split(), "at least one kill was in the middle of a run"
    vary = {"temperature": [0.1, 0.2], "epochs": [2]}
    ended = make(tmp_path / "study", vary, seeds=1).of(*data)
    assert not ended.missing()
    never_killed = make(tmp_path / "whole", vary, seeds=1).run(*data, progress=False)
    pd.testing.assert_frame_equal(timeless(ended.table()), timeless(never_killed.table()))
    losses = [study.histories().set_index(["variant", "epoch"])["loss"] for study in (ended, never_killed)]
    pd.testing.assert_series_equal(*losses)


def test_a_run_that_another_process_makes_is_left_or_waited_for(tmp_path, data):
    from filelock import FileLock

    member = make(tmp_path, seeds=1).of(*data).members()[0]
    (tmp_path / "runs").mkdir()
    with FileLock(tmp_path / "runs" / f"{member.place.folder.name}.lock"):
        assert R.make_run(member.configuration, tmp_path / "runs", data, wait=False) == "busy"
    assert R.make_run(member.configuration, tmp_path / "runs", data, wait=False) == "done"


def test_several_at_a_time(tmp_path, data, done):
    together = make(tmp_path, seeds=1).run(*data, n_jobs=2, progress=False)
    pd.testing.assert_frame_equal(timeless(together.table()), timeless(done.table()))


def test_on_a_cluster(tmp_path, data, done):
    """A Dask cluster of one worker process on this machine, as joblib's backend."""
    import joblib
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        with joblib.parallel_config(backend="dask"):
            made = make(tmp_path, seeds=1).run(*data, n_jobs=-1, progress=False)
    pd.testing.assert_frame_equal(timeless(made.table()), timeless(done.table()))


def test_a_dry_run_trains_nothing_and_says_how_long(tmp_path, data, capsys):
    study = make(tmp_path, seeds=2)
    study.run(*data, dry=True)
    said = capsys.readouterr().out
    assert (
        said.startswith("4 of 4 runs would be made, about ")
        and "(2 kinds of run measured by a short trial; without" in said
    )
    assert not (tmp_path / "runs").exists()
    study.run(*data, progress=False)
    capsys.readouterr()
    study.run(*data, dry=True)
    assert capsys.readouterr().out == "0 of 4 runs would be made, about 0 s one after another.\n"
    longer = make(tmp_path, {"temperature": [0.1], "epochs": [10]}, seeds=1).of(*data).estimate()
    done = study.table().query("temperature == 0.1")["seconds"].median()
    assert longer.tried == 0 and 5 * done < longer.total


def test_shuffled_labels_are_for_training_alone(data):
    settings, (train, _) = {**BASE, "shuffled_labels": 0.5}, data
    found = RunData.of(DataConfig(name="x", shuffled_labels=0.5), data)
    assert (found.bank.labels == train.labels).all()
    assert 0.1 < np.mean(found.train.labels != train.labels) <= 0.5
    assert made(settings, data).training_hash != made(BASE, data).training_hash


def test_a_shuffled_hierarchy_is_for_training_alone(tmp_path, data):
    base = {name: value for name, value in BASE.items() if name != "queue"} | {"method": "hmc", "epochs": 0}
    study = Study(base, [{}, {"shuffled": True}], 1, out=tmp_path)
    table = study.run(*data, progress=False).table()
    assert table["linear group"][0] == table["linear group"][1]  # untrained: the same weights, the same judge
    hierarchies = [
        json.loads((tmp_path / "runs" / run / "run" / "config.json").read_text())["hierarchy"] for run in table["run"]
    ]
    assert hierarchies[0] != hierarchies[1]


def test_saved_and_loaded(tmp_path, data):
    study = make(tmp_path, {"a": {}, "b": {"queue": 20}}, seeds=1, name="mine", baseline="b", question="Why?").of(*data)
    again = Study.load(study.save())
    assert again.variants == study.variants and again.seeds == (0,) and again.question == "Why?"
    assert again.baselines == {"a": "b"}
    with pytest.raises(ValueError, match="data sets of your own: give them again"):
        again.run()
    with pytest.raises(ValueError, match="other data sets than these"):
        again.of(pictures(64, seed=3), data[1])
    with pytest.raises(FileExistsError, match="another study of this name"):
        make(tmp_path, {"a": {"queue": 30}}, name="mine").save()
    hashes = [[m.configuration.training_hash for m in s.of(*data).members()] for s in (study, again)]
    assert hashes[0] == hashes[1]
    with pytest.raises(FileNotFoundError):
        Study.load(tmp_path / "nothing.json")


def test_the_page_and_the_plot(tmp_path, data):
    study = make(tmp_path, {"plain": {}, "<b>τ</b> & more": {"temperature": 0.5}}, seeds=2, question="What of τ?")
    with pytest.raises(ValueError, match="is done yet: call run"):
        study.of(*data).report()
    study.run(*data, progress=False)
    page = study.report().read_text()
    assert "What of τ?" in page and "&lt;b&gt;τ&lt;/b&gt; &amp; more" in page and "<b>τ</b>" not in page
    assert page.count("data:image/png;base64,") == 4
    assert '"temperature": 0.5' in page.replace("&quot;", '"') and "whitenet, 1 epochs, batch 32" in page
    assert not set(re.findall(r"(?:src|href)=['\"]?(\w+)", page)) - {"data"}, "self-contained"
    assert len(pd.read_csv(tmp_path / f"{study.name}.csv")) == 4
    environment = study.members()[0].place.load()[1].protocol["environment"]
    commit = (environment["git_commit"] or "unknown")[:10]
    text = study.report(tmp_path / "page.md").read_text()
    assert f"trained by {commit}" in text and f"judged by {commit}" in text
    assert text.startswith(f"# {study.name}\n\nWhat of τ?") and "| &lt;b&gt;τ&lt;/b&gt; &amp; more | plain | " in text
    assert "queue=40" in text.split("All of them: ")[1].splitlines()[0] and "![Effects on linear" in text
    assert "more | method.temperature=0.5 |" in text and "<b>" not in text
    assert (tmp_path / "page.png").stat().st_size > 10_000
    assert "too few seeds (2 of 5)" in text and "by chance" not in text
    number = study.summary("linear").iloc[0]
    assert f"| plain |  | {number['mean']:.2f} ± {number['std']:.2f} (2) |" in text
    with pytest.raises(ValueError, match=r"page.txt: a page is .html or .md"):
        study.report(tmp_path / "page.txt")
    figure = study.plot("knn")
    mean = study.table().query("variant == 'plain'")["knn group"].mean()
    assert figure.axes[0].get_title(loc="left") == f"knn group\nplain: {mean:.2f}"
    with pytest.raises(ValueError, match="Unknown metric 'colour'"):
        study.plot("colour")


def test_few_labels_are_numbers_and_their_way_is_said(tmp_path, data):
    few = {"label_fractions": [0.5], "label_draws": 1, "sample": 7}
    study = make(tmp_path, {"few": few, "all": {}}, seeds=1, metrics=("linear", "50 % labels linear"))
    text = study.run(*data, progress=False).report(tmp_path / "page.md").read_text()
    assert "; few labels: 1 draws of each share, a frozen probe" in text and "### 50 % labels linear (%)" in text
    assert "7 test items compared with all" in text
    mean = study.summary("50 % labels linear").set_index("variant")["mean"]
    assert 0 < mean["few"].max() <= 100 and mean["all"].isna().all()


def vectors(data):
    """Both parts as vectors of random numbers."""
    rng = np.random.default_rng(0)
    parts = [(rng.normal(size=(len(part.labels), 3, 8)), part.labels, part.hierarchy) for part in data]
    return [HierarchicalDataset.from_features(*part) for part in parts]


def test_every_ready_made_study_is_valid(tmp_path, data):
    """Every setting of every variant is known and fits, a model can be made of it, and no two are the same."""
    made = set()
    for name in ready_names():
        study = Study.ready(name, tmp_path, seeds=1)
        source = next(iter(study.variants.values()))["data.name"]
        kind = "vectors" if "features" in source else "points" if "modelnet" in source else "images"
        small = {"points": (clouds(48), clouds(20, seed=1)), "images": data, "vectors": vectors(data)}[kind]
        for settings in study.variants.values():  # sizes that the small data have not
            for size in ("data.name", "data.per_class", "data.imbalance", "data.least", "data.under"):
                settings.pop(size, None)
        for member in study.of(*small).members():
            settings = {**member.configuration.settings, "epochs": 0, "batch": 32, "progress": False}
            settings |= {"points": {"points": 8}, "images": {"crop": 12}, "vectors": {}}[kind]
            settings |= {"prototypes": (2, 4)} if "prototypes" in settings else {}
            model = member.configuration.method, json.dumps(settings, sort_keys=True), kind
            if model not in made:  # studies have models in common
                hiercl.fit(member.configuration.method, member.train(study.given), **settings)
            made.add(model)
        assert study.question and set(study.baselines) < set(study.variants)
    with pytest.raises(ValueError, match=r"Unknown ready-made study 'hcsc-part'. Did you mean 'hcsc-parts'"):
        Study.ready("hcsc-part")


def test_a_study_of_ones_own_as_a_file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"base": BASE, "vary": {"queue": [8, 16]}, "seeds": 2, "one_at_a_time": True}))
    study = Study.load(path)
    assert study.name == "mine" and list(study.variants) == ["base", "queue=8", "queue=16"] and study.seeds == (0, 1)
    for content, message in {
        "{": "is not JSON",
        '{"base": {}}': r"needs variants \(names and settings\) or vary",
        '{"vari": {}}': "Unknown part of .*mine.json 'vari'. Did you mean 'vary'",
    }.items():
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            Study.load(path)


def test_from_the_shell(tmp_path, data, capsys, monkeypatch):
    from hiercl.cli import main
    from hiercl.datasets import write_store

    for part, dataset in zip(("train", "test"), data, strict=True):
        write_store(dataset, tmp_path / "stripes" / part)
    path = tmp_path / "mine.json"
    base = BASE | {"data": str(tmp_path / "stripes")}
    asked = {"base": base, "vary": {"queue": [8, 16]}, "question": "Long?", "metrics": ["linear"]}
    path.write_text(json.dumps(asked))
    main(["study", str(path), "--seeds", "1", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "too few seeds (1 of 5)" in said and "mine.html" in said and (tmp_path / "out" / "mine.html").exists()
    with pytest.raises(SystemExit, match=r"Unknown ready-made study 'labls'. Did you mean 'labels'"):
        main(["study", "labls"])


def test_every_variant_at_every_point_of_a_grid(tmp_path, data):
    vary = {"plain": {}, "SimCLR": {"method": "simclr"}}
    grid = {"temperature": [0.1, 0.5], "lr": [0.001, 0.01]}
    study = Study(BASE | {"held_out": 0.25, "judged_on": "held out"}, vary, 1, out=tmp_path, grid=grid)
    assert list(study.variants)[:2] == ["plain, temperature=0.1, lr=0.001", "plain, temperature=0.1, lr=0.01"]
    assert len(study.variants) == 8
    assert study.baselines["SimCLR, temperature=0.5, lr=0.01"] == "SimCLR, temperature=0.1, lr=0.001"
    with pytest.raises(ValueError, match=r"no finished run of .* has 'linear'"):
        study.of(*data).best()
    study.run(*data, progress=False)
    for metric, way in (("linear", "idxmax"), ("mistake_height", "idxmin")):
        means = study.table().set_index("variant").filter(regex=f"^{metric} ").mean(axis=1)
        best = study.best(metric).set_index("variant")
        assert best.index.tolist() == ["plain", "SimCLR"] and best["points"].tolist() == [4, 4]
        for name in best.index:
            own = means[means.index.str.startswith(f"{name}, ")]
            where = getattr(own, way)()
            assert where == f"{name}, temperature={best['temperature'][name]:g}, lr={best['lr'][name]:g}"
            assert best[metric][name] == own[where]
    again = Study.load(study.save()).of(*data)
    assert again.variants == study.variants and again.best().equals(study.best())
    with pytest.raises(ValueError, match="has no grid= whose best point"):
        make(tmp_path).best()


def test_judged_on_items_that_were_held_out(tmp_path, data, monkeypatch):
    base = {"held_out": 0.25, "epochs": 1}
    study = make(tmp_path, {"a": {}, "b": {"temperature": 0.5}}, seeds=1, name="x").of(*data).changed(**base)
    assert study.name == "x-held_out=0.25-epochs=1" and study.given == data
    study.run(progress=False)
    before = len(list((tmp_path / "runs").glob("*/run")))
    held = study.changed(judged_on="held out").run(progress=False)
    assert len(list((tmp_path / "runs").glob("*/run"))) == before == 2, "both ways share their trainings"
    trained, kept = held.member("a").train(data), held.member("a").test(data)
    rest, part = data[0].split(0.25, seed=0)
    assert trained.fingerprint() == rest.fingerprint() and kept.fingerprint() == part.fingerprint()
    assert held.member("a").place.load()[1].protocol["test_items"] == 16
    for settings, message in (
        ({"held_out": 1.0}, "held_out=1.0"),
        ({"judged_on": "held out"}, "needs items that were held out"),
        (
            {"judged_on": "train"},
            "judged_on='train': it must be 'test', 'held out', 'unseen', or the name of other data",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            made({**BASE, **settings}, data)


def test_judged_on_classes_that_were_not_trained_on(tmp_path, data):
    study = make(tmp_path, {"a": {}}, seeds=2, name="x").of(*data).changed(unseen=0.5, epochs=1, subset_seed=None)
    study.run(progress=False)
    transfer = study.changed(judged_on="unseen")
    transfer.run(progress=False)
    assert len(list((tmp_path / "runs").glob("*/run"))) == 2, "both ways share their trainings"
    tops = set(data[0].hierarchy.names[0])
    for own, other in zip(study.members(), transfer.members(), strict=True):
        seen, judges = own.train(data).hierarchy.names[0], other.test(data).hierarchy.names[0]
        assert len(seen) == len(judges) == 1 and set(seen) | set(judges) == tops
        assert own.test(data).hierarchy == own.train(data).hierarchy == other.train(data).hierarchy
        run, report = other.place.load()
        train, test = (part.under(*judges) for part in data)
        assert pd.DataFrame(report.rows).equals(pd.DataFrame(hiercl.evaluate(run, train, test).rows))
        assert own.place.folder == other.place.folder and own.place.report != other.place.report
    drawn = {made({**BASE, "unseen": 0.5, "subset_seed": None}, data, seed).facts.train for seed in range(8)}
    assert len(drawn) == 2, "which classes they are differs from seed to seed"
    page = transfer.report(tmp_path / "x.md").read_text()
    counts = {len(member.test(data)) for member in transfer.members()}
    assert ", whose classes were not trained on, of stripes" in page and "training items of stripes" in page
    assert all(f"{count} test items" in page for count in counts) and "labelled items beside them" in page
    for settings, message in (
        ({"unseen": 1.0}, "unseen=1.0"),
        ({"judged_on": "unseen"}, "needs classes that were kept out: give unseen=0.5"),
        ({"unseen": 0.1}, "unseen=0.1 of 2 coarsest classes are 0: keep some"),
    ):
        with pytest.raises(ValueError, match=message):
            made({**BASE, **settings}, data)


def test_judged_on_other_data(tmp_path, data, monkeypatch):
    few = hiercl.load("shapes", root=None, per_class=4, test_per_class=2)
    monkeypatch.setattr("hiercl.study.configurations.load", {"shapes": few}.get)
    study = make(tmp_path, {"a": {}}, seeds=1, name="x").of(*data).changed(epochs=1, judged_on="shapes")
    study.run(progress=False)
    report = study.member("a").place.load()[1]
    assert "64 training items of stripes; judged by 60 test items of shapes" in (
        study.report(tmp_path / "page.md").read_text()
    )
    assert report.protocol["test"] == "shapes" and report.protocol["train_items"] == 120
    assert study.member("a").train(data).fingerprint() == data[0].fingerprint()
    with pytest.raises(ValueError, match="judged_on='shapes' holds images, and 'shapes' holds points"):
        made({"method": "moco", "judged_on": "shapes"}, (clouds(48), clouds(20, seed=1)))


def test_the_same_study_with_other_settings(tmp_path, data):
    study = make(tmp_path, {"a": {}, "b": {"temperature": 0.5}}, name="x", baseline="b", question="Why?")
    other = study.changed(epochs=3, lr=1)
    assert {variant["fit.epochs"] for variant in other.variants.values()} == {3} and other.baselines == {"a": "b"}
    assert (other.name, other.question, other.seeds) == ("x-epochs=3-lr=1", "Why?", study.seeds)
    with pytest.raises(ValueError, match=r"variants of x differ in method.temperature"):
        study.changed(temperature=0.2)
    untrained = make(tmp_path, {"untrained": {"epochs": 0}, "a": {}, "b": {"temperature": 0.5}})
    longer = untrained.changed(epochs=3).variants
    assert [own["fit.epochs"] for own in longer.values()] == [0, 3, 3]
    with pytest.raises(ValueError, match=r"differ in fit.epochs"):
        make(tmp_path, {"a": {}, "b": {"epochs": 7}}).changed(epochs=3)
    with pytest.raises(ValueError, match="Did you mean 'epochs'"):
        study.changed(epoch=3)


def test_one_and_one_point_zero_are_one_setting(data):
    hashes = {made(BASE | {"weight_decay": value}, data).training_hash for value in (1, 1.0)}
    assert len(hashes) == 1


@pytest.mark.parametrize("optimiser, rate, decay", [("adamw", 1e-3, 0.05), ("sgd", 0.03 * 16 / 256, 5e-4)])
def test_a_default_and_its_value_are_one_run(data, optimiser, rate, decay):
    base = BASE | {"optimiser": optimiser, "batch": 16}
    silent, said = made(base, data), made(base | {"lr": rate, "weight_decay": decay}, data)
    assert silent.training_hash == said.training_hash and silent.complete["fit"]["lr"] == rate
    assert silent.training_hash != made(base | {"lr": 2 * rate}, data).training_hash


def test_recalls_under_the_coarsest_classes(tmp_path, data):
    study = make(tmp_path, seeds=1, metrics=("linear_recall",)).run(*data, progress=False)
    member = study.members()[0]
    classes = member.place.load()[1].classes
    leaves = classes[classes["level"] == "class"]
    rows = study.summary().query("variant == @member.variant").set_index("level")["mean"]
    names = data[0].hierarchy.names[0]
    assert rows.index.tolist() == [*names]
    for name in names:
        assert rows[name] == pytest.approx(leaves[leaves["under"] == name]["linear"].mean())


# -- effects ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_students_interval_is_that_of_scipy_and_covers_as_often_as_it_says(n):
    rng = np.random.default_rng(n)
    values = rng.normal(size=n)
    expected = ttest_1samp(values, 0).confidence_interval(0.9)
    assert t_interval(values, 0.9) == pytest.approx((expected.low, expected.high))
    trials = rng.normal(0.7, 2.0, size=(2000, n))
    assert 0.935 < np.mean([low <= 0.7 <= high for low, high in map(t_interval, trials)]) < 0.965
    assert np.isnan(t_interval(np.full(n, 3.0))).all() and np.isnan(t_interval(values[:1])).all()


def test_a_page_says_how_many_verdicts_come_about_by_chance(tmp_path):
    """Forty equal variants: as many verdicts as are said to come about by chance, within three standard deviations."""
    rng, rows = np.random.default_rng(0), []
    for name in range(200):
        found = effect(rng.normal(size=5), rng.normal(size=5))
        rows.append({"variant": f"{name}", "metric": "linear", "level": "class", **asdict(found), "n": 5})
    rows.append(rows[0] | {"low": np.nan, "high": np.nan})  # it has no interval
    study = make(tmp_path, metrics=("linear",))
    said = re.search(
        r"has (\d+) bootstrap intervals, and (\d+) of them .* about (\d+) would",
        page.explained(study, pd.DataFrame(rows)),
    )
    intervals, verdicts, expected = map(int, said.groups())
    assert (intervals, expected) == (200, 10) and verdicts == sum(
        row["verdict"] in ("better", "worse") for row in rows[:-1]
    )
    assert abs(verdicts - expected) < 3 * np.sqrt(200 * 0.05 * 0.95)
    assert "by chance" not in page.explained(study, pd.DataFrame(rows[-1:]))


@pytest.mark.parametrize("n", [5, 9])
def test_the_interval_covers_a_known_effect_about_as_often_as_it_says(n):
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1000):
        low, high = bootstrap_interval(rng.normal(0.7, 2.0, size=n))
        covered.append(low <= 0.7 <= high)
    assert 0.92 < np.mean(covered) < 0.975  # 0.95, within the error of a thousand trials and of the method


def test_the_interval_is_the_loop_of_its_definition():
    values = np.random.default_rng(1).normal(size=6) ** 2
    deviation, t = values.std(ddof=1), []
    for index, noise in zip(*_resamples(6), strict=True):
        drawn = np.sort(values)[index] + 0.9 * 6**-0.2 * deviation * noise
        t.append((drawn.mean() - values.mean()) / (drawn.std(ddof=1) / np.sqrt(6)))
    error = deviation / np.sqrt(6)
    expected = [values.mean() - np.quantile(t, q) * error for q in (0.975, 0.025)]
    assert np.allclose(bootstrap_interval(values), expected)
    mixed = np.random.default_rng(2).permutation(values)
    assert np.allclose(bootstrap_interval(mixed), bootstrap_interval(values)), "in any order"
    low, high = bootstrap_interval(-values)
    assert np.allclose((-high, -low), bootstrap_interval(values)), "mirrored"


def test_no_end_of_an_interval_lies_far_out():
    """Four of five seeds nearly alike: the plain bootstrap-t has an end at a hundred times their range, or at ∞."""
    for last in (0.0, 1e-6, 0.1, 1.0, 30.0):
        values = np.array([1.0, 1.0, 1.0, 1.0 + 1e-9, 1.0 + last + 1e-3])
        low, high = bootstrap_interval(values)
        assert high - low < 4 * np.ptp(values)


def test_verdicts():
    base = np.array([10.0, 11, 12, 13, 14])
    noise = np.array([0.1, -0.1, 0.05, 0.0, -0.05])
    assert effect(base, base + 1 + noise).verdict == "better"
    assert effect(base, base + 1 + noise, "lower").verdict == "worse"
    assert effect(base, base + 1 + noise, "").verdict == "more"
    assert effect(base, base - 1 + noise).verdict == "worse"
    assert effect(base, base + noise).verdict == "undecided"
    assert effect(base, base).verdict == "the same"
    assert effect(base, base + 1).verdict == "better" and np.isnan(effect(base, base + 1).low)
    few = effect(base[:4], base[:4] + 1 + noise[:4])
    assert few.verdict == "too few seeds (4 of 5)" and np.isnan(few.low)
    assert str(effect(base, base - 1)) == "−1.00 worse"
    assert str(few) == f"+1.01 too few seeds (4 of 5); t [{few.t_low:+.2f}, {few.t_high:+.2f}]"
    skewed = effect(np.zeros(5), np.array([0.1, 0.2, 0.2, 0.3, 0.8]))
    assert skewed.low > 0 > skewed.t_low, "the two disagree"
    assert skewed.text() == "+0.32 [+0.06, +0.80] better; t [−0.02, +0.66]"
    assert "; t" not in str(effect(base, base + 1 + noise)) and skewed.text(1, verdict=False).endswith("]")
    with pytest.raises(ValueError, match="2 and 1 values"):
        effect([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="value 1 of 2 is not finite"):
        effect([1.0, 2.0], [1.0, np.nan])
    with pytest.raises(ValueError, match=r"level=95\.0: it must be a share"):
        effect(base, base + noise, level=95.0)


@pytest.mark.parametrize("items", [40, 60, 300, 5000])
def test_shares_of_a_test_set_are_alike_but_for_rounding(items):
    right = np.random.default_rng(0).integers(items // 4, items // 2, size=(50, 5))
    for row in right:
        assert effect(100 * row / items, 100 * (row + 2) / items).verdict == "better"
