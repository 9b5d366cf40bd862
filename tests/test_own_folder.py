"""benchmarks/own_folder.py, small: broken pictures are listed, the rest is trained on and evaluated."""

import own_folder
import pytest


@pytest.mark.parametrize("store", [True, False])
def test_a_folder_with_damage_from_the_disk_to_a_report(store, capsys):
    report = own_folder.main(own_folder.OwnFolder(pictures=120, method="moco", epochs=1, store=store))
    said = capsys.readouterr().out
    assert "UnreadablePictures: 2 of" in said and "nothing in it" in said
    assert len(report.rows) == 3 and report.protocol["train_items"] + report.protocol["test_items"] > 100
    assert "2 pictures left out that cannot be read" in report.protocol["train_note"]
