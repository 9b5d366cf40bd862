"""evaluate and embed."""

import numpy as np
import pytest
import torch
from test_training import SMALL, pictures

from hiercl.evaluation import Report, embed, evaluate
from hiercl.training import fit


@pytest.fixture(scope="module")
def run():
    return fit("moco", pictures(), **{**SMALL, "epochs": 1, "queue": 40})


def test_embedding_is_the_encoders_feature_in_data_order(run):
    data = pictures(40)
    features = embed(run, data)
    assert features.shape == (40, run.encoder.width) and features.dtype == torch.float32
    one = torch.from_numpy(np.array(data.items[7:8])).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        assert torch.allclose(run.encoder(one)[0], features[7], rtol=0.05, atol=0.05)  # embed may run in bf16
    assert torch.allclose(embed(run, data.take([7, 3])), features[[7, 3]], rtol=0.05, atol=0.05)


def test_report_says_everything_and_goes_around(run, tmp_path):
    report = evaluate(run, pictures(80), pictures(40, seed=1))
    table = report.table()
    assert table.index.tolist() == ["group", "class"] and table["classes"].tolist() == [2, 4]
    assert ((table[["linear", "knn", "ami"]] <= 100) & (table[["linear", "knn"]] >= 0).all(axis=None)).all(axis=None)
    report.save(tmp_path)
    assert Report.load(tmp_path).rows == report.rows and (tmp_path / "report.csv").exists()
    text = str(report)
    assert "k = 20" in text and "L-BFGS" in text and "80 training and 40 test items" in text
    assert report.protocol["run"] == run.config


def test_an_encoder_alone_can_be_evaluated(run):
    assert evaluate(run.encoder, pictures(40), pictures(20, seed=1)).protocol["run"] is None


def test_data_sets_must_share_their_hierarchy(run):
    with pytest.raises(ValueError, match="same names"):
        evaluate(run, pictures(40).under("a"), pictures(40))
