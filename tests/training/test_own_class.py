"""A class of one's own is saved as itself, found again, and told apart from others of its name."""

import gc
import json
import sys
import warnings

import pytest
from support.data import SMALL, pictures
from support.runs import same

import hiercl
from hiercl.methods import HCSC, MoCo

SETTINGS = SMALL | {"epochs": 1, "queue": 40}

MODULE = """
from hiercl.methods import MoCo

class Base(MoCo):
    def scale(self):
        return {factor}

class Mine(Base):
    {note}
    def instance_logits(self, query, keys):
        return self.scale() * super().instance_logits(query, keys)
"""


class Scaled(MoCo):
    """Its name is still that of a method of the package."""

    factor = 2.0

    def instance_logits(self, query, keys):
        return self.factor * super().instance_logits(query, keys)


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes a module of the user's own, and imports it anew."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(factor=2, note='"""Mine."""', name="own_methods"):
        (tmp_path / f"{name}.py").write_text(MODULE.format(factor=factor, note=note))
        sys.modules.pop(name, None)
        __import__(name)
        return sys.modules[name]

    yield write
    sys.modules.pop("own_methods", None)


def quietly_loaded(path, **functions):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return hiercl.load_run(path, **functions)


def test_a_subclass_is_no_longer_its_parent(tmp_path):
    run = hiercl.fit(Scaled, pictures(64), out=tmp_path / "run", **SETTINGS)
    assert run.name == "moco" and run.config["class"]["name"] == "Scaled"
    loaded = quietly_loaded(tmp_path / "run")
    assert type(loaded.method) is Scaled and same(run, loaded)
    assert loaded.step(pictures(64)).loss == run.step(pictures(64)).loss
    assert type(quietly_loaded(run.save(tmp_path / "copy")).method) is Scaled
    plain = hiercl.fit("moco", pictures(64), **SETTINGS | {"epochs": 0})
    assert "class" not in plain.config


def test_a_class_of_a_module(module, tmp_path):
    """It is imported if it is not here; a changed class is said, its docstring does not count."""
    hiercl.fit(module().Mine, pictures(64), out=tmp_path / "run", **SETTINGS)
    sys.modules.pop("own_methods")
    assert type(quietly_loaded(tmp_path / "run").method).__qualname__ == "Mine"
    module(note='"""Another docstring."""')
    quietly_loaded(tmp_path / "run")
    module(factor=3)  # in the class above it
    with pytest.warns(UserWarning, match="own_methods.Mine is not the code that this run was trained with"):
        assert type(hiercl.load_run(tmp_path / "run").method).__qualname__ == "Mine"
    with pytest.raises(ValueError, match=r"other settings \(method: the code of Mine was changed since then"):
        hiercl.fit(sys.modules["own_methods"].Mine, pictures(64), out=tmp_path / "run", resume=True, **SETTINGS)


def test_a_class_that_is_not_here(module, tmp_path):
    own = module().Mine
    hiercl.fit(own, pictures(64), out=tmp_path / "run", **SETTINGS)
    sys.modules.pop("own_methods")
    (tmp_path / "own_methods.py").unlink()
    with pytest.raises(ValueError, match=r"Mine of the module own_methods.*load_run\(path, method=MyMethod\)"):
        hiercl.load_run(tmp_path / "run")
    assert type(quietly_loaded(tmp_path / "run", method=own).method) is own


def make_local(factor):
    class Local(MoCo):
        def instance_logits(self, query, keys):
            return factor * super().instance_logits(query, keys)

    return Local


def test_a_class_within_a_function(tmp_path):
    hiercl.fit(make_local(1), pictures(64), out=tmp_path / "run", **SETTINGS)
    newest = make_local(2)
    assert type(quietly_loaded(tmp_path / "run").method) is newest  # of equal code the last one


OF_A_NOTEBOOK = """
from hiercl.methods import MoCo

class Mine(MoCo):
    def starts_with(self, name):
        return name in {"moco", "hcsc", "csml"}
"""


def test_a_class_of_a_notebook_in_another_session(tmp_path, monkeypatch):
    """Its module is __main__ there and here: the class of that name in this session is found, and no other."""

    def of_a_session() -> type:
        names: dict = {"__name__": "__main__"}
        exec(OF_A_NOTEBOOK, names)
        return names["Mine"]

    hiercl.fit(of_a_session(), pictures(64), out=tmp_path / "run", **SETTINGS)
    gc.collect()  # the other session has ended, and its class with it
    with pytest.raises(ValueError, match="Mine of the module __main__"):
        hiercl.load_run(tmp_path / "run")
    here = of_a_session()
    monkeypatch.setattr(sys.modules["__main__"], "Mine", here, raising=False)
    assert type(quietly_loaded(tmp_path / "run").method) is here


def test_resuming_tells_it_apart(tmp_path):
    data = pictures(64)
    hiercl.fit("moco", data, out=tmp_path / "run", **SETTINGS)
    with pytest.raises(ValueError, match=r"there 'moco' of hiercl's own class, here of .*test_own_class\.Scaled"):
        hiercl.fit(Scaled, data, out=tmp_path / "run", resume=True, **SETTINGS)
    run = hiercl.fit(Scaled, data, out=tmp_path / "own", **SETTINGS)
    assert same(run, hiercl.fit(Scaled, data, out=tmp_path / "own", resume=True, **SETTINGS))


def test_runs_of_earlier_versions(tmp_path):
    """They did not say whose class it was."""
    Scaled.name, data = "scaled", pictures(64)
    try:
        hiercl.fit(Scaled, data, out=tmp_path / "run", **SETTINGS)
        config = json.loads((tmp_path / "run" / "config.json").read_text())
        del config["class"]
        (tmp_path / "run" / "config.json").write_text(json.dumps(config))
        with pytest.raises(ValueError, match=r"a class with the name 'scaled'.*load_run\(path, method=MyMethod\)"):
            hiercl.load_run(tmp_path / "run")
        assert type(quietly_loaded(tmp_path / "run", method=Scaled).method) is Scaled
        hiercl.fit(Scaled, data, out=tmp_path / "run", resume=True, **SETTINGS)
    finally:
        del Scaled.name
    assert Scaled.name == "moco"


def test_a_study_of_classes(tmp_path):
    class Warmer(HCSC):
        def weights(self, queries):
            return tuple(0.5 * weight for weight in super().weights(queries))

    base = {name: value for name, value in SETTINGS.items() if name not in ("progress", "encoder")}
    variants = {"parent": {"method": "hcsc", "prototypes": (2, 4)}, "own": {"method": Warmer, "prototypes": (2, 4)}}
    study = hiercl.Study({"method": "hcsc", **base}, variants, seeds=1, out=tmp_path).of(pictures(64), pictures(32, 1))
    assert len({member.configuration.training_hash for member in study.members()}) == 2
    study.run(progress=False)
    assert study.table()["state"].tolist() == ["done", "done"] and study.table()["method"].tolist() == [
        "hcsc",
        "Warmer",
    ]
    assert type(study.member("own").place.load()[0].method) is Warmer
