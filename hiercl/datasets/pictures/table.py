"""Tables of pictures: a CSV file with one row for each picture: its path, and its labels from coarse to fine."""

import csv
import os
import re
import warnings
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from hiercl.datasets.base import HierarchicalDataset, Splits
from hiercl.datasets.features import check_columns
from hiercl.datasets.pictures.files import ENDINGS
from hiercl.datasets.pictures.sets import UNLABELLED, Listing, PictureOptions, data_sets
from hiercl.datasets.splits import joined, shared_names, split_column_of, split_values
from hiercl.runtime.errors import unknown
from hiercl.runtime.given import given_path

__all__ = ["check_levels", "listing", "load", "table"]

PATH_COLUMNS = {"path", "file", "filename", "filepath", "image", "imagepath", "imagefile", "img", "imgpath", "picture"}
ID_COLUMNS = {"", "id", "index", "idx", "key", "uid", "uuid", "guid", "no", "nr", "row", "number"}
MOST_COLUMNS = 1000  # of a table of which a person chose none
MOST_LEVELS = 32
MOST_ALONE = 8  # rows of a table from which on a level with a class for each picture is no level
NO_TABLE = "is no table of comma-separated values in UTF-8"


def table(
    path: str | Path,
    path_column: str | None = None,
    label_columns: Sequence[str] | None = None,
    size: int = 32,
    store: bool | str = "auto",
    skip_unreadable: bool = False,
    root: str | Path | None = None,
    bits: int | None = None,
) -> HierarchicalDataset:
    """Reads the pictures of a CSV file as one data set. :func:`hiercl.load` makes a training and a test set of them.

    The first row holds the names of the columns, which commas, semicolons or tabs separate. Paths are absolute, or
    relative to the folder of the CSV file. Labels are names. A row whose last label cells are empty is of a class that
    ends early; one whose label cells are all empty is a picture without a label (−1). In a column of whole numbers −1
    is an empty cell; among names it is a class of this name. Without label columns no picture has one. Columns without
    a name are left out, and so are columns such as ``id`` that number the rows.

    Args:
        path: the CSV file.
        path_column: column of the paths; by default the one whose values are files of pictures.
        label_columns: columns of the labels, from coarse to fine; their names are the names of the levels. By default
            all other columns in their order, except one that says train or test; each one must refine the one before
            it. In columns that are chosen here, the same name under two parents ("other") means two classes, and the
            note says so. ``[]`` makes the pictures unlabelled.
        size: side of the pictures in pixels, as for :func:`hiercl.datasets.folder`.
        store: whether decoded pictures are stored, as for :func:`hiercl.datasets.folder`.
        skip_unreadable: leave out pictures that cannot be read; a warning and the note count them.
        root: folder of all data sets, by default :func:`hiercl.datasets.data_root`.
        bits: bits that pictures of 16 bits a channel use, as for :func:`hiercl.datasets.folder`.

    Returns:
        The data set.

    Raises:
        ValueError: the file does not exist or is no table, a column is unknown or does not refine the one before it, a
            value is missing, or a picture is listed twice. The message names row and column.
        UnreadablePictures: some pictures are missing or cannot be read; the error lists all of them.

    Example:
        >>> for name in ("cat", "car"):
        ...     plt.imsave(f"{name}.png", train.items[0])
        >>> _ = Path("lab.csv").write_text("path,kind,class\\ncat.png,animal,cat\\ncar.png,vehicle,car\\n")
        >>> table("lab.csv")
        HierarchicalDataset('lab': 2 images 32x32x3, 2 kind > 2 class)
    """
    options = PictureOptions(root, size, store, skip_unreadable, bits)
    return data_sets(listing(path, path_column, label_columns, split=False), options, split=False)[0]


