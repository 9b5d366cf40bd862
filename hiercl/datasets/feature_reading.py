"""Makes a training and a test set of vectors from a file or an object: what in it are vectors, labels and texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hiercl.datasets.base import HierarchicalDataset, Splits, check_shared_leaf
from hiercl.datasets.feature_sources import Entry, FeatureSource, open_source
from hiercl.datasets.features import check_columns, check_hierarchy, to_numpy
from hiercl.datasets.splits import SPLIT_COLUMNS, find_parts, joined, shared_names, split_column_of, split_values
from hiercl.hierarchy import Hierarchy
from hiercl.runtime.errors import unknown
from hiercl.runtime.types import Int

__all__ = ["read_features"]

LABELS = ("label", "labels", "y", "target", "class")  # columns that are labels where none are named


def read_features(
    source: Any,
    vectors: str | Sequence[str] | None = None,
    labels: Any = None,
    hierarchy: Hierarchy | None = None,
    texts: str | Sequence[str] | None = None,
    test: Any = None,
    name: str | None = None,
) -> Splits:
    """Reads features of a model, embeddings of texts, sounds or cells, as a training and a test set of vectors.

    It takes

    * a path: of a ``.npy``, ``.npz``, ``.parquet``, ``.h5ad`` (AnnData) or ``.csv`` file,
    * an array or a tensor, or a mapping of arrays,
    * an AnnData object, a pandas DataFrame, or a data set of Hugging Face's ``datasets``.

    A split of the source's own is used: the parts of a Hugging Face data set, arrays that are named like ``x_train``,
    ``y_train``, ``x_test``, ``y_test``, or a column ``split`` that says train or test (or val) for each item. Otherwise
    a stratified fifth becomes the test set. The note says what was understood. Files of numpy are never unpickled.

    Args:
        source: what is read.
        vectors: name of the array or column that holds the vectors ``[n, features]`` or ``[n, views, features]``:
            "X", a key of ``obsm`` or a layer for AnnData; or the names of columns that hold one feature each. By
            default the only one that can be meant, or all columns of floats.
        labels: names of the label columns, from coarse to fine, or labels of all items: ``[n]`` or ``[n, levels]``,
            names or whole numbers. By default the column named label, labels, y, target or class; ``[]`` makes the
            items unlabelled. An item whose label is missing or the number −1 has no label.
        hierarchy: the classes. By default they are made of the label columns, where the same name under two parents
            means two classes.
        texts: name of a column of texts, or a text for each item, which plots show.
        test: a second source that holds the test items under the same names, or a mask ``[n]`` that is true for them.
        name: name of the data set; by default that of the file.

    Returns:
        The training set and the test set, with one hierarchy.

    Raises:
        ValueError: nothing can be read, several arrays can be meant, or a name is not there: the message lists what is
            there. Or labels are neither names nor whole numbers, or a sparse matrix does not fit into the memory.

    Example:
        >>> np.savez("cells.npz", x=np.random.rand(10, 50), kind=["B", "T"] * 5, state=["rest", "active"] * 5)
        >>> train, test = read_features("cells.npz", labels=["kind", "state"])
        >>> train
        HierarchicalDataset('cells': 8 vectors 1x50, 2 kind > 2 state; vectors from 'x', labels from 'kind' > 'state';
        test is a stratified fifth of the items)
    """
    for option, given in {"vectors": vectors, "texts": texts}.items():
        several = isinstance(given, list | tuple) and all(isinstance(one, str) for one in given)
        if not (given is None or isinstance(given, str) or several or (option == "texts" and hasattr(given, "dtype"))):
            raise ValueError(f"{option}={given!r}: give the name of a column or array, or a list of names")
        if isinstance(given, list | tuple):
            check_columns(given, option)
    if hierarchy is not None:
        check_hierarchy(hierarchy)
    parts, is_test, note = _parts(source, test)
    if texts is not None and not isinstance(texts, str) and len(parts) == 2:
        raise ValueError("texts are a list, and there are two sources: give the name of a column that both have")
    chosen = [_Chosen.of(part, vectors, labels, texts) for part in parts]
    leaves, tree, shared = _leaves([one.labels for one in chosen], chosen[0].level_names, hierarchy)
    note, name = joined(chosen[0].note, note, shared), name or parts[0].name
    sets = [
        HierarchicalDataset.from_features(one.vectors, ids, tree, name, note, part.ids, one.texts)
        for one, part, ids in zip(chosen, parts, leaves, strict=True)
    ]
    if len(sets) == 2:
        if (widths := [one.items.shape[2] for one in sets])[0] != widths[1]:
            raise ValueError(f"training vectors have {widths[0]} features and test vectors {widths[1]}")
        train, held_out = sets
    elif is_test is not None:
        train, held_out = _taken(sets[0], is_test == 0, "training"), _taken(sets[0], is_test == 1, "test")
    else:
        return sets[0].split(0.2)
    check_shared_leaf(train.labels, held_out.labels, train.hierarchy, name)
    return train, held_out


# ---- parts ----


def _parts(source: Any, test: Any) -> tuple[list[FeatureSource], np.ndarray | None, str]:
    """Returns one source or two; for one of them the part of every item (0, 1, or −1 for neither); and a note."""
    found = open_source(source)
    if len(found) > 1 or "" not in found:
        if test is not None:
            raise ValueError(f"the source has the parts {', '.join(found)} itself: leave test out")
        parts = find_parts(found, "the source")
        if parts is None:
            raise ValueError(
                f"the source has the parts {', '.join(map(repr, found))}, and needs train and test: choose one of them"
            )
        rest = sorted(set(found) - {parts.train, parts.test, *parts.unused})
        note = joined(parts.note("the part"), *(f"the part {name!r} is not used" for name in rest))
        return [found[parts.train], found[parts.test]], None, note
    one = found[""]
    if test is None:
        named = [name for name, entry in one.columns.items() if len(entry.shape) == 1]
        texts = {name: _texts(one.columns[name]) for name in named if name.strip().lower() in SPLIT_COLUMNS}
        column = split_column_of({name: set(values) for name, values in texts.items()})
        if column is None:
            return [one], None, "test is a stratified fifth of the items"
        part, note = split_values(texts[column], "items", lambda row: f"item {row} of {one.what}", column)
        return [one], part, note
    if not isinstance(test, str | Path | Mapping) and not hasattr(test, "columns"):
        mask = to_numpy(test, "the items of the test mask")
        if mask.dtype == bool and mask.ndim == 1:
            return [one], mask.astype(np.int64), "test is given by a mask"
    other = open_source(test)
    if "" not in other:
        raise ValueError(f"test has the parts {', '.join(other)} itself: give the source of the test items alone")
    return [one, other[""]], None, ""


def _texts(entry: Entry) -> list[str]:
    values = np.asarray(entry.read()).tolist()
    return [entry.names[value] if value >= 0 else "" for value in values] if entry.names else list(map(str, values))


def _taken(whole: HierarchicalDataset, mask: np.ndarray, which: str) -> HierarchicalDataset:
    if mask.shape != (len(whole),):
        raise ValueError(f"the test mask has {len(mask):,} entries, but there are {len(whole):,} items")
    if not mask.any():
        raise ValueError(f"the split leaves no {which} item: both parts need some")
    return whole.take(mask)


# ---- vectors, labels, texts of one part ----


@dataclass(frozen=True)
class _Chosen:
    """What of a source was chosen: vectors, label columns as numbers with their names, texts."""

    vectors: Any
    labels: list[tuple[np.ndarray, np.ndarray]]
    level_names: tuple[str, ...]
    texts: Any
    note: str

    @classmethod
    def of(cls, source: FeatureSource, vectors: Any, labels: Any, texts: Any) -> "_Chosen":
        texts_name = texts if isinstance(texts, str) else None
        names, columns = _label_columns(source, labels, vectors, texts_name)
        taken = {*names, texts_name}
        array, meant = _vectors(source, vectors, taken)
        decoded = [_decoded(column, where) for column, where in columns]
        for numbers, _ in decoded:
            if len(numbers) != len(array):
                raise ValueError(f"{source.what} has {len(array)} vectors and {len(numbers)} labels")
        note = f"vectors from {meant}" if source.matrices.keys() != {"array"} else ""
        note = ", ".join([note] * bool(note) + [f"labels from {' > '.join(map(repr, names))}"] * bool(names))
        if texts_name is not None:
            if len((entry := _entry(source, texts_name)).shape) != 1:
                raise ValueError(f"texts={texts_name!r} is {entry}: give a column with one text for each item")
            texts = [str(text) for text in np.asarray(entry.read(), dtype=object)]
            note += f", texts from {texts_name!r}"
        return cls(array, decoded, tuple(names) if len(names) == len(decoded) else (), texts, note)


def _entry(source: FeatureSource, name: str) -> Entry:
    known = {**source.columns, **source.matrices}
    if name not in known:
        raise ValueError(f"{unknown('array or column', name, known)} {source!r}.")
    return known[name]


def _vectors(source: FeatureSource, vectors: Any, taken: set) -> tuple[Any, str]:
    """Returns the vectors and what to call them."""
    if isinstance(vectors, str):
        entry = source.matrices.get(vectors) or _entry(source, vectors)
        if len(entry.shape) not in (2, 3):
            raise ValueError(f"{vectors!r} holds no vectors [n, features] or [n, views, features]: {source!r}")
        return entry.read(), repr(vectors)
    if vectors is None and source.matrices:
        free = [name for name in source.matrices if name not in taken]
        if len(free) != 1:
            raise ValueError(f"{source!r}: say which are the vectors, with vectors=NAME")
        return source.matrices[free[0]].read(), repr(free[0])
    names = vectors
    if vectors is None:
        names = [n for n, e in source.columns.items() if _kind(e) == "f" and n not in taken]
    if not names:
        raise ValueError(f"{source!r}: no array of floats [n, features], no column of vectors and no column of floats")
    columns = []
    for name in names:
        values = to_numpy(_entry(source, name).read(), "features")
        if values.ndim != 1 or values.dtype.kind not in "fiub":
            raise ValueError(f"column {name!r} holds no numbers, and vectors={list(names)[:3]}... need one number each")
        columns.append(values.astype(np.float32))
    shown = f"{names[0]!r} to {names[-1]!r}" if len(names) > 2 else " and ".join(map(repr, names))
    return np.stack(columns, axis=1), f"{len(names)} columns, {shown}"


def _label_columns(
    source: FeatureSource, labels: Any, vectors: Any, texts: str | None
) -> tuple[list[str], list[tuple[Entry, str]]]:
    """Returns the names of the label columns, none where the labels were given as values; and every level's column."""
    if labels is None:
        names = [name for name in source.columns if name.lower() in LABELS]
        used = {texts, *([vectors] if isinstance(vectors, str) else vectors or [])}
        used |= {name for name in source.columns if name.lower() in SPLIT_COLUMNS}
        others = [name for name, entry in source.columns.items() if _kind(entry) != "f" and name not in used]
        if len(names) != 1 and others:
            raise ValueError(
                f"{source!r}: say which columns are the labels, from coarse to fine, with labels=[NAME, ...]; "
                "labels=[] for none"
            )
    elif isinstance(labels, str):
        names = [labels]
    elif isinstance(labels, list | tuple) and source.columns and all(isinstance(name, str) for name in labels):
        names = list(labels)
    elif isinstance(labels, list | tuple) and not labels:
        names = []
    else:
        if not hasattr(labels, "dtype") and not hasattr(labels, "columns") and not isinstance(labels, list | tuple):
            raise ValueError(f"labels={labels!r}: give names of columns, or the labels of all items")
        table = to_numpy(labels, "labels")
        table = table[:, None] if table.ndim == 1 else table
        if table.ndim != 2:
            raise ValueError(f"labels must be [n] or [n, levels], got {list(table.shape)}")
        return [], [(Entry.of(column), f"label column {level}") for level, column in enumerate(table.T)]
    columns = []
    for name in names:
        entry = _entry(source, name)
        if len(entry.shape) == 1:
            columns.append((entry, f"column {name!r}"))
        elif len(entry.shape) == 2:
            table = np.asarray(entry.read())
            columns += [(Entry.of(column), f"column {i} of {name!r}") for i, column in enumerate(table.T)]
        else:
            raise ValueError(f"labels must be [n] or [n, levels]; {name!r} is {entry}")
    return names, columns


