"""Feed: the same items from memory, from disk and from picture files that workers decode."""

import os
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from support.data import SMALL, pictures

from hiercl.datasets import HierarchicalDataset, UnreadablePictures, folder
from hiercl.datasets.items import IMAGES
from hiercl.datasets.loader import Feed
from hiercl.encoders import make_encoder
from hiercl.encoders.embedding import embed
from hiercl.training.loop import fit


@pytest.fixture
def files(tmp_path):
    """48 pictures in folders, decoded when they are asked for."""
    data = pictures(48)
    for number, (item, label) in enumerate(zip(data.items, data.labels, strict=True)):
        path = (tmp_path / "mine").joinpath(*data.hierarchy.path(label), f"{number:02d}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(item).save(path)
    return folder(tmp_path / "mine", size=16, store=False, root=tmp_path)


@pytest.mark.parametrize("workers", [0, 2])
def test_decoded_ahead_or_not_the_items_are_the_same(files, workers):
    index = [torch.tensor([[5, 3], [0, 47]]), torch.tensor([[7, 7]])]
    feed = Feed(files, "cpu", workers=workers)
    found = list(feed.batches(index))
    for places, items in zip(index, found, strict=True):
        assert items.shape == (*places.shape, 16, 16, 3)
        assert (items.numpy() == np.asarray(files.items)[places.numpy()]).all()
        assert torch.equal(feed[places], items)


def test_workers_leave_the_users_random_numbers_alone(files):
    before = torch.get_rng_state()
    list(Feed(files, "cpu", workers=1).batches([torch.arange(4)]))
    assert torch.equal(torch.get_rng_state(), before)


class WhoReads:
    """Items that say which process looked them up."""

    def __getitem__(self, index):
        return np.full((len(index), 1), os.getpid())


def test_workers_stay_from_epoch_to_epoch(as_a_user):
    feed = Feed(SimpleNamespace(items=WhoReads(), form=IMAGES), "cpu", workers=1)
    batches = [torch.tensor([3]), torch.tensor([4])]
    epochs = [{int(part) for part in feed.batches(batches)} for _ in range(3)]
    assert len(set.union(*epochs)) == 1 and os.getpid() not in epochs[0]
    half_way = feed.batches(batches)
    first = int(next(half_way))
    assert {int(part) for part in feed.batches(batches)}.isdisjoint({first})  # these are busy: other workers
    assert int(next(half_way)) == first


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_breaks_later_is_named(files, tmp_path, workers):
    path = next((tmp_path / "mine").rglob("05.png"))
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UnreadablePictures, match=r"05\.png"):
        list(Feed(files, "cpu", workers=workers).batches([torch.arange(48)]))


def test_training_on_files_is_that_on_an_array(files):
    settings = SMALL | {"epochs": 2, "batch": 16}
    stored = type(files)(np.asarray(files.items), files.labels, files.hierarchy, files.name, files.note)
    on_files, on_array = (fit("moco", data, workers=1, **settings) for data in (files, stored))
    for name, value in on_array.method.state_dict().items():
        assert torch.equal(value, on_files.method.state_dict()[name]), name
    encoder = make_encoder("convnet", [0.5] * 3, [0.5] * 3)
    assert torch.equal(embed(encoder, files), embed(encoder, stored))


def test_an_array_is_in_memory_once_and_a_mapped_one_is_read_into_it(tmp_path):
    data = pictures(8)
    data.items.flags.writeable = False
    feed = Feed(data, "cpu")
    assert feed.on_device.data_ptr() == data.items.ctypes.data
    data.save(tmp_path / "store")
    mapped = HierarchicalDataset.load(tmp_path / "store")
    assert isinstance(mapped.items, np.memmap)
    held = Feed(mapped, "cpu").on_device
    assert held.data_ptr() != mapped.items.ctypes.data and torch.equal(held, feed.on_device)
    part = mapped.take([3, 1]).items
    assert type(part) is np.ndarray and Feed(mapped.take([3, 1]), "cpu").on_device.tolist() == part.tolist()