def load(
    path: str | Path,
    root: str | Path | None = None,
    path_column: str | None = None,
    label_columns: Sequence[str] | None = None,
    size: int = 32,
    store: bool | str = "auto",
    skip_unreadable: bool = False,
    split_column: str | None = None,
    bits: int | None = None,
) -> Splits:
    """Reads the pictures of a CSV file as a training and a test set, with one hierarchy.

    A column ``split`` says train or test (or val instead) for each picture; so may a column of another name with such
    values, or one like ``is_train`` with 0 and 1. Without it a stratified fifth becomes the test set, and the note says
    so. Arguments and errors are those of :func:`table`, and:

    Args:
        split_column: name of the column that says train or test.

    Example:
        >>> for name in ("cat", "lion"):
        ...     plt.imsave(f"{name}.png", train.items[0])
        >>> _ = Path("lab.csv").write_text("path,class,split\\ncat.png,cat,train\\nlion.png,cat,test\\n")
        >>> [len(part) for part in load("lab.csv")]
        [1, 1]
    """
    options = PictureOptions(root, size, store, skip_unreadable, bits)
    found = listing(path, path_column, label_columns, True, split_column)
    train, test = data_sets(found, options, split=True)
    return train, test


def listing(
    path: str | Path,
    path_column: str | None,
    label_columns: Sequence[str] | None,
    split: bool,
    split_column: str | None = None,
) -> Listing:
    """Lists the pictures of a CSV file with their classes; nothing is decoded. See :func:`table` and :func:`load`."""
    path = given_path(path, "path").expanduser().resolve()
    labels = _chosen(label_columns)
    named = [column for column in (path_column, split_column, *(labels or ())) if column is not None]
    frame = _read(path, named, all_chosen=path_column is not None and labels is not None)
    files = _file_columns(path, frame)
    if path_column is None:
        path_column = _path_column(path, frame, files)
    rest = [column for column in frame.columns if column not in named and column != path_column]
    splits, notes = [], []
    part_column = split_column or split_column_of({column: frame[column].unique() for column in rest})
    if split and part_column is not None:
        where = "row {} of " + str(path)
        parts, note = split_values(frame[part_column].tolist(), "pictures", _Rows(frame, where), part_column)
        frame, splits = frame[parts >= 0], [("train", "test")[part] for part in parts[parts >= 0]]
        notes.append(note)
    if labels is None:
        rest = [column for column in rest if column != part_column]
        ids = [column for column in rest if _is_id(column, frame[column])]
        labels = [column for column in rest if column not in (*ids, *files)]
        if len(labels) > MOST_LEVELS:
            raise ValueError(f"{path} has {len(labels)} columns that may be labels: choose some with label_columns")
        notes += [f"the column {column!r} numbers the rows and is passed over" for column in ids]
        notes += [f"the column {column!r} holds files and is passed over" for column in files if column in rest]
    numbered = [name for name in labels if frame[name].str.fullmatch(r"(-?\d+(\.0*)?)?").all()]  # where −1 is no label
    frame = frame.assign(**{name: frame[name].mask(frame[name].str.fullmatch(r"-1(\.0*)?"), "") for name in numbered})
    _check_rows(path, frame, path_column, labels)
    check_levels(path, frame[labels], chosen=label_columns is not None)
    classes: list[tuple[str, ...]] = [UNLABELLED] * len(frame)
    if labels:
        rows = frame[labels].itertuples(index=False, name=None)
        classes = [tuple(name for name in names if name) for names in rows]
    paths = [entry.replace("\\", "/") for entry in frame[path_column]]
    return Listing(path.stem, path.parent, paths, classes, splits, tuple(labels), joined(*notes, shared_names(classes)))


def _chosen(label_columns: Any) -> list[str] | None:
    """The label columns that a person has chosen, as a list; None for none."""
    labels = [label_columns] if isinstance(label_columns, str) else label_columns
    if labels is None:
        return None
    if not isinstance(labels, list | tuple) or not all(isinstance(name, str) for name in labels):
        raise ValueError(f"label_columns={label_columns!r}: give a list of names of columns, from coarse to fine")
    if twice := [name for name, count in Counter(labels).items() if count > 1]:
        raise ValueError(f"label_columns has {twice[0]!r} several times: name each column once")
    return list(labels)


class _Rows:
    """Says where the item at a position stands."""

    def __init__(self, frame: Any, where: str):
        self.rows, self.where = frame.index, where

    def __call__(self, position: int) -> str:
        return self.where.format(self.rows[position])


# ---- reading ----


