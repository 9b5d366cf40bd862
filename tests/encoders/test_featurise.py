"""A data set as an encoder sees it: its numbers, its file, and what happens when the writing of it is interrupted."""

import numpy as np
import pytest
import torch
from support.data import clouds, pictures

import hiercl
from hiercl.datasets.block_file import BlockFile
from hiercl.encoders.featurise import featurise


class Counting(torch.nn.Module):
    """A tiny encoder that counts its batches, and stops at one of them."""

    def __init__(self, stop_at=None):
        super().__init__()
        torch.manual_seed(0)
        self.convolution = torch.nn.Conv2d(3, 8, 3)
        self.calls, self.stop_at = [], stop_at

    def forward(self, x):
        self.calls.append(len(x))
        if len(self.calls) == self.stop_at:
            raise KeyboardInterrupt
        return self.convolution(x).amax(dim=(2, 3))

    def __deepcopy__(self, memo):  # so that the calls of a copy are counted here
        return self


DATA = pictures(40)


def run(encoder, out, **settings):
    return featurise(DATA, encoder, **{"views": 2, "out": out, "batch": 16, "progress": False, **settings})


def test_view_0_is_what_embed_gives_and_the_others_are_views(tmp_path):
    vectors = run(Counting(), tmp_path)
    assert vectors.items.shape == (40, 3, 8) and isinstance(vectors.items, np.memmap)
    np.testing.assert_allclose(vectors.items[:, 0], hiercl.embed(Counting(), DATA), atol=1e-5)
    assert (vectors.items[:, 1] != vectors.items[:, 2]).any() and (vectors.items[:, 0] != vectors.items[:, 1]).any()
    assert vectors.source is DATA and vectors.take([3, 1]).source.labels.tolist() == DATA.labels[[3, 1]].tolist()
    assert vectors.name == "stripes by Counting" and "2 views of each item (crop 16)" in vectors.note
    assert np.array_equal(vectors.labels, DATA.labels) and vectors.modality == "vectors"


def test_an_interrupted_call_goes_on_with_the_same_numbers(tmp_path):
    whole = run(Counting(), tmp_path / "whole")
    after_dry_pass = len(Counting().calls)
    stopped = Counting()
    run(stopped, tmp_path / "dry")
    dry = len(stopped.calls) - 3 * 3  # passes that find out what the module is: not of the three blocks, three views
    with pytest.raises(KeyboardInterrupt):
        run(Counting(stop_at=dry + 3 + 2), tmp_path)  # in the second view of the second block
    assert after_dry_pass == 0 and not list(tmp_path.glob("*.npy"))
    (part,) = tmp_path.glob("*.part")
    with open(part, "ab") as file:
        file.write(b"half a block")
    rest = Counting()
    vectors = run(rest, tmp_path)
    assert len(rest.calls) - dry == 2 * 3 and np.array_equal(vectors.items, whole.items)
    again = Counting()
    assert np.array_equal(run(again, tmp_path).items, whole.items) and len(again.calls) == dry
    assert not list(tmp_path.glob("*.part"))


def test_the_file_is_that_of_these_items_this_encoder_and_these_settings(tmp_path):
    other = Counting()
    with torch.no_grad():
        other.convolution.bias[0] += 1
    changed = DATA.take(np.arange(39))
    (
        run(Counting(), tmp_path),
        run(other, tmp_path),
        run(Counting(), tmp_path, seed=1),
        run(Counting(), tmp_path, crop=12),
    )
    run(Counting(), tmp_path, resize=20), featurise(changed, Counting(), out=tmp_path, progress=False)
    assert len(list(tmp_path.glob("*.npy"))) == 6
    half = run(Counting(), tmp_path, dtype="float16").items
    np.testing.assert_allclose(half, run(Counting(), tmp_path).items, atol=2e-3)
    assert half.dtype == np.float32


def test_clouds_runs_and_vectors(tmp_path):
    data = clouds(12)
    model = hiercl.fit("simclr", data, encoder="pointnet_vanilla", epochs=1, batch=6, points=16, progress=False)
    vectors = featurise(data, model, views=1, out=tmp_path, progress=False)
    assert vectors.name == "boxes by simclr" and "(points 32)" in vectors.note
    again = featurise(vectors, torch.nn.Linear(vectors.items.shape[2], 4), views=3, out=tmp_path, progress=False)
    assert again.items.shape == (12, 4, 4) and again.source is data


def test_wrong_use(tmp_path):
    for arguments, message in [
        ((DATA, "convnet"), "'convnet' makes an untrained network"),
        ((DATA, Counting(), -1), "views must be at least 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            featurise(*arguments, out=tmp_path)
    with pytest.raises(ValueError, match="Unknown setting 'cropp'"):
        run(Counting(), tmp_path, cropp=3)
    broken = Counting()
    broken.convolution.weight.data.mul_(1e6)
    with pytest.raises(ValueError, match="features of item 0 of 'stripes' are not finite in float16"):
        run(broken, tmp_path, dtype="float16")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"(?s)cannot be written to .*file.* needs 0.00 GiB more.*another folder"):
        run(Counting(), tmp_path / "file")
    with pytest.raises(OSError, match=r"GiB are free\); it needs 14,901.16 GiB more"):
        with BlockFile(tmp_path / "huge.npy", (10**9, 4000), "float32", 100):
            pass
