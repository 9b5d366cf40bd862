"""Data sets with a class hierarchy: load one by its name, or from the folder of an array store."""

import difflib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from hiercl.datasets.base import HierarchicalDataset
from hiercl.datasets.store import is_store, read_store, write_store

__all__ = ["HierarchicalDataset", "data_root", "load", "names", "read_store", "write_store"]

Splits = tuple[HierarchicalDataset, HierarchicalDataset]


def load(name: str | Path, root: str | Path | None = None, **options: Any) -> Splits:
    """Load the training and the test set of a data set.

    ``name`` is one of `names`, or the path of an array store: a folder with the stores ``train`` and ``test``, or
    a single store, of which a stratified fifth is split off as the test set. ``root`` is where data sets are kept
    (`data_root` by default). Options go to the data set's own loader, or to `read_store`.

    Raises ValueError for a name that is neither known nor a folder with array stores.

    Example::

        >>> train, test = load("cifar100")  # doctest: +SKIP
        >>> train, test = load("lab/my_pictures", verify=True)  # doctest: +SKIP
    """
    if isinstance(name, str) and name in _LOADERS:
        return _LOADERS[name](Path(root) if root is not None else data_root(), **options)
    path = Path(name).expanduser()
    if path.is_dir():
        return _load_stores(path, **options)
    close = difflib.get_close_matches(str(name), names())
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ValueError(
        f"no data set is named {str(name)!r}, and there is no such folder; {hint}"
        f"The names are {', '.join(names())}, or give the path of a folder that holds array stores."
    )


def names() -> tuple[str, ...]:
    """Give the names that `load` knows."""
    return tuple(sorted(_LOADERS))


def data_root() -> Path:
    """Give the folder where data sets are kept.

    It is ``$HIERCL_DATA`` if that is set, else ``data`` of the checkout that the package lies in, else
    ``~/.cache/hiercl``.
    """
    if os.environ.get("HIERCL_DATA"):
        return Path(os.environ["HIERCL_DATA"]).expanduser()
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    return Path.home() / ".cache" / "hiercl"


def _load_stores(path: Path, **options: Any) -> Splits:
    if is_store(path / "train") and is_store(path / "test"):
        train, test = read_store(path / "train", **options), read_store(path / "test", **options)
        if train.hierarchy != test.hierarchy:
            raise ValueError(
                f"the stores {path / 'train'} and {path / 'test'} have different hierarchies: make them again"
            )
        return train, test
    if is_store(path):
        train, test = read_store(path, **options).split(0.2, seed=0)
        note = "; ".join(part for part in (test.note, "test is a stratified fifth of a single store") if part)
        return replace(train, note=note), replace(test, note=note)
    raise ValueError(
        f"{path} is no array store: it needs a store.json, or stores in its folders train and test; "
        f"hiercl.datasets.write_store writes one"
    )


# Each loader is imported when it is called, so that importing hiercl stays quick.


def _cifar100(root: Path, **options: Any) -> Splits:
    from hiercl.datasets.cifar100 import load as load_cifar100

    return load_cifar100(root, **options)


def _shapes(root: Path, **options: Any) -> Splits:
    from hiercl.datasets.shapes import load as load_shapes

    return load_shapes(root, **options)


_LOADERS = {"cifar100": _cifar100, "shapes": _shapes}
