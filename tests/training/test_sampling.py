"""Batches with equally many items of every class, and augmentations of one's own."""

import dataclasses

import numpy as np
import pytest
import torch
from support.data import SMALL, clouds, pictures
from support.runs import same
from torch import nn
from torchvision.transforms import v2

from hiercl.datasets import HierarchicalDataset
from hiercl.encoders.modalities import MODALITIES
from hiercl.evaluation.frozen import two_views
from hiercl.runtime.identity import identity_hash
from hiercl.runtime.processes import Processes
from hiercl.runtime.seeds import Draws
from hiercl.training.loop import fit
from hiercl.training.optimisation import FitConfig
from hiercl.training.recipe import make_recipe
from hiercl.training.runs import load_run
from hiercl.training.sampling import balanced_order
from hiercl.views import Augmentation, AugmentedViews, ImageViews, ViewConfig, one_by_one

ONE = {**SMALL, "epochs": 1}


def order_of(labels, batch, steps, seed=0):
    return balanced_order(torch.as_tensor(labels), batch, steps, torch.Generator().manual_seed(seed)).view(steps, batch)


# -- balanced batches -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [2, 5, 12, 31])
@pytest.mark.parametrize("unlabelled", [0, 7, 40])
def test_batches_are_balanced_and_items_come_in_turns(batch, unlabelled):
    labels = np.r_[np.zeros(50), np.ones(9), np.full(3, 2), np.full(20, 3), np.full(unlabelled, -1)].astype(int)
    steps = len(labels) // batch
    order = order_of(labels, batch, steps)
    counts = np.stack([np.bincount(labels[row] + 1, minlength=5) for row in order.numpy()])
    assert (np.ptp(counts[:, 1:], axis=1) <= 1).all() and np.ptp(counts[:, 1:].sum(axis=0)) <= 1
    share = np.cumsum(counts[:, 0]) - unlabelled * batch / len(labels) * np.arange(1, steps + 1)
    assert (np.abs(share) < 1).all()
    for label in np.unique(labels):
        times = np.bincount(order.flatten(), minlength=len(labels))[labels == label]
        assert np.ptp(times) <= 1  # nobody a second time before all had their first


def test_another_epoch_has_another_order_and_the_same_seed_the_same():
    labels = np.arange(40) % 4
    assert torch.equal(order_of(labels, 8, 5), order_of(labels, 8, 5))
    assert not torch.equal(order_of(labels, 8, 5), order_of(labels, 8, 5, seed=1))
    first = labels[order_of(labels, 8, 50)[:, :4].numpy()]  # the rows of one of two processes are mixed as well
    assert len({tuple(row) for row in first.tolist()}) > 20


def test_training_is_balanced_and_resumes_bit_for_bit(tmp_path):
    data = pictures(48).take(np.r_[np.arange(0, 48, 4), [1, 2, 3]])  # twelve of one class, one of the others
    settings = {**SMALL, "batch": 8, "sampler": "balanced", "sampler_level": 0}
    seen = []

    class Watched(fit("supcon", data, **ONE | {"epochs": 0}).recipe.method):
        name = "watched"

        def forward(self, batch):
            seen.append(np.bincount(data.labels_at(0)[batch.items[:, 0]], minlength=2).tolist())
            return super().forward(batch)

    whole = fit(Watched, data, **settings)
    assert seen == [[4, 4]] * (3 * (15 // 8))

    def interrupt(run):
        raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Interrupted"):
        fit(Watched, data, **settings, out=tmp_path / "run", callbacks=[interrupt])
    assert same(whole, fit(Watched, data, **settings, out=tmp_path / "run", resume=True))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"sampler": "balanced", "sampler_level": 2}, "there is no level 2"),
        ({"sampler_level": 0}, "sampler_level=0 has no effect without sampler='balanced'"),
        ({"augment_at": "before"}, "augment_at='before' has no effect without augment="),
        ({"augment": "flip"}, "augment='flip': it must be a function or None"),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        fit("simclr", pictures(8), **ONE, **settings)


def test_without_labels_there_is_nothing_to_balance():
    data = pictures(8)
    with pytest.raises(ValueError, match="stripes has no labels: give labelled data, or leave it out"):
        fit("simclr", dataclasses.replace(data, labels=np.full(8, -1)), **ONE, sampler="balanced")


