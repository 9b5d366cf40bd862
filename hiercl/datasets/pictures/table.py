"""Tables of pictures: a CSV file with one row for each picture, its path, and label columns from coarse to fine."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hiercl.datasets.base import HierarchicalDataset
from hiercl.datasets.pictures.files import ENDINGS
from hiercl.datasets.pictures.folder import TEST
from hiercl.datasets.pictures.sets import UNLABELLED, Listing, data_sets, reading

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["listing", "load", "table"]

PATH_COLUMNS = ("path", "file", "filename", "image")


def table(
    path: str | Path,
    path_column: str | None = None,
    label_columns: Sequence[str] | None = None,
    size: int = 32,
    store: bool | str = "auto",
    skip_unreadable: bool = False,
    root: str | Path | None = None,
) -> HierarchicalDataset:
    """Read the pictures that a CSV file lists as one data set; `hiercl.load` makes a training and a test set of them.

    The first row holds the names of the columns. Paths are relative to the folder of the file, or absolute. Columns are
    separated by commas, semicolons or tabs. Labels are names: the same name under two parents ("other") is two classes,
    and the note says so. Without label columns the pictures are unlabelled.

    Args:
        path: the CSV file.
        path_column: the column of the paths; by default the one named path, file, filename or image, else the first.
        label_columns: the columns of the labels, coarse to fine, which name the levels; by default all others in
            their order but for one named ``split``. ``[]`` takes the pictures as unlabelled.
        size, store, skip_unreadable, root: as of `hiercl.datasets.folder`.

    Raises ValueError for a file that is not there or is no table, a column that it does not have, a missing value (with
    row and column), a picture that is listed twice, and (UnreadablePictures, a ValueError) with all of the pictures
    that are missing or cannot be read.

    Example::

        >>> data = table("lab/pictures.csv", label_columns=["kind", "class"])  # doctest: +SKIP
    """
    how = reading(root, size, store, skip_unreadable)
    (data,) = data_sets(listing(path, path_column, label_columns, split=False), how, split=False)
    return data


def load(
    path: str | Path,
    root: str | Path | None = None,
    path_column: str | None = None,
    label_columns: Sequence[str] | None = None,
    size: int = 32,
    store: bool | str = "auto",
    skip_unreadable: bool = False,
) -> tuple[HierarchicalDataset, HierarchicalDataset]:
    """Read the pictures that a CSV file lists as a training and a test set, with one hierarchy.

    A column ``split`` says train or test (or val in its place) for each; without it a stratified fifth becomes the test
    set, as the note says. Options and errors are those of `table`.

    Example::

        >>> train, test = load("lab/pictures.csv", size=64)  # doctest: +SKIP
    """
    how = reading(root, size, store, skip_unreadable)
    return data_sets(listing(path, path_column, label_columns, split=True), how, split=True)


def listing(path: str | Path, path_column: str | None, label_columns: Sequence[str] | None, split: bool) -> Listing:
    """List the pictures of a CSV file, with their classes; nothing is decoded. See `table` and `load`."""
    path = Path(path).expanduser().resolve()
    frame = _read(path)
    place = _path_column(path, list(frame.columns), path_column)
    labels = _label_columns(path, list(frame.columns), place, label_columns)
    splits, note = [], ""
    if split and "split" in frame.columns:
        frame, splits, note = _split(path, frame)
    _check_complete(path, frame, [place, *labels])
    _check_once(path, frame, place)
    classes = list(frame[labels].itertuples(index=False, name=None)) if labels else [UNLABELLED] * len(frame)
    note = "; ".join(part for part in (note, _shared_names(classes)) if part)
    paths = [entry.replace("\\", "/") for entry in frame[place]]
    return Listing(path.stem, path.parent, paths, classes, splits, tuple(labels), note)


def _read(path: Path) -> "pd.DataFrame":
    """All cells as text without spaces around it, missing ones as ""; the index is the row number of a spreadsheet."""
    import pandas as pd

    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        with open(path, encoding="utf-8-sig") as file:
            header = file.readline()
        frame = pd.read_csv(
            path,
            sep=max(",;\t", key=header.count),
            dtype=str,
            keep_default_na=False,  # "None" and "NA" are names like others
            skip_blank_lines=False,
            index_col=False,
            encoding="utf-8-sig",
        )
    except (UnicodeDecodeError, pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise ValueError(f"{path} is no table of comma-separated values in UTF-8: {error}") from error
    frame = frame.fillna("").apply(lambda column: column.str.strip())
    frame.columns = ["split" if name.lower() == "split" else name for name in frame.columns.str.strip()]
    frame.index = frame.index + 2
    frame = frame[(frame != "").any(axis=1)]
    if frame.columns[0].lower().endswith(ENDINGS):
        raise ValueError(f"the first row of {path} names no columns but a picture: begin with a row such as path,class")
    if frame.empty:
        raise ValueError(f"{path} lists no pictures")
    return frame


def _path_column(path: Path, columns: list[str], wanted: str | None) -> str:
    if wanted is None:
        return next((column for name in PATH_COLUMNS for column in columns if column.lower() == name), columns[0])
    _check_known(path, columns, [wanted])
    return wanted


def _label_columns(path: Path, columns: list[str], place: str, wanted: Sequence[str] | None) -> list[str]:
    if wanted is None:
        return [column for column in columns if column not in (place, "split")]
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    _check_known(path, columns, wanted)
    return wanted


def _check_known(path: Path, columns: list[str], wanted: list[str]) -> None:
    for column in wanted:
        if column not in columns:
            raise ValueError(f"{path} has no column {column!r}; its columns are {', '.join(columns)}")


def _check_complete(path: Path, frame: "pd.DataFrame", columns: list[str]) -> None:
    for column in columns:
        missing = frame.index[frame[column] == ""]
        if len(missing):
            rows = ", ".join(str(row) for row in missing[:10]) + (", ..." if len(missing) > 10 else "")
            raise ValueError(
                f"the column {column!r} of {path} has no value in {len(missing)} of the rows ({rows}): fill it in, "
                f"leave these rows out, or choose other columns with path_column and label_columns"
            )


def _check_once(path: Path, frame: "pd.DataFrame", place: str) -> None:
    again = frame.index[frame[place].duplicated()]
    if len(again):
        name = frame[place][again[0]]
        first = frame.index[frame[place] == name][0]
        raise ValueError(f"{path} lists {name!r} twice, in rows {first} and {again[0]}: a picture has one row")


def _split(path: Path, frame: "pd.DataFrame") -> tuple["pd.DataFrame", list[str], str]:
    splits = frame["split"].str.lower()
    for row, value in splits.items():
        if value not in ("train", *TEST):
            given = frame["split"][row]
            raise ValueError(f"row {row} of {path} has the split {given!r}: it is train, {' or '.join(TEST)}")
    tests = [name for name in TEST if (splits == name).any()]
    note = ""
    if len(tests) > 1:
        note = f"the {(splits == tests[1]).sum()} {tests[1]} pictures are not used"
    elif tests == ["val"]:
        note = "test is the split 'val'"
    kept = splits.isin(["train", *tests[:1]])
    return frame[kept], ["train" if name == "train" else "test" for name in splits[kept]], note


def _shared_names(classes: list[tuple[str, ...]]) -> str:
    nodes = {names[:depth] for names in classes for depth in range(1, len(names) + 1)}
    shared = [name for (_, name), count in Counter((len(n), n[-1]) for n in nodes).items() if count > 1]
    if not shared:
        return ""
    return f"several parents share {len(shared)} of the names, such as {min(shared)!r}: each has a class of its own"
