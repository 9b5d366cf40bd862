"""featurise: a data set as a model sees it, computed once, block by block, and kept on disk."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from hiercl.datasets import Feed, HierarchicalDataset, data_root
from hiercl.datasets.block_file import BlockFile
from hiercl.encoders.base import Encoder, half_precision_is_native
from hiercl.encoders.embedding import Model, ready
from hiercl.encoders.given import Given
from hiercl.encoders.modalities import modality_of
from hiercl.encoders.own import Values, as_encoder
from hiercl.runtime.config import Config, distribute, without_added
from hiercl.runtime.given import given_path, whole_number
from hiercl.runtime.progress import progress_bar
from hiercl.runtime.seeds import generator, stream_seed
from hiercl.runtime.types import Float
from hiercl.views import Views

FORMAT = 1  # raise it with every change that changes numbers, or old files stay in use


def featurise(
    dataset: HierarchicalDataset,
    encoder: Model,
    views: int = 4,
    out: str | Path | None = None,
    *,
    seed: int = 0,
    batch: int = 128,
    dtype: Literal["float32", "float16"] = "float32",
    resize: int | None = None,
    mean: Values | None = None,
    std: Values | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
    **view_settings: Any,
) -> HierarchicalDataset:
    """Embeds a data set once with any model: every item as it is, and augmented views of it. The result is vectors.

    Training on vectors takes seconds where the network itself would take hours. The features are computed block by
    block and written to a file, so that no more than a block is in memory. If that is interrupted, the next call goes
    on where it stopped, with the same numbers. If the file is there, the call returns at once: its name has a hash of
    the items, of the encoder with its weights, and of the settings.

    Args:
        dataset: the items.
        encoder: a run, a pretrained model, an :class:`Encoder`, a ``torch.nn.Module``, or a function that makes one. A
            name would make an untrained network.
        views: number of augmented views of each item, from 0 on.
        out: folder of the files; by default ``features`` below :func:`hiercl.datasets.data_root`.
        seed: seed of the views. Every block and every view has random numbers of its own.
        batch: items of a block. Results of different values differ by their random numbers.
        dtype: how numbers are stored. "float16" halves the file; it is read into memory as float32.
        resize: side in pixels that pictures are brought to, see :func:`hiercl.encoders.as_encoder`.
        mean: what is subtracted from every channel, see there.
        std: what every channel is divided by, see there.
        device: where to compute; by default where the model is.
        progress: whether to show a progress bar.
        view_settings: settings of the views, such as ``crop``, ``crop_scale`` or ``jitter``
            (:class:`hiercl.views.ViewConfig`, ``PointViewConfig``, ``VectorViewConfig``). By default a view is as large
            as its item: as many pixels a side, all points.

    Returns:
        Vectors, ``[n, 1 + views, width]``, memory-mapped; view 0 is what :func:`hiercl.embed` gives. Labels, hierarchy
        and names are those of the data set, which is their ``source``, so that plots show its items.

    Raises:
        ValueError: a model that does not fit the items, a name, an unknown setting of the views, or features that are
            not finite.
        OSError: the folder cannot be written, or its disk is too small. The message says how much space is needed.

    Example:
        >>> vectors = hiercl.featurise(train, hiercl.pretrained("hcsc"), views=2, progress=False)
        >>> vectors
        HierarchicalDataset('shapes by hcsc': 120 vectors 3x256, ...)
    """
    _check(dataset, encoder, views, batch, dtype)
    name, made = _name(encoder), as_encoder(encoder, dataset, resize, mean, std)
    modality = modality_of(dataset)
    full = {modality.size_setting: dataset.form.size(dataset.items.shape)} if modality.size_setting else {}
    config = distribute(full | view_settings, modality.view_config)[0]
    config = modality.resolve_views(config, dataset.items.shape)
    drawn = without_added(type(config), config.to_json())
    settings = {"views": views, "seed": seed, "batch": batch, "dtype": dtype, "view settings": drawn}
    about = {"format": FORMAT, "data": _hash_items(dataset.items), "encoder": _describe(made), **settings}
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]
    folder = data_root() / "features" if out is None else given_path(out, "out").expanduser()
    path = folder / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', f'{dataset.name}-{name}')}-{digest}.npy"
    title = f"{dataset.name} by {name}"
    if not path.is_file():
        make_views = modality.views(config, {"mean": made.mean, **dataset.form.units(dataset.items)})
        with BlockFile(path, (len(dataset), 1 + views, made.width), dtype, batch) as file, ready(made, device) as place:
            with progress_bar(
                shown=progress, total=len(dataset), initial=file.done * batch, desc=title, unit=""
            ) as bar:
                for block in _blocks(dataset, *place, make_views, views, seed, file):
                    file.append(block)
                    bar.update(len(block))
    items = np.load(path, mmap_mode="r" if dtype == "float32" else None, allow_pickle=False)
    return HierarchicalDataset(
        items.astype(np.float32, copy=False),
        dataset.labels,
        dataset.hierarchy,
        title,
        "; ".join(filter(None, [dataset.note, _note(name, views, config, modality.view_config())])),
        dataset.ids,
        dataset.source if dataset.modality == "vectors" else dataset,
        "vectors",
    )


def _blocks(
    dataset: HierarchicalDataset,
    encoder: Encoder,
    device: torch.device,
    make_views: Views,
    views: int,
    seed: int,
    file: BlockFile,
) -> Iterator[Float[np.ndarray, "block views width"]]:
    """Yields the features of the blocks that the file lacks. Every block and every view has a generator of its own."""
    feed, half = Feed(dataset, device, hold=False), half_precision_is_native(device)
    rows = torch.arange(len(dataset)).split(file.block)[file.done :]
    for index, items in zip(rows, feed.batches(rows), strict=True):
        found = np.empty((len(index), *file.shape[1:]), dtype=file.dtype)
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=half), np.errstate(over="ignore"):
            found[:, 0] = encoder(feed.form.to_map(items)).float().cpu()
            for view in range(1, 1 + views):
                draws = generator(device, stream_seed(seed, view, "views"), file.done, "views")
                found[:, view] = encoder(make_views(items, draws)).float().cpu()
        finite = np.isfinite(found).all(axis=(1, 2))
        if not finite.all():
            wrong = int(index[int(np.argmin(finite))])
            raise ValueError(f"the features of item {wrong} of {dataset.name!r} are not finite in {file.dtype}")
        yield found


def _check(dataset: Any, encoder: Any, views: int, batch: int, dtype: str) -> None:
    if not isinstance(dataset, HierarchicalDataset):
        raise ValueError(f"a {type(dataset).__name__} is no data set: featurise takes one, first train, then test")
    if isinstance(encoder, str):
        raise ValueError(
            f"{encoder!r} makes an untrained network, another one at every call: give a run, hiercl.pretrained(name), "
            "or a module with its weights"
        )
    whole_number(views, "views")
    whole_number(batch, "batch")
    if views < 0 or batch < 1 or dtype not in ("float32", "float16"):
        raise ValueError(
            f"views={views}, batch={batch}, dtype={dtype!r}: views must be at least 0, batch at least 1, and dtype "
            "'float32' or 'float16'"
        )


def _name(encoder: Any) -> str:
    """What a run, a pretrained model, a module or a function is called."""
    names = (getattr(encoder, name, None) for name in ("name", "about", "origin", "__name__"))
    return next((name for name in names if isinstance(name, str)), type(encoder).__name__)


def _note(name: str, views: int, config: Config, default: Config) -> str:
    if not views:
        return f"features of {name}"
    changed = {key: value for key, value in vars(config).items() if value != getattr(default, key)}
    shown = ", ".join(f"{key} {value}" for key, value in changed.items())
    return f"features of {name} with {views} views of each item" + (f" ({shown})" if shown else "")


def _describe(encoder: Encoder) -> dict[str, Any]:
    """What tells an encoder from others: its weights, its layers and the code of its class."""
    code = Given.of(type(getattr(encoder, "net", encoder))).code
    return {**Given.of(encoder).to_json(), "class": code, "resize": encoder.resize, "pool": encoder.pool.how}


def _hash_items(items: Any) -> str:
    """A hash of all items; of picture files their paths, sizes and times of change."""
    digest = hashlib.sha256(f"{items.dtype} {items.shape}".encode())
    if not hasattr(items, "paths"):
        for start in range(0, len(items), 1024):
            digest.update(np.ascontiguousarray(items[start : start + 1024]).data)
    else:
        for path in items.paths.tolist():
            state = os.stat(items.root / path)
            digest.update(json.dumps([path, state.st_size, state.st_mtime_ns]).encode())
    return digest.hexdigest()