# -- augmentations of one's own ---------------------------------------------------------------------------------


def noisy(batch):
    return batch + 0.05 * torch.randn_like(batch)


class Erase(nn.Module):
    def __init__(self, size=2):
        super().__init__()
        self.size = size

    def forward(self, batch):
        top, left = torch.randint(batch.shape[2] - self.size, (2,)).tolist()
        batch[..., top : top + self.size, left : left + self.size] = 0
        return batch


def vectors(n=32, views=3):
    rng = np.random.default_rng(0)
    data = pictures(n)
    return HierarchicalDataset.from_features(rng.normal(size=(n, views, 6)), data.labels, data.hierarchy)


@pytest.mark.parametrize("at", ["before", "after", "instead"])
@pytest.mark.parametrize("make, shape", [(pictures, 4), (clouds, 4), (vectors, 2)])
def test_it_gets_maps_and_its_result_is_what_is_seen(make, shape, at):
    """An augmentation that changes nothing changes nothing, and one that empties the items empties the views."""
    data, draws = make(), lambda: torch.Generator().manual_seed(3)
    form, items = data.form, torch.as_tensor(np.array(data.items[:8]))
    recipe = make_recipe("simclr", data, {})
    ours = recipe.make_views()
    got = []

    def identity(batch):
        got.append(batch)
        return batch.clone()

    views = AugmentedViews(ours, Augmentation.of(identity), at, form)
    seen = views(items, draws())
    assert got[0].ndim == shape and got[0].dtype == torch.float32
    whole = form.to_map(items)
    if at == "instead":
        assert torch.equal(seen, whole)
    elif at == "after":
        assert torch.equal(seen, ours(items, draws()))
    else:
        random = draws()
        torch.rand(2, generator=random)  # the seed of the augmentation
        assert torch.allclose(seen, ours(items, random), atol=1e-6)
    if data.modality == "images":
        assert 0 <= got[0].min() and got[0].max() <= 1
    before = items.clone()
    AugmentedViews(ours, Augmentation.of(lambda batch: batch.zero_()), at, form)(items, draws())
    assert torch.equal(items, before)  # also an augmentation in place leaves the items


def test_before_ours_it_sees_whole_pictures_and_after_ours_their_crops():
    data, sizes = pictures(16), []

    def watch(batch):
        sizes.append(tuple(batch.shape))
        return batch

    settings = ONE | {"batch": 16, "crop": 8, "queue": 16, "neighbours": 0, "augment": watch}
    for at in ("before", "after", "instead"):
        fit("csml", data, **settings, augment_at=at)
    assert sizes == [(16, 3, 16, 16)] * 2 + [(16, 3, 8, 8)] * 2 + [(16, 3, 16, 16)] * 2
    sizes.clear()
    fit("csml", data, **settings, local_crops=2)
    assert [size[2] for size in sizes] == [8, 8, 7, 6]
    with pytest.raises(ValueError, match="they cut the local crops: choose augment_at='after'"):
        fit("csml", data, **settings, local_crops=1, augment_at="instead")


def test_runs_repeat_resume_and_leave_the_callers_numbers_alone(tmp_path):
    data = pictures(32)
    settings = {**SMALL, "augment": noisy}
    torch.manual_seed(7)
    whole, after = fit("simclr", data, **settings), torch.rand(1)
    torch.manual_seed(7)
    assert torch.rand(1) == after

    def interrupt(run):
        raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="Interrupted"):
        fit("simclr", data, **settings, out=tmp_path / "run", callbacks=[interrupt])
    assert same(whole, fit("simclr", data, **settings, out=tmp_path / "run", resume=True))
    assert not same(whole, fit("simclr", data, **SMALL))
    with pytest.raises(ValueError, match=r"has other settings \(augment"):
        fit("simclr", data, **SMALL | {"augment": lambda batch: batch}, out=tmp_path / "run", resume=True)


