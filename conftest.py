"""Prepares the examples in docstrings: the names that they may use. A name is made when an example first needs it."""

import ast
import doctest
import sys
from functools import cached_property

import pytest
from _pytest.doctest import DoctestItem

collect_ignore = ["hiercl/__main__.py"]  # importing it runs the command line


class Names:
    """The names that examples use without an import. Each one is made once, when an example needs it."""

    def __init__(self, folder):
        self._folder = folder

    @cached_property
    def hiercl(self):
        """The package."""
        import hiercl

        return hiercl

    @cached_property
    def np(self):
        """NumPy."""
        import numpy

        return numpy

    @cached_property
    def torch(self):
        """PyTorch."""
        import torch

        return torch

    @cached_property
    def plt(self):
        """Matplotlib's pyplot."""
        from matplotlib import pyplot

        return pyplot

    @cached_property
    def _shapes(self):
        return self.hiercl.load("shapes", root=self._folder / "data", per_class=4, test_per_class=2)

    @cached_property
    def _clouds(self):
        sizes = {"per_class": 4, "test_per_class": 2, "points": 128}
        return self.hiercl.load("shapes", root=self._folder / "data", items="points", **sizes)

    @property
    def train(self):
        """Pictures of the training set: 4 of each of 30 classes, in 12 groups, in 5 domains."""
        return self._shapes[0]

    @property
    def test(self):
        """Pictures of the test set: 2 of each class."""
        return self._shapes[1]

    @property
    def points_train(self):
        """The training set as point clouds of 128 points."""
        return self._clouds[0]

    @property
    def points_test(self):
        """The test set as point clouds of 128 points."""
        return self._clouds[1]

    @cached_property
    def run(self):
        """A run of HCSC with trees of 2 and 4 prototypes."""
        tiny = {"epochs": 2, "batch": 32, "queue": 64, "progress": False, "precision": "float32"}
        return self.hiercl.fit("hcsc", self.train, prototypes=(2, 4), warm_up=0.5, **tiny)

    @cached_property
    def masked_run(self):
        """A run of G-HMLC, whose levels see features of their own."""
        tiny = {"epochs": 2, "batch": 32, "progress": False, "precision": "float32"}
        return self.hiercl.fit("g_hmlc", self.train, warm_up=0.5, **tiny)

    @cached_property
    def features(self):
        """Features of the test set, from `run`."""
        return self.hiercl.embed(self.run, self.test)

    @cached_property
    def study(self):
        """A finished study: two temperatures, two seeds."""
        base = {"method": "moco", "queue": 64, "epochs": 1, "batch": 32, "precision": "float32"}
        study = self.hiercl.Study(base, {"temperature": [0.1, 0.3]}, seeds=2, out=self._folder / "studies")
        return study.run(self.train, self.test, progress=False)


NAMES = {name for name in dir(Names) if not name.startswith("_")}


@pytest.fixture(scope="session")
def _names(tmp_path_factory):
    return Names(tmp_path_factory.mktemp("examples"))


@pytest.fixture(autouse=True)
def _examples_of_docstrings(request):
    """Gives an example the names that it uses, a working folder and a data folder of its own, and no display."""
    if not isinstance(request.node, DoctestItem):
        yield
        return
    monkeypatch, names = request.getfixturevalue("monkeypatch"), request.getfixturevalue("_names")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("HIERCL_DATA", str(names._folder / "data"))
    monkeypatch.chdir(request.getfixturevalue("tmp_path"))
    test = request.node.dtest
    test.globs.update({name: getattr(names, name) for name in sorted(_used(test.examples) & NAMES)})
    if "torch" in sys.modules:
        names.torch.manual_seed(0)
    yield
    if "matplotlib.pyplot" in sys.modules:
        names.plt.close("all")


def _used(examples) -> set[str]:
    """Names that examples read before they set them."""
    used, made = set(), set()
    for example in examples:
        if not example.options.get(doctest.SKIP):
            found = [node for node in ast.walk(ast.parse(example.source)) if isinstance(node, ast.Name)]
            used |= {node.id for node in found if isinstance(node.ctx, ast.Load)} - made
            made |= {node.id for node in found if isinstance(node.ctx, ast.Store)}
    return used
