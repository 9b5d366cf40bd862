"""Set-up of the tests: the real data where it is there, and one thread for each pytest-xdist worker."""

import pytest
from real_data import prepare_cifar100


def pytest_sessionstart(session):
    """Prepare the real data once, before any worker starts.

    Not in pytest_configure: there, hiercl could be imported before the jaxtyping checks are installed on it.
    """
    if hasattr(session.config, "workerinput"):
        import torch

        torch.set_num_threads(1)  # the workers share the cores already
        return
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    prepare_cifar100(say=terminal.write_line if terminal else print)


@pytest.fixture(scope="session")
def real_cifar100():
    """The real training and test set of CIFAR-100."""
    from hiercl.datasets import data_root, load
    from hiercl.datasets.store import is_store

    if not all(is_store(data_root() / "cifar100" / split) for split in ("train", "test")):
        pytest.skip("the real CIFAR-100 is not at ../shared/data")
    return load("cifar100")
