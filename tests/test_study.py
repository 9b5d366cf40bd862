"""Study: variants, hashes, runs in common, what is broken, killed or busy, and honest effects."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_training import pictures

import hiercl
from hiercl.study import Study, bootstrap_interval, effect, ready_names
from hiercl.study import running as R
from hiercl.study.configurations import configuration, resolve, variants

BASE = {"method": "moco", "queue": 40, "epochs": 1, "batch": 32, "crop": 12, "monitor_every": 0, "precision": "float32"}
TIMES = ["seconds", "cpu_seconds", "judging_seconds"]


@pytest.fixture(scope="module")
def data():
    return pictures(64), pictures(40, seed=1)


def make(out, vary=None, seeds=2, **settings):
    return Study(BASE, vary or [{"temperature": 0.1}, {"temperature": 0.2}], seeds, out=out, **settings)


def timeless(table):
    return table.drop(columns=TIMES, errors="ignore")


# -- variants and configurations --------------------------------------------------------------------------------


def test_a_grid_a_list_and_one_factor_at_a_time():
    vary = {"queue": [40, 80], "temperature": [0.1, 0.2]}
    assert list(variants(BASE, vary).values()) == [
        BASE | {"queue": q, "temperature": t} for q in (40, 80) for t in (0.1, 0.2)
    ]
    single = variants(BASE, vary, one_at_a_time=True)
    assert list(single) == ["base", "queue=80", "temperature=0.1", "temperature=0.2"]  # queue=40 is the base
    assert single["queue=80"] == BASE | {"queue": 80}
    named = variants(BASE, {"small": {"queue": 8}, "SimCLR": {"method": "simclr"}})
    assert list(named) == ["small", "SimCLR"] and named["small"]["queue"] == 8
    assert "queue" not in named["SimCLR"], "a setting of the base's method alone"
    assert list(variants(BASE, [{}, {"queue": 8}])) == ["base", "queue=8"]


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({}, "nothing to vary"),
        ([], "nothing to vary"),
        ({"queue": 8}, "vary 'queue': give a list"),
        ({"select": "none"}, "vary 'select': give a list"),
        ([{"queue": 8}, {"queue": 8}], "two variants are 'queue=8'"),
    ],
)
def test_what_cannot_be_varied(vary, message):
    with pytest.raises(ValueError, match=message):
        variants(BASE, vary)


def test_settings_are_sorted_into_their_parts():
    settings = {"method": "moco", "data": "cifar100", "per_class": 5, "lr": 0.1, "crop": 16, "queue": 8, "knn_k": 3}
    dotted = {"method": "moco", "data.name": "cifar100", "data.per_class": 5, "fit.lr": 0.1, "views.crop": 16}
    parts = resolve(settings)
    assert parts == resolve(dotted | {"method.queue": 8, "judged.knn_k": 3})
    assert parts["data"] == {"name": "cifar100", "per_class": 5} and parts["own"] == {"queue": 8}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quee": 8}, "Unknown setting of moco 'quee'. Did you mean 'queue'"),
        ({"fit.queue": 8}, "Unknown setting of moco 'fit.queue'"),
        ({"optim.lr": 8}, "Unknown part of the settings 'optim'.*Known: data, fit, judged, method, views"),
        ({"seed": 3}, "Unknown setting of moco 'seed'"),
        ({"prototypes": (2, 4)}, "Unknown setting of moco 'prototypes'"),
        ({"method": "mocco"}, "Unknown method 'mocco'"),
        ({"queue": "long"}, "queue='long' does not fit"),
        ({"per_class": 0}, "per_class=0"),
        ({"imbalance": 0.5}, "imbalance=0.5"),
    ],
)
def test_a_wrong_setting_is_told_before_anything_is_trained(tmp_path, data, change, message):
    study = make(tmp_path, {"good": {}, "wrong": change}).of(*data)
    with pytest.raises(ValueError, match=rf"(?s)variant 'wrong': {message}"):
        study.run()
    assert not (tmp_path / "runs").exists()


def test_no_method_no_seeds_no_such_baseline(tmp_path):
    with pytest.raises(ValueError, match="no method: give base"):
        Study({}, {"queue": [8]}, out=tmp_path).members()
    for seeds in (0, (), (1, 1), (-1,)):
        with pytest.raises(ValueError, match="seeds="):
            make(tmp_path, seeds=seeds)
    with pytest.raises(ValueError, match=r"baseline='mocko' is no variant: they are temperature=0.1, temp"):
        make(tmp_path, baseline="mocko")


def test_the_hash_is_of_everything_that_matters(data):
    first = configuration(BASE, 0, data)
    assert (
        first.training_hash == configuration(BASE | {"momentum": 0.99}, 0, data).training_hash
    )  # a default, written out
    assert first.training_hash == configuration(BASE | {"device": "cpu", "workers": 3}, 0, data).training_hash
    others = [configuration(BASE | change, 0, data) for change in ({"lr": 1e-4}, {"crop": 10}, {"per_class": 9})]
    others += [configuration(BASE, 1, data), configuration(BASE, 0, (pictures(64, seed=5), data[1]))]
    others.append(configuration(BASE | {"shuffled": True}, 0, data))
    assert len({made.training_hash for made in (first, *others)}) == 1 + len(others)
    judged = configuration(BASE | {"knn_k": 3}, 0, data)
    assert judged.training_hash == first.training_hash and judged.judged_hash != first.judged_hash


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
    summary = study.summary(("linear",))
    assert summary["verdict"].dropna().unique().tolist() == ["too few seeds (2 of 5)"]

    monkeypatch.setattr(R, "fit", None)  # nothing may be trained any more
    again = make(tmp_path).run(*data, progress=False).table()
    pd.testing.assert_frame_equal(again, table)


def test_studies_that_overlap_train_nothing_twice(tmp_path, data, monkeypatch):
    trained = []
    fit = R.fit
    monkeypatch.setattr(R, "fit", lambda *a, **k: (trained.append(k["temperature"]), fit(*a, **k))[1])
    make(tmp_path, seeds=1).run(*data, progress=False)
    other = make(tmp_path, {"temperature": [0.2, 0.5]}, seeds=1, name="other").run(*data, progress=False)
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

    study = make(tmp_path, [{"epochs": 3}], seeds=1)
    with pytest.warns(UserWarning, match="Interrupted"):
        study.run(*data, progress=False, after_epoch=stop)
    assert study.table()["state"].tolist() == ["stopped"] and len(study.histories()) == 1
    study.run(*data, progress=False)
    whole = make(tmp_path / "whole", [{"epochs": 3}], seeds=1).run(*data, progress=False)
    pd.testing.assert_frame_equal(timeless(study.table()), timeless(whole.table()))


SCRIPT = """
    import os, random, signal, sys, time
    import torch
    torch.set_num_threads(1)
    sys.path.insert(0, {tests!r})
    from test_study import make, pictures
    data, out = (pictures(64), pictures(40, seed=1)), {out!r}

    def child():
        pid = os.fork()
        if pid == 0:
            try:
                make(out, {{"temperature": [0.1, 0.2, 0.5]}}, seeds=1).run(*data, progress=False)
            finally:
                os._exit(0)
        return pid

    random.seed({seed})
    for number in range({kills}):
        pid = child()
        time.sleep(random.uniform(0.05, 0.6))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    for pid in [child() for _ in range({together})]:
        os.waitpid(pid, 0)
