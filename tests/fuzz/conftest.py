"""Turns off the checks of annotations, which only tests have: wrong arguments shall reach the functions."""

import jaxtyping
import pytest

collect_ignore = ["support.py"]  # it holds no tests and no examples


@pytest.fixture(scope="module", autouse=True)
def as_users():
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
