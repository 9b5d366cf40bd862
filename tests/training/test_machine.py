"""machine: what it measures, and the minutes that follow from it."""

import pytest

import hiercl
from hiercl.training.machine import Machine


def test_a_machine_is_measured_and_says_minutes():
    found = hiercl.machine("mlp", "convnet")
    assert list(found.rates) == ["mlp", "convnet"] and all(rate > 0 for rate in found.rates.values())
    assert 0 <= found.free_cores <= found.cores and found.memory > 0 and found.precision in ("bf16", "float32")
    assert found.minutes(600, 10, "convnet") == pytest.approx(100 / found.rates["convnet"])
    assert "convnet" in str(found)


def test_what_was_not_measured_is_an_error():
    with pytest.raises(ValueError, match=r"give hiercl.machine\('dgcnn'\)"):
        Machine("cpu", 2, 2.0, 1, "float32", {"mlp": 1.0}).minutes(10, encoder="dgcnn")
    with pytest.raises(ValueError, match="encoder"):
        hiercl.machine("convent")