"""


@pytest.mark.parametrize(("kills", "together"), [(10, 1), (0, 2)])
def test_killed_at_random_moments_or_made_by_two_at_once(tmp_path, data, kills, together):
    script = SCRIPT.format(
        tests=str(Path(__file__).parent), out=str(tmp_path / "study"), seed=3, kills=kills, together=together
    )
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=300)
    vary = {"temperature": [0.1, 0.2, 0.5]}
    ended = make(tmp_path / "study", vary, seeds=1).of(*data)
    assert not ended.missing()
    never_killed = make(tmp_path / "whole", vary, seeds=1).run(*data, progress=False)
    pd.testing.assert_frame_equal(timeless(ended.table()), timeless(never_killed.table()))


def test_a_run_that_another_process_makes_is_left_or_waited_for(tmp_path, data):
    from filelock import FileLock

    member = make(tmp_path, seeds=1).of(*data).members()[0]
    (tmp_path / "runs").mkdir()
    with FileLock(tmp_path / "runs" / f"{member.place.folder.name}.lock"):
        assert R.one(member.configuration, tmp_path / "runs", data, wait=False) == "busy"
    assert R.one(member.configuration, tmp_path / "runs", data, wait=False) == "done"


def test_several_at_a_time(tmp_path, data):
    together = make(tmp_path / "two", seeds=1).run(*data, n_jobs=2, progress=False)
    alone = make(tmp_path / "one", seeds=1).run(*data, progress=False)
    pd.testing.assert_frame_equal(timeless(together.table()), timeless(alone.table()))


def test_on_a_cluster(tmp_path, data):
    """A Dask cluster of two workers on this machine, as joblib's backend."""
    import joblib
    from distributed import Client, LocalCluster

    alone = make(tmp_path / "one", seeds=1).run(*data, progress=False)
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster):
        with joblib.parallel_config(backend="dask"):
            together = make(tmp_path / "two", seeds=1).run(*data, n_jobs=-1, progress=False)
    pd.testing.assert_frame_equal(timeless(together.table()), timeless(alone.table()))


def test_a_dry_run_trains_nothing_and_says_how_long(tmp_path, data, capsys):
    study = make(tmp_path, seeds=2)
    study.run(*data, dry=True)
    said = capsys.readouterr().out
    assert said.startswith("4 of 4 runs would be made, about ") and "(2 kinds of run measured" in said
    assert not (tmp_path / "runs").exists()
    study.run(*data, progress=False)
    capsys.readouterr()
    study.run(*data, dry=True)
    assert capsys.readouterr().out == "0 of 4 runs would be made, about 0 s one after another.\n"
    longer = make(tmp_path, {"temperature": [0.1], "epochs": [10]}, seeds=1).of(*data).estimate()
    done = study.table().query("temperature == 0.1")["seconds"].median()
    assert longer.tried == 0 and 5 * done < longer.total


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
    assert (
        again.variants == study.variants and again.seeds == (0,) and again.baseline == "b" and again.question == "Why?"
    )
    hashes = [[m.configuration.training_hash for m in s.of(*data).members()] for s in (study, again)]
    assert hashes[0] == hashes[1]
    with pytest.raises(FileNotFoundError):
        Study.load(tmp_path / "nothing.json")


