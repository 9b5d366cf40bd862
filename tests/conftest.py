"""Prepares the tests: the real data, if they exist, and one thread for each worker of pytest-xdist."""

import os
import shutil

import pytest
from support import checks
from support.real_data import prepare

checks.install()  # before hiercl is imported

os.environ.setdefault("HIERCL_THREADS", "all")  # two trainings of a test have the same number of threads

# These hold no tests and no examples.
collect_ignore_glob = ["support/*.py", "exercises/answers_*.py", "browser/explorers.py"]


def pytest_sessionstart(session):
    """Prepares the real data once, before any worker starts.

    In pytest_configure, hiercl might be imported before jaxtyping has installed its checks.
    """
    if hasattr(session.config, "workerinput"):
        import torch

        torch.set_num_threads(1)  # the workers share the cores already
        return
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    prepare(say=terminal.write_line if terminal else print)


def real(name):
    """Returns the real training and test set of this name. Without them, the test is skipped."""
    from hiercl.datasets import data_root, load
    from hiercl.datasets.store import is_store

    if not all(is_store(data_root() / name / part) for part in ("train", "test")):
        pytest.skip(f"the real {name} is not at ../shared/data")
    return load(name)


@pytest.fixture(scope="session")
def real_cifar100():
    """The real training and test set of CIFAR-100."""
    return real("cifar100")


@pytest.fixture(scope="session")
def real_omniglot():
    """The real drawings of a part of Omniglot."""
    return real("omniglot")


@pytest.fixture(scope="session")
def real_modelnet10():
    """The real shapes of ModelNet10, with half of the test shapes."""
    return real("modelnet10")


@pytest.fixture(scope="session")
def real_modelnet40():
    """The real shapes of ModelNet40, from volumes, with most of the test shapes."""
    return real("modelnet40")


@pytest.fixture(scope="session")
def browser():
    """Chromium, for the tests of pages."""
    paths = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
    if not (path := next(filter(None, paths), None)):
        pytest.skip("there is no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        yield chromium
        chromium.close()


@pytest.fixture
def as_a_user():
    """Turns off the checks of annotations, which only tests have, so that wrong arguments reach the functions."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
