"""Studies under faults: lists in files, damaged reports and features, a full disk, wrong types."""

import json

import pytest
from support.data import vectors
from support.disks import small_disk
from support.studies import BASE

from hiercl.cli import main
from hiercl.datasets import write_store
from hiercl.runtime.files import DiskFullError
from hiercl.study import Study, ready_names

VECTORS = vectors(48), vectors(24, seed=1)
TINY = {name: value for name, value in BASE.items() if name != "crop"} | {"batch": 16}


def make(out, vary=None, **settings):
    return Study(TINY, vary or [{"temperature": 0.1}, {"temperature": 0.2}], 1, out=out, **settings).of(*VECTORS)


def test_what_is_saved_is_what_is_loaded(tmp_path):
    """Lists and tuples, in variants and in grids; all studies of the package; and files of version 0.1.0."""
    lists = Study({"method": "hcsc"}, {"a": {"prototypes": [4, 8]}, "b": {"prototypes": (2, 4)}}, 1, "lists", tmp_path)
    grid = Study({"method": "hcsc"}, {"a": {}}, 1, out=tmp_path, grid={"prototypes": [[2, 4], (4, 8)], "lr": [0.1]})
    for study in (lists, grid, *(Study.ready(name, tmp_path) for name in ready_names())):
        again = Study.load(study.save())
        for part in ("variants", "grid", "points", "baselines", "seeds", "name", "metrics"):
            assert getattr(again, part) == getattr(study, part), (study.name, part)
        again.save()
    before = json.loads((tmp_path / "lists.json").read_text())
    before["variants"]["a"]["method.prototypes"] = "4-8"
    (tmp_path / "lists.json").write_text(json.dumps(before))
    assert Study.load(lists.save()).variants == lists.variants


def test_damaged_files_are_made_again_and_stop_no_other_study(tmp_path):
    study = make(tmp_path, [{"temperature": 0.1}]).run(progress=False)
    table, place = study.table(), study.members()[0].place
    other = make(tmp_path, [{"temperature": 0.5}])
    for file in (place.report / "report.json", place.report / "seconds.json"):
        whole = file.read_bytes()
        for content in (b"", whole[:5], b"[]"):
            file.write_bytes(content)
            assert study.table()["state"].tolist() == ["stopped"] and other.estimate(trial=False).total != 0
        file.write_bytes(whole)
        assert study.table()["state"].tolist() == ["done"]
    for damaged in ("report.json", "../configuration.json", f"../{place.features.name}"):
        path = place.report / damaged
        path.write_bytes(path.read_bytes()[:200])
    again = rf"{place.features} is cut or altered: it is made again"
    with pytest.warns(UserWarning, match=again), pytest.warns(UserWarning, match="holds a damaged report"):
        study.run(progress=False)
    assert study.table()["linear class"].equals(table["linear class"])
    (place.folder / "run" / "history.csv").write_bytes(b"\x00\xff")
    with pytest.raises(ValueError, match=r"history.csv is empty, cut or altered .*hiercl.load_run"):
        study.table()


def test_a_full_disk_stops_a_study_and_it_goes_on(tmp_path):
    study = make(tmp_path)
    with small_disk(20_000), pytest.raises(DiskFullError, match=r"checkpoint.pt needs .* MB, and .*/run has"):
        study.run(progress=False)
    assert study.table()["state"].tolist() == ["stopped", "missing"] and not list(tmp_path.rglob("*partial*"))
    assert study.run(progress=False).table()["state"].tolist() == ["done", "done"]


def test_what_a_killed_study_left_of_its_definition_is_removed(tmp_path):
    left = tmp_path / ".kills.0.partial.json"
    left.touch()
    assert make(tmp_path).save().exists() and not left.exists()


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "is empty, cut or altered"),
        ("[]", "it holds a list"),
        ({"vary": 3}, "nothing to vary"),
        ({"vary": [3]}, "vary has 3: each variant is a mapping"),
        ({"vary": {"queue": 3}}, "give a list of its values"),
        ({"variants": 3}, "variants are names with settings"),
        ({"seeds": 10**9}, "seeds=1000000000: give how many, from 1 to 10,000"),
        ({"seeds": True}, "seeds=True: give how many"),
        ({"seeds": {}}, r"seeds=\{\}: give how many"),
        ({"seeds": [1, "a"]}, "list of different whole numbers"),
        ({"base": []}, r"base=\[\]: give settings by name"),
        ({"base": {"method": ["moco"]}}, r"method=\['moco'\]: give the name"),
        ({"vary": {"queue": [{}]}}, r"queue=\{\}: it must be a whole number"),
        ({"name": 3}, "name=3: give a name"),
        ({"metrics": [3]}, "give names of metrics"),
        ({"baseline": 3}, "baseline=3: give the name of a variant"),
        ({"one_at_a_time": "yes"}, "give True or False"),
        ({"grid": [3]}, r"grid=\[3\]: give settings"),
        ({"grid": {"lr": [0.1] * 200, "queue": [9] * 200}}, "a grid of 40,000 points"),
    ],
)
def test_wrong_types_in_a_file_are_told_in_a_line(tmp_path, content, message, as_a_user):
    path, store = tmp_path / "mine.json", tmp_path / "planted"
    write_store(VECTORS[0], store)
    wanted = {"base": {"method": "moco", "data": str(store)}, "vary": {"queue": [8]}}
    if isinstance(content, dict):
        content = json.dumps(({} if "variants" in content else wanted) | content)
    path.write_text(content)
    with pytest.raises(SystemExit, match=message) as stop:
        main(["study", str(path), "--dry", "--out", str(tmp_path)])
    assert str(path) in str(stop.value) or "variant" in str(stop.value)


@pytest.mark.parametrize(
    "use, message",
    [
        (lambda study: study.of(None, None), "train=None: it must be a HierarchicalDataset"),
        (lambda study: study.run(n_jobs=0), "n_jobs=0: give the number of runs"),
        (lambda study: study.run(n_jobs="x"), "n_jobs='x': give a whole number"),
        (lambda study: study.run(after_run=5), "after_run=5: give a function"),
        (lambda study: study.summary(5), "metrics=5: give the name of a metric"),
        (lambda study: study.against(5), "baseline 5 is no variant"),
        (lambda study: study.report(5), "path=5: give a path"),
    ],
)
def test_wrong_arguments_are_errors(tmp_path, use, message, as_a_user):
    with pytest.raises(ValueError, match=message):
        use(make(tmp_path))