def test_the_page_and_the_plot(tmp_path, data):
    study = make(tmp_path, {"plain": {}, "<b>τ</b> & more": {"temperature": 0.5}}, seeds=5, question="What of τ?")
    with pytest.raises(ValueError, match="no run of 'study' is done yet"):
        study.of(*data).report()
    study.run(*data, progress=False)
    page = study.report().read_text()
    assert "What of τ?" in page and "&lt;b&gt;τ&lt;/b&gt; &amp; more" in page and "<b>τ</b>" not in page
    assert (
        page.count("data:image/png;base64,") == 3
        and "http" not in page.split("<body>")[1].replace("https://", "")[:200]
    )
    assert '"temperature": 0.5' in page.replace("&quot;", '"')
    figure = study.plot("knn")
    mean = study.table().query("variant == 'plain'")["knn group"].mean()
    assert figure.axes[0].get_title(loc="left") == f"knn group\nplain: {mean:.2f}"
    with pytest.raises(ValueError, match="nothing to show of 'colour'"):
        study.plot("colour")


def test_every_ready_made_study_is_valid(tmp_path, data, monkeypatch):
    """Every setting of every variant is known and fits, and no two variants are the same."""
    for name in ready_names():
        study = Study.ready(name, tmp_path, seeds=1).of(*data)
        for settings in study.variants.values():  # sizes of subsets that the small data have not
            for size in ("per_class", "imbalance", "imbalance_level"):
                settings.pop(size, None)
        hashes = [(m.configuration.training_hash, m.configuration.judged_hash) for m in study.members()]
        assert len(set(hashes)) == len(hashes) and study.question, name
    with pytest.raises(ValueError, match=r"Unknown ready-made study 'hcsc-part'. Did you mean 'hcsc-parts'"):
        Study.ready("hcsc-part")


def test_a_study_of_ones_own_as_a_file(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"base": BASE, "vary": {"queue": [8, 16]}, "seeds": 2, "one_at_a_time": True}))
    study = Study.load(path)
    assert study.name == "mine" and list(study.variants) == ["base", "queue=8", "queue=16"] and study.seeds == (0, 1)
    for content, message in {
        "{": "is no JSON",
        '{"base": {}}': "needs variants, names and settings, or vary",
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
    path.write_text(json.dumps({"base": base, "vary": {"queue": [8, 16]}, "question": "Long?"}))
    main(["study", str(path), "--seeds", "1", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "too few seeds (1 of 5)" in said and "mine.html" in said and (tmp_path / "out" / "mine.html").exists()
    with pytest.raises(SystemExit, match=r"Unknown ready-made study 'labls'. Did you mean 'labels'"):
        main(["study", "labls"])


# -- effects ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 9])
def test_the_interval_covers_a_known_effect_about_as_often_as_it_says(n):
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(1000):
        low, high = bootstrap_interval(rng.normal(0.7, 2.0, size=n))
        covered.append(low <= 0.7 <= high)
    assert 0.92 < np.mean(covered) < 0.975  # 0.95, within the error of a thousand trials and of the method


def test_the_interval_is_the_loop_of_its_definition():
    values = np.array([0.3, 1.1, 0.7, 2.0, -0.4])
    t = []
    for number in range(5**5):
        drawn = values[[number // 5**place % 5 for place in range(5)]]
        if drawn.std() > 1e-12:
            t.append((drawn.mean() - values.mean()) / (drawn.std(ddof=1) / np.sqrt(5)))
    t, error = np.sort(t), values.std(ddof=1) / np.sqrt(5)
    share = np.arange(1, len(t) + 1) / len(t)
    expected = [values.mean() - t[np.searchsorted(share, q)] * error for q in (0.975, 0.025)]
    assert np.allclose(bootstrap_interval(values), expected)


def test_verdicts():
    base = np.array([10.0, 11, 12, 13, 14])
    noise = np.array([0.1, -0.1, 0.05, 0.0, -0.05])
    assert effect(base, base + 1 + noise).verdict == "better"
    assert effect(base, base + 1 + noise, lower_is_better=True).verdict == "worse"
    assert effect(base, base - 1 + noise).verdict == "worse"
    assert effect(base, base + noise).verdict == "undecided"
    assert effect(base, base).verdict == "the same"
    assert effect(base, base + 1).verdict == "better" and np.isnan(effect(base, base + 1).low)
    few = effect(base[:4], base[:4] + 1 + noise[:4])
    assert few.verdict == "too few seeds (4 of 5)" and np.isnan(few.low)
    assert str(effect(base, base - 1)) == "−1.00 worse"
    with pytest.raises(ValueError, match="2 and 1 values"):
        effect([1.0, 2.0], [1.0])
