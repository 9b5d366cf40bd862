"""Loads a data set: one that is known by its name, or the user's own pictures and array stores."""

import difflib
import importlib
import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hiercl.datasets.base import HierarchicalDataset, read_store
from hiercl.datasets.pictures.folder import load as _load_folder
from hiercl.datasets.pictures.table import load as _load_table
from hiercl.datasets.root import data_root
from hiercl.datasets.store import is_store

Splits = tuple[HierarchicalDataset, HierarchicalDataset]

# The module of each, which has a function load(root, ...), and what load is given after the root. Modules are imported
# when they are called: hiercl itself stays light.
_NAMES = {
    "cifar100": ("cifar100",),
    "modelnet10": ("modelnet", "modelnet10"),
    "modelnet40": ("modelnet", "modelnet40"),
    "omniglot": ("omniglot",),
    "shapes": ("shapes",),
}


def load(name: str | Path, root: str | Path | None = None, **options: Any) -> Splits:
    """Load the training and the test set of a data set.

    ``name`` is one of `names`, or the path of

    * nested folders of pictures, see `hiercl.datasets.folder`: the folders are the classes. The folders ``train`` and
      ``test`` (or ``val``) in it are the two parts.
    * a CSV file of paths and labels, see `hiercl.datasets.table`. Its column ``split`` says train or test (or val).
    * an array store: a folder with the stores ``train`` and ``test``, or a single store.

    What comes without a split has a stratified fifth split off as the test set. ``root`` is where data sets are kept
    (`data_root` by default). Options go to the loader of the data set, to `folder` or `table` (``size``, ``store``,
    ``skip_unreadable``, ...), or to `read_store`.

    Raises ValueError for a name that is neither known nor a path, for an option that the data set does not have, and
    what the loaders raise.

    Example::

        >>> train, test = load("cifar100")  # doctest: +SKIP
        >>> train, test = load("lab/my_pictures", size=64)  # doctest: +SKIP
        >>> train, test = load("lab/pictures.csv", label_columns=["kind", "class"])  # doctest: +SKIP
        >>> train, test = load("lab/my_store", verify=True)  # doctest: +SKIP
    """
    if isinstance(name, str) and name in _NAMES:
        module, *given = _NAMES[name]
        loader = importlib.import_module(f"hiercl.datasets.{module}").load
        return _call(loader, name, Path(root) if root is not None else data_root(), *given, options=options)
    path = Path(name).expanduser()
    if path.is_dir():
        if any(is_store(place) for place in (path, path / "train", path / "test")):
            return _load_stores(path, options)
        return _call(_load_folder, "a folder of pictures", path, root, options=options)
    if path.is_file():
        if path.suffix.lower() not in (".csv", ".tsv"):
            raise ValueError(f"{path} is a file, but no .csv: give that, a folder of pictures or an array store")
        return _call(_load_table, "a CSV file", path, root, options=options)
    close = difflib.get_close_matches(str(name), names())
    hint = f"did you mean {close[0]!r}? " if close else ""
    raise ValueError(
        f"no data set is named {str(name)!r}, and there is no such folder or file; {hint}The names are "
        f"{', '.join(names())}, or give the path of a folder of pictures, of a CSV file, or of a folder that holds "
        f"array stores."
    )


def names() -> tuple[str, ...]:
    """Give the names that `load` knows."""
    return tuple(sorted(_NAMES))


def _call(loader: Callable, what: str, *given: Any, options: dict[str, Any]) -> Any:
    """Call a loader, after a check that it has these options."""
    known = list(inspect.signature(loader).parameters)[len(given) :]
    for option in options:
        if option not in known:
            offer = f"the options are {', '.join(known)}" if known else "it has no options"
            raise ValueError(f"{what} has no option {option!r}: {offer}")
    return loader(*given, **options)


def _load_stores(path: Path, options: dict[str, Any]) -> Splits:
    if is_store(path / "train") and is_store(path / "test"):
        train, test = (_call(read_store, "an array store", path / part, options=options) for part in ("train", "test"))
        if train.hierarchy != test.hierarchy:
            raise ValueError(
                f"the stores {path / 'train'} and {path / 'test'} have different hierarchies: make them again"
            )
        return train, test
    if is_store(path):
        train, test = _call(read_store, "an array store", path, options=options).split(0.2, seed=0)
        note = "; ".join(part for part in (test.note, "test is a stratified fifth of a single store") if part)
        return replace(train, note=note), replace(test, note=note)
    raise ValueError(
        f"{path} has an array store in only one of its folders train and test: it needs both; "
        f"hiercl.datasets.write_store writes one"
    )