def _read(path: Path, named: Sequence[str], all_chosen: bool) -> Any:
    """A pandas table of text without spaces around it, "" for missing cells; the index is the row in a spreadsheet.

    Columns without a name are left out. If a person chose all columns, only these and the split are read.
    """
    import pandas as pd

    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    names, separator, blank = _header(path)
    read = [column for column in names if column and (column in named or not all_chosen)]
    check_columns(read, str(path))  # pandas would rename one
    for column in named:
        if column not in names:
            raise unknown(f"column of {path.name}:", column, filter(None, names))
    if not all_chosen and len(names) > MOST_COLUMNS:
        raise ValueError(
            f"{path} has {len(names):,} columns: choose path_column and label_columns, or if it is a table of "
            "features, read it with vectors=[...]"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows that are longer than the first
            frame: Any = pd.read_csv(
                path,
                sep=separator,
                skiprows=blank,
                usecols=(lambda name: name.strip() in named or name.strip().lower() == "split") if all_chosen else None,
                dtype=str,
                keep_default_na=False,  # "None" and "NA" are names like others
                skip_blank_lines=False,
                index_col=False,
                encoding="utf-8-sig",
            )
    except (ValueError, pd.errors.ParserWarning, csv.Error) as error:  # pandas' errors are of these kinds
        raise ValueError(f"{path} {NO_TABLE}: {error}") from error
    frame.columns = frame.columns.astype(str).str.strip()
    frame = frame[[name for name in frame.columns if name and not re.fullmatch(r"Unnamed: \d+", name)]]
    if frame.columns.empty:
        raise ValueError(f"the columns of {path} have no names: begin with a row such as path,class")
    frame = frame.fillna("").apply(lambda column: column.str.strip())
    frame.index = frame.index + blank + 2
    frame = frame[(frame != "").any(axis=1)]
    if str(frame.columns[0]).lower().endswith(ENDINGS):
        raise ValueError(f"the first row of {path} names a picture, not columns: begin with a row such as path,class")
    if frame.empty:
        raise ValueError(f"{path} lists no pictures")
    return frame


def _header(path: Path) -> tuple[list[str], str, int]:
    """Returns the names of the columns, what separates them, and the number of blank lines before them."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            for blank, line in enumerate(file):
                if line.strip(" \t\r\n,;"):
                    separator = max(",;\t", key=line.count)
                    return [name.strip() for name in next(csv.reader([line], delimiter=separator))], separator, blank
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{path} {NO_TABLE}: {error}") from error
    raise ValueError(f"{path} {NO_TABLE}: it is empty")


def _file_columns(path: Path, frame: Any) -> list[str]:
    """Finds the columns whose values are picture files."""
    sample, found = frame.iloc[:: max(1, len(frame) // 50)], []
    for column in frame.columns:
        values = [value for value in sample[column] if value]
        files = [value.lower().endswith(ENDINGS) or os.path.isfile(path.parent / value) for value in values]
        if sum(files) > len(files) / 2:
            found.append(column)
    return found


def _path_column(path: Path, frame: Any, files: list[str]) -> str:
    """Chooses one of the columns that hold files: the only one, or the one with a usual name."""
    usual = [column for column in frame.columns if re.sub("[^a-z]", "", column.lower()) in PATH_COLUMNS]
    found = files or usual[:1]
    if len(found) > 1:
        found = [column for column in found if column in usual] or found
    if len(found) == 1:
        return found[0]
    values = ", ".join(f"{column!r} with {frame[column].iloc[0]!r}" for column in frame.columns[:8])
    what = "several columns hold" if found else "no column holds"
    raise ValueError(f"{what} paths of pictures in {path}: say which one, with path_column. The columns are {values}")


# ---- checks ----


def _is_id(name: str, values: Any) -> bool:
    """Whether a column numbers the rows: its name says so, and its values are all different."""
    word = re.sub("[^a-z]", "", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())
    return (word in ID_COLUMNS or word.endswith("id")) and bool(values.is_unique)


def _check_rows(path: Path, frame: Any, path_column: str, labels: Sequence[str]) -> None:
    """Checks that every row has a path, that labels end only at the fine end, and that no picture is listed twice."""
    missing = frame.index[frame[path_column] == ""]
    if len(missing):
        raise ValueError(
            f"the column {path_column!r} of {path} has no value in {len(missing)} of the rows ({_few(missing)}): fill "
            f"it in, leave these rows out, or choose another column with path_column"
        )
    for above, column in pairwise(labels):
        missing = frame.index[(frame[above] == "") & (frame[column] != "")]
        if len(missing):
            raise ValueError(
                f"the column {above!r} of {path} has no value in {len(missing)} of the rows ({_few(missing)}), though "
                f"{column!r} has one: fill it in, leave these rows out, or choose other columns with label_columns"
            )
    places = frame[path_column].str.replace("\\", "/").map(os.path.normpath)  # a/../b.png is b.png
    again = frame.index[places.duplicated()]
    if len(again):
        name = frame[path_column][again[0]]
        first = frame.index[places == places[again[0]]][0]
        raise ValueError(f"{path} lists {name!r} twice, in rows {first} and {again[0]}: give each picture one row")


def check_levels(path: Path, frame: Any, chosen: bool) -> None:
    """Checks that every label column refines the one before it, from coarse to fine.

    Args:
        path: the file, for messages.
        frame: the label columns; "" for no label.
        chosen: whether a person chose these columns. Then a name may stand under several parents.

    Raises:
        ValueError: a column does not refine the one before it. The message names the column and a row.
    """
    labels = list(frame.columns)
    choose = f"say which columns are the labels, from coarse to fine, with label_columns (now {labels})"
    for end, column in enumerate(labels):
        ended = frame[frame[column] == ""]
        inner = frame[frame[column] != ""]
        if end and len(ended) and len(inner):
            nodes = dict(zip(inner[labels[:end]].itertuples(index=False, name=None), inner.index, strict=True))
            for row, names in zip(ended.index, ended[labels[:end]].itertuples(index=False, name=None), strict=True):
                if names in nodes and names[-1]:
                    raise ValueError(
                        f"row {row} of {path} has no {column!r}, but row {nodes[names]} has one for the same "
                        f"{labels[end - 1]!r}, {names[-1]!r}, so its class is not clear: fill it in, or leave it out"
                    )
    for above, column in pairwise(labels):
        pairs = frame[[above, column]][frame[column] != ""].drop_duplicates()
        coarse, fine = pairs[above].nunique(), pairs[column].nunique()
        numbers = [pairs[name].str.fullmatch(r"[-+]?[\d.]+").all() for name in (above, column)]
        if len(pairs) == coarse > 1:  # every name above has one below
            if fine < coarse and not (chosen and fine == 1):
                raise ValueError(
                    f"in {path}, {column!r} is coarser than {above!r}: each of its names stands beside several of "
                    f"{above!r}. The labels go from coarse to fine: {choose}"
                )
            if (pairs[above].str.lower() == pairs[column].str.lower()).all() or numbers[0] != numbers[1]:
                raise ValueError(f"in {path}, {column!r} says the same as {above!r}: leave one out, {choose}")
            if fine == coarse and set(pairs[above]) == set(pairs[column]) == {"0", "1"}:
                raise ValueError(
                    f"in {path}, {above!r} and {column!r} hold 0 and 1, as one column for each class does: make one "
                    "column of them that names the class"
                )
        if numbers[0] != numbers[1] and not chosen:
            number, name = (above, column) if numbers[0] else (column, above)
            raise ValueError(
                f"in {path}, {number!r} holds numbers and {name!r} names, so they may not both be labels: {choose}"
            )
        if fine == len(frame) >= MOST_ALONE and not chosen:
            raise ValueError(f"in {path}, every picture has a {column!r} of its own, so that is no class: {choose}")
        twice = pairs[pairs[column].duplicated(keep=False)].sort_values(column, kind="stable")
        if len(twice) and not chosen:
            (one, name), (two, _) = twice.iloc[:2].itertuples(index=False, name=None)
            rows = [frame.index[(frame[above] == parent) & (frame[column] == name)][0] for parent in (one, two)]
            raise ValueError(
                f"in {path}, the column {column!r} does not refine {above!r}: {name!r} stands beside {one!r} in row "
                f"{rows[0]} and beside {two!r} in row {rows[1]}. If one is a mistake, correct it. Otherwise {choose}; "
                "columns that are chosen may have the same name under two parents, for two classes"
            )


def _few(rows: Any) -> str:
    return ", ".join(str(row) for row in rows[:10]) + (", ..." if len(rows) > 10 else "")
