"""Rows of a memory-mapped array: what is too large to copy stays on disk and trains like a copy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from support.data import METHODS, SMALL, pictures

from hiercl.datasets import HierarchicalDataset, embed_with, loader, rows
from hiercl.datasets.loader import Feed
from hiercl.datasets.rows import Rows
from hiercl.evaluation import evaluate
from hiercl.training.loop import fit


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A store whose items would not fit into memory, by what this process believes of its memory."""
    pictures(48).save(tmp_path / "store")
    monkeypatch.setattr(rows, "free_memory", lambda: 40_000)
    monkeypatch.setattr(loader, "free_memory_here", lambda: 40_000)
    return HierarchicalDataset.load(tmp_path / "store")


def test_parts_of_a_large_store_stay_on_disk(stored, tmp_path):
    plain = pictures(48)
    for taken, expected in (
        (stored.take([5, 3, 40]), plain.take([5, 3, 40])),
        (stored.split(0.4)[0], plain.split(0.4)[0]),
    ):
        assert isinstance(taken.items, Rows if taken.items.nbytes > 5000 else np.ndarray)
        assert (np.asarray(taken.items) == expected.items).all() and taken.fingerprint() == expected.fingerprint()
        assert np.array_equal(taken.items[1:, 0], expected.items[1:, 0]) and repr(taken) == repr(expected)
    half = stored.split(0.4)[0].take(np.arange(10)[::-1])
    assert isinstance(half.items, Rows) and (half.items[0] == plain.split(0.4)[0].items[9]).all()
    half.save(tmp_path / "half")
    assert np.array_equal(np.load(tmp_path / "half" / "items.npy"), np.asarray(half.items))
    feed = Feed(half, "cpu")
    assert feed.on_device is None and feed.workers == 0
    assert torch.equal(feed[torch.tensor([[2]])], torch.from_numpy(half.items[2:3])[None])


def test_training_and_judging_from_disk_are_those_from_memory(stored):
    """Also where some items have no label and are left out."""
    some = np.where(np.arange(48) % 5, stored.labels, -1)
    reports = []
    for data in (replace(stored, labels=some), replace(pictures(48), labels=some)):
        run = fit("moco", data, **SMALL | METHODS["moco"] | {"epochs": 1, "batch": 16})
        reports.append(evaluate(run, data, data, progress=False))
    assert reports[0].table().equals(reports[1].table()) and str(reports[0]) == str(reports[1])


def test_features_are_in_memory_once(stored):
    parts = []

    def function(maps):
        parts.append(maps.flatten(1)[:, :5])
        return parts[-1]

    whole = embed_with(function, Feed(stored, "cpu"), index=torch.arange(40))
    assert torch.equal(whole, torch.cat(parts)) and whole.shape == (40, 5)
