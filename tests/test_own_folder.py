"""benchmarks/own_folder.py, small: broken pictures are listed, the rest is trained on and evaluated."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "own_folder.py"


@pytest.mark.parametrize("store", [True, False])
def test_a_folder_with_damage_from_the_disk_to_a_report(store, capsys):
    spec = importlib.util.spec_from_file_location("own_folder", SCRIPT)
    script = sys.modules["own_folder"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    report = script.main(script.OwnFolder(pictures=240, method="moco", epochs=1, store=store))
    said = capsys.readouterr().out
    assert "UnreadablePictures: 2 of" in said and "nothing in it" in said
    assert len(report.rows) == 3 and report.protocol["train_items"] + report.protocol["test_items"] > 200
    assert "2 pictures left out that cannot be read" in report.protocol["train_note"]