def _decoded(entry: Entry, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the values of a label column in order, and for every item the position of its value; −1 for none."""
    import pandas as pd

    array = to_numpy(entry.read(), f"the labels of {where}")
    if array.dtype.kind not in "OUiufb":
        raise ValueError(f"{where} holds values of the type {array.dtype}: labels must be names or whole numbers")
    values = pd.Series(np.asarray(array, dtype=object if array.dtype.kind == "U" else None))
    if entry.names:
        return values.fillna(-1).to_numpy().astype(np.int64), np.array(entry.names)
    missing = (values.isna() | (values == "") | (values == -1)).to_numpy()
    known = values[~missing]
    if all(isinstance(value, str | bool | np.bool_) for value in known):
        known = known.astype(str).to_numpy().astype(str)
    elif all(
        isinstance(value, int | float | np.integer | np.floating) and float(value).is_integer() for value in known
    ):
        if len(known) and not (-1 < min(known) and max(known) < 2**63):
            raise ValueError(
                f"{where} holds numbers from {min(known)} to {max(known)}: they count from 0, and −1 is none"
            )
        known = known.to_numpy().astype(np.int64)
    else:
        raise ValueError(f"{where} holds {known.tolist()[0]!r}: labels must be names or whole numbers")
    numbers = np.full(len(values), -1)
    distinct, numbers[~missing] = np.unique(known, return_inverse=True)
    return numbers, distinct


def _kind(entry: Entry) -> str:
    return getattr(entry.dtype, "kind", "O")


# ---- classes of all parts ----


def _leaves(
    parts: list[list[tuple[np.ndarray, np.ndarray]]], level_names: tuple[str, ...], hierarchy: Hierarchy | None
) -> tuple[list[Int[np.ndarray, " n"] | None], Hierarchy | None, str]:
    """Returns the leaf of every item of every part, the hierarchy, and a note. None: there are no labels."""
    if not parts[0]:
        return [None] * len(parts), hierarchy, ""
    if (levels_of := [len(columns) for columns in parts])[0] != levels_of[-1]:
        columns = " and ".join(map(str, levels_of))
        raise ValueError(f"training and test set have {columns} label columns: both need the same ones")
    levels = [_level(columns) for columns in zip(*parts, strict=True)]
    table = np.stack([numbers for numbers, _ in levels], axis=1)
    known = (table >= 0).all(axis=1)
    if not known.any():
        raise ValueError("no item has a label in every label column: choose others with labels, or give labels=[]")
    partial = int(((table >= 0).any(axis=1) & ~known).sum())
    note = f"{partial:,} items that have a label at only some levels count as unlabelled" if partial else ""
    leaves = np.full(len(table), -1)
    if hierarchy is None:
        hierarchy, leaves[known], shared = _class_tree(table[known], [names for _, names in levels], level_names)
        note = joined(shared, note)
    else:
        columns = np.stack([names[numbers].astype(object) for numbers, names in levels], axis=1)[known]
        labels = columns if isinstance(columns[0, 0], str) else columns.astype(np.int64)
        labels = labels[:, 0] if labels.shape[1] == 1 else labels
        # A data set of nothing but labels checks them against the hierarchy, as it does for every data set.
        leaves[known] = HierarchicalDataset.from_features(np.zeros((len(labels), 1)), labels, hierarchy).labels
    ends = np.cumsum([len(columns[0][0]) for columns in parts])
    return [*np.split(leaves, ends[:-1])], hierarchy, note


def _level(columns: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """Joins one level of the parts: positions in one list of values, and this list."""
    names = columns[0][1]
    if any(not np.array_equal(names, other) for _, other in columns):
        names = np.unique(np.concatenate([names for _, names in columns]))
    place = {value: i for i, value in enumerate(names.tolist())}
    moved = [np.array([*map(place.get, own.astype(names.dtype).tolist()), -1])[numbers] for numbers, own in columns]
    return np.concatenate(moved), names


def _class_tree(
    table: Int[np.ndarray, "n levels"], names: list[np.ndarray], level_names: tuple[str, ...]
) -> tuple[Hierarchy, Int[np.ndarray, " n"], str]:
    """Makes a hierarchy of numbered names; the same name under two parents becomes two classes, side by side."""
    paths = {tuple(row) for row in np.unique(table, axis=0).tolist()}
    shared = shared_names([tuple(str(n[i]) for n, i in zip(names, path, strict=True)) for path in paths])
    table, node_names = table.copy(), [[str(name) for name in names[0]]]
    for level in range(1, table.shape[1]):
        nodes, table[:, level] = np.unique(table[:, [level, level - 1]], axis=0, return_inverse=True)
        node_names.append([str(names[level][own]) for own in nodes[:, 0]])
    tree, leaves = Hierarchy.from_labels(table, node_names, level_names or None)
    return tree, leaves, shared
