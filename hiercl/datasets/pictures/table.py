"""Tables of pictures: a CSV file with one row for each picture: its path, and its labels from coarse to fine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hiercl.datasets.base import HierarchicalDataset, Splits
from hiercl.datasets.pictures.files import ENDINGS
from hiercl.datasets.pictures.sets import UNLABELLED, Listing, PictureOptions, data_sets, joined
from hiercl.datasets.splits import shared_names, split_column
from hiercl.runtime.errors import unknown

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
    """Reads the pictures of a CSV file as one data set. :func:`hiercl.load` makes a training and a test set of them.

    The first row holds the names of the columns, which commas, semicolons or tabs separate. Paths are absolute, or
    relative to the folder of the CSV file. Labels are names. The same name under two parents ("other") means two
    classes, and the note says so. A row whose label cells are all empty is a picture without a label (−1). Without
    label columns no picture has one.

    Args:
        path: the CSV file.
        path_column: column of the paths; by default the one named path, file, filename or image, else the first.
        label_columns: columns of the labels, from coarse to fine; their names are the names of the levels. By default
            all other columns in their order, except one named ``split``. ``[]`` makes the pictures unlabelled.
        size: side of the pictures in pixels, as for :func:`hiercl.datasets.folder`.
        store: whether decoded pictures are stored, as for :func:`hiercl.datasets.folder`.
        skip_unreadable: leave out pictures that cannot be read; a warning and the note count them.
        root: folder of all data sets, by default :func:`hiercl.datasets.data_root`.

    Returns:
        The data set.

    Raises:
        ValueError: the file does not exist or is no table, a column is unknown, a value is missing (the message names
            row and column), or a picture is listed twice.
        UnreadablePictures: some pictures are missing or cannot be read; the error lists all of them.

    Example:
        >>> for name in ("cat", "car"):
        ...     plt.imsave(f"{name}.png", train.items[0])
        >>> _ = Path("lab.csv").write_text("path,kind,class\\ncat.png,animal,cat\\ncar.png,vehicle,car\\n")
        >>> table("lab.csv")
        HierarchicalDataset('lab': 2 images 32x32x3, 2 kind > 2 class)
    """
    options = PictureOptions(root, size, store, skip_unreadable)
    return data_sets(listing(path, path_column, label_columns, split=False), options, split=False)[0]


def load(
    path: str | Path,
    root: str | Path | None = None,
    path_column: str | None = None,
    label_columns: Sequence[str] | None = None,
    size: int = 32,
    store: bool | str = "auto",
    skip_unreadable: bool = False,
) -> Splits:
    """Reads the pictures of a CSV file as a training and a test set, with one hierarchy.

    A column ``split`` says train or test (or val instead) for each picture. Without it a stratified fifth becomes the
    test set, and the note says so. Arguments and errors are those of :func:`table`.

    Example:
        >>> for name in ("cat", "car"):
        ...     plt.imsave(f"{name}.png", train.items[0])
        >>> _ = Path("lab.csv").write_text("path,class,split\\ncat.png,cat,train\\ncar.png,car,test\\n")
        >>> [len(part) for part in load("lab.csv")]
        [1, 1]
    """
    options = PictureOptions(root, size, store, skip_unreadable)
    train, test = data_sets(listing(path, path_column, label_columns, split=True), options, split=True)
    return train, test


def listing(path: str | Path, path_column: str | None, label_columns: Sequence[str] | None, split: bool) -> Listing:
    """Lists the pictures of a CSV file with their classes; nothing is decoded. See :func:`table` and :func:`load`."""
    path = Path(path).expanduser().resolve()
    frame = _read(path)
    columns = list(frame.columns)
    named = [column for name in PATH_COLUMNS for column in columns if column.lower() == name]
    path_column = path_column or str((named or columns)[0])
    if label_columns is None:
        label_columns = [column for column in columns if column not in (path_column, "split")]
    labels = [label_columns] if isinstance(label_columns, str) else list(label_columns)
    for column in (path_column, *labels):
        if column not in columns:
            raise unknown(f"column of {path.name}:", column, columns)
    splits, note = [], ""
    if split and "split" in columns:
        frame, splits, note = _split(path, frame)
    _check_rows(path, frame, path_column, labels)
    classes: list[tuple[str, ...]] = [UNLABELLED] * len(frame)
    if labels:
        classes = [names if any(names) else () for names in frame[labels].itertuples(index=False, name=None)]
    paths = [entry.replace("\\", "/") for entry in frame[path_column]]
    return Listing(path.stem, path.parent, paths, classes, splits, tuple(labels), joined(note, shared_names(classes)))


def _read(path: Path) -> Any:
    """A pandas table of text without spaces around it, "" for missing cells; the index is the row in a spreadsheet."""
    import pandas as pd

    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    try:
        with open(path, encoding="utf-8-sig") as file:
            header = file.readline()
        frame: Any = pd.read_csv(
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
        raise ValueError(f"the first row of {path} names a picture, not columns: begin with a row such as path,class")
    if frame.empty:
        raise ValueError(f"{path} lists no pictures")
    return frame


def _check_rows(path: Path, frame: Any, path_column: str, labels: list[str]) -> None:
    """Checks that every row has a path and all labels or none, and that no picture is listed twice."""
    has_label = (frame[labels] != "").any(axis=1)  # a row without any is a picture without a label
    for column in (path_column, *labels):
        due = has_label if column in labels and has_label.any() else True
        missing = frame.index[(frame[column] == "") & due]
        if len(missing):
            rows = ", ".join(str(row) for row in missing[:10]) + (", ..." if len(missing) > 10 else "")
            raise ValueError(
                f"the column {column!r} of {path} has no value in {len(missing)} of the rows ({rows}): fill it in, "
                f"leave these rows out, or choose other columns with path_column and label_columns"
            )
    again = frame.index[frame[path_column].duplicated()]
    if len(again):
        name = frame[path_column][again[0]]
        first = frame.index[frame[path_column] == name][0]
        raise ValueError(f"{path} lists {name!r} twice, in rows {first} and {again[0]}: give each picture one row")


def _split(path: Path, frame: Any) -> tuple[Any, list[str], str]:
    parts, note = split_column(frame["split"].tolist(), "pictures", lambda row: f"row {frame.index[row]} of {path}")
    return frame[parts >= 0], [("train", "test")[part] for part in parts[parts >= 0]], note
