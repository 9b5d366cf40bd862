"""Loads a data set: one that is known by its name, or pictures and array stores of the user."""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from hiercl.datasets.base import SPLITS, Splits, check_same_hierarchy, read_splits, read_store
from hiercl.datasets.feature_reading import read_features
from hiercl.datasets.feature_sources import ENDINGS as FEATURE_ENDINGS
from hiercl.datasets.feature_sources import TABLE_ENDINGS
from hiercl.datasets.pictures.folder import load as _load_folder
from hiercl.datasets.pictures.table import load as _load_table
from hiercl.datasets.root import data_root
from hiercl.datasets.splits import joined
from hiercl.datasets.store import is_store
from hiercl.runtime.errors import unknown
from hiercl.runtime.given import given_path

# The module of each data set, which has a function load(root, ...), and the arguments after the root. A module is
# imported when its data set is loaded, so `import hiercl` stays fast.
_NAMES = {
    "cifar100": ("cifar100",),
    "cifar100-features": ("packed", "cifar100-features"),
    "modelnet10": ("modelnet", "modelnet10"),
    "modelnet40": ("modelnet", "modelnet40"),
    "modelnet40-descriptors": ("packed", "modelnet40-descriptors"),
    "modelnet40-features": ("packed", "modelnet40-features"),
    "omniglot": ("omniglot",),
    "shapes": ("shapes",),
}


def load(name: str | Path, root: str | Path | None = None, **options: Any) -> Splits:
    """Loads the training and the test set of a data set.

    If the data have no split of their own, a stratified fifth becomes the test set, and the note says so.

    Args:
        name: one of :func:`names`, or a path: of nested folders of pictures (:func:`hiercl.datasets.folder`), of a CSV
            file of paths and labels (:func:`hiercl.datasets.table`), of a file of features (``.npy``, ``.npz``,
            ``.parquet``, ``.h5ad``, or ``.csv`` with the option ``vectors``; :func:`hiercl.datasets.read_features`), of
            an array store, or of a folder with the array stores ``train`` and ``test``.
        root: folder of all data sets, by default :func:`hiercl.datasets.data_root`.
        options: options of the data set, of :func:`hiercl.datasets.folder`, :func:`hiercl.datasets.table`,
            :func:`hiercl.datasets.read_features` or :func:`hiercl.datasets.read_store`, such as ``size``,
            ``label_columns``, ``labels`` or ``verify``.

    Returns:
        The training set and the test set.

    Raises:
        ValueError: the name is neither known nor a path, or the data set has no such option. The data sets raise
            further errors.

    Example:
        >>> train, test = load("shapes", per_class=2, test_per_class=1)
        >>> train.save("lab/train"), test.save("lab/test")
        (None, None)
        >>> [len(part) for part in load("lab")]
        [60, 30]
    """
    if isinstance(name, str) and name in _NAMES:
        module, *given = _NAMES[name]
        loader = importlib.import_module(f"hiercl.datasets.{module}").load
        return _call(
            loader, name, given_path(root, "root") if root is not None else data_root(), *given, options=options
        )
    if not isinstance(name, str | Path):
        raise ValueError(
            f"the data set is a {type(name).__name__}: give a name ({', '.join(names())}) or a path; arrays become "
            "data sets with hiercl.HierarchicalDataset.from_arrays or from_features"
        )
    path = given_path(name, "name").expanduser()
    if path.is_dir():
        if any(is_store(place) for place in (path, path / "train", path / "test")):
            return _load_stores(path, options)
        return _call(_load_folder, "a folder of pictures", path, root, options=options)
    if path.is_file():
        ending = path.suffix.lower()
        if ending in FEATURE_ENDINGS or (ending in TABLE_ENDINGS and "vectors" in options):
            return _call(read_features, "a file of features", path, options=options)
        if ending not in TABLE_ENDINGS:
            raise ValueError(
                f"{path} is neither a CSV file nor a file of features ({', '.join(FEATURE_ENDINGS)}): give one of "
                "these, a folder of pictures or an array store"
            )
        return _call(_load_table, "a CSV file", path, root, options=options)
    raise ValueError(
        f"{unknown('data set', str(name), names())} Or give the path of a folder of pictures, of a CSV file, of a file "
        f"of features ({', '.join(FEATURE_ENDINGS)}) or of array stores: there is no such folder or file."
    )


def names() -> tuple[str, ...]:
    """Returns the names that :func:`load` knows.

    Example:
        >>> names()[:4]
        ('cifar100', 'cifar100-features', 'modelnet10', 'modelnet40')
    """
    return tuple(sorted(_NAMES))


def _call(loader: Callable, what: str, *given: Any, options: dict[str, Any]) -> Any:
    """Calls a loader, after a check that it has these options."""
    known = list(inspect.signature(loader).parameters)[len(given) :]
    for option in options:
        if not known:
            raise ValueError(f"{what} has no options, got {option!r}")
        if option not in known:
            raise unknown(f"option of {what}:", option, known)
    return loader(*given, **options)


def _load_stores(path: Path, options: dict[str, Any]) -> Splits:
    if all(is_store(path / part) for part in SPLITS):
        train, test = _call(read_splits, "an array store", path, options=options)
        check_same_hierarchy(train, test)
        return train, test
    if is_store(path):
        train, test = _call(read_store, "an array store", path, options=options).split(0.2, seed=0)
        note = joined(test.note, "test is a stratified fifth of a single store")
        return replace(train, note=note), replace(test, note=note)
    raise ValueError(
        f"{path} has an array store in only one of its folders train and test: it needs both; "
        f"hiercl.datasets.write_store writes one"
    )