def test_processes_have_other_numbers():
    views = AugmentedViews(
        ImageViews(ViewConfig()), Augmentation.of(torch.rand_like), "instead", MODALITIES["images"].form
    )
    items = torch.zeros(4, 16, 16, 3, dtype=torch.uint8)
    first, second = (views(items, Draws(torch.Generator().manual_seed(0), Processes(rank, 2))) for rank in range(2))
    assert not torch.equal(first, second)


def test_a_loaded_run_needs_it_for_views_alone(tmp_path):
    data = pictures(16)
    run = fit("simclr", data, **ONE, augment=noisy, out=tmp_path / "run")
    loaded = load_run(tmp_path / "run")
    assert loaded.config == run.config and loaded.config["fit"]["augment"] == {
        "function": "noisy",
        "code": identity_hash(noisy),
    }
    loaded.save(tmp_path / "again")
    for draw in (lambda: loaded.step(data), lambda: two_views(loaded, data, 0)):
        with pytest.raises(ValueError, match=r"was your function 'noisy'.*load_run\(path, augment=your_function\)"):
            draw()
    given = load_run(tmp_path / "again", augment=noisy)
    assert torch.equal(given.step(data).loss, run.step(data).loss)
    assert all(torch.equal(*both) for both in zip(two_views(given, data, 0), two_views(run, data, 0), strict=True))


def test_evaluations_random_views_have_it():
    run = fit("simclr", pictures(16), **ONE | {"epochs": 0}, augment=torch.zeros_like)
    first, second = two_views(run, pictures(16), 0)
    assert torch.equal(first, second) and torch.equal(first, first[:1].expand_as(first))


@pytest.mark.parametrize(
    "augment, message",
    [
        (lambda batch: batch[:2], r"'<lambda>' returns \[2, 3, 12, 12\] for a batch \[16, 3, 12, 12\]"),
        (lambda batch: batch[..., :6], "the shape must stay"),
        (lambda batch: batch.double(), "returns torch.float64: it gets torch.float32"),
        (lambda batch: (255 * batch).byte(), "returns torch.uint8"),
        (lambda batch: batch / 0, "numbers that are not finite"),
        (lambda batch: batch.numpy(), "returns a ndarray"),
        (v2.Normalize([0.5] * 3, [0.1] * 3), "'Normalize' returns pictures from .* the encoder does by itself"),
    ],
)
def test_what_no_encoder_can_take(augment, message):
    with pytest.raises(ValueError, match=message):
        fit("simclr", pictures(16), **ONE, augment=augment)


def test_an_error_inside_names_the_function():
    with pytest.raises(ZeroDivisionError) as error:
        fit("simclr", pictures(16), **ONE, augment=lambda batch: 1 / 0)
    assert "This happened in augment, '<lambda>', for a batch [16, 3, 12, 12]." in error.value.__notes__


def test_torchvision_and_modules_work():
    for augment in (v2.GaussianBlur(3), one_by_one(v2.RandomResizedCrop(12)), Erase()):
        assert fit("simclr", pictures(16), **ONE, augment=augment).history["loss"].notna().all()
    fit("simclr", pictures(16), **ONE, augment=v2.RandomResizedCrop(10), augment_at="instead")
    batch = torch.rand(8, 3, 16, 16)
    apart = one_by_one(v2.RandomCrop(4))(batch.clone().fill_(0) + torch.arange(16.0))
    assert len({float(item[0, 0, 0]) for item in apart}) > 1  # each was cut at another place


def test_functions_are_told_apart():
    def made(factor):
        return lambda batch: batch * factor

    assert identity_hash(made(1)) == identity_hash(made(1)) != identity_hash(made(2))
    assert identity_hash(Erase(2)) == identity_hash(Erase(2)) != identity_hash(Erase(3))
    assert identity_hash(one_by_one(Erase(2))) != identity_hash(one_by_one(Erase(3)))
    assert identity_hash(v2.Compose([Erase(2), noisy])) == identity_hash(v2.Compose([Erase(2), noisy]))
    assert identity_hash(Erase(2).forward) != identity_hash(Erase(3).forward)
    assert identity_hash(lambda batch, draws=torch.Generator(): batch) is None  # noqa: B008
    assert FitConfig(augment=Erase(2)) == FitConfig(augment=Erase(2)) != FitConfig(augment=Erase(3))
