"""OFF, the text format of the meshes of ModelNet: corners, then polygons, which list the numbers of their corners."""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hiercl.datasets.clouds import Mesh, area_shares
from hiercl.datasets.limits import LARGEST_TEXT, check_room
from hiercl.runtime.types import Float, Int

__all__ = ["parse_off", "read_off"]


def read_off(path: str | Path) -> Mesh:
    """Reads a mesh from an OFF file; see :func:`parse_off`.

    Raises:
        ValueError: the file is no such mesh; the message names the file and what is wrong.
        FileNotFoundError: there is no such file.

    Example:
        >>> _ = Path("triangle.off").write_text("OFF 3 1 0\\n 0 0 0\\n 1 0 0\\n 0 1 0\\n 3 0 1 2\\n")
        >>> vertices, faces = read_off("triangle.off")
    """
    try:
        check_room(Path(path).stat().st_size, "it", LARGEST_TEXT)
        return parse_off(Path(path).read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse_off(content: bytes) -> Mesh:
    """Reads a mesh from the content of an OFF file.

    The word OFF comes first, alone on its line or joined to what follows, as in many files of ModelNet. Letters before
    it say that vertices have a colour (COFF), a normal (NOFF) or a place in a texture (STOFF), which are ignored. Then
    come the numbers of vertices, faces and (maybe) edges; one line of three coordinates for each vertex; one line for
    each face, with the number of its corners, the corners (numbered from 0), and maybe a colour, which is ignored.
    Comments (from a # at the start of a line or after a space) and blank lines may be anywhere. Everything after the
    last face is ignored.

    Args:
        content: the bytes of the file.

    Returns:
        The mesh: vertices float64 ``[v, 3]``, faces int64 ``[f, 3]``. A polygon becomes a fan of triangles around its
        first corner; a polygon with fewer than three corners becomes no triangle.

    Raises:
        ValueError: the format is another one, lines are missing, a value is no number or not finite, a face has a
            corner that does not exist, or the mesh has no area. The message names the line.

    Example:
        >>> parse_off(b"OFF 3 1 0\\n 0 0 0\\n 1 0 0\\n 0 1 0\\n 3 0 1 2\\n").faces.tolist()
        [[0, 1, 2]]
    """
    text, values = _without_header(content)
    lines = _lines(text)
    n_vertices, n_faces = _counts(lines)
    missing = 1 + n_vertices + n_faces - len(lines.number)
    if missing > 0:
        raise ValueError(
            f"the file is cut: its counts promise {n_vertices} vertices and {n_faces} faces, but {missing} of these "
            f"{n_vertices + n_faces} lines are missing"
        )
    vertices = _vertices(lines, 1, 1 + n_vertices, values)
    faces = _faces(lines, 1 + n_vertices, 1 + n_vertices + n_faces, n_vertices)
    area_shares(vertices, faces)  # raises for a mesh without any area
    return Mesh(vertices, faces)


class _Lines(NamedTuple):
    """The lines that are not blank.

    Attributes:
        tokens: the words of all lines, one after another.
        first: index of the first word of each line.
        size: number of words of each line.
        number: number of each line in the file, from 1.
    """

    tokens: list[bytes]
    first: Int[np.ndarray, "lines"]
    size: Int[np.ndarray, "lines"]
    number: Int[np.ndarray, "lines"]

    def numbers(self, start: int, stop: int) -> Float[np.ndarray, "k"]:
        """Reads the words of the lines from start to stop as numbers."""
        begin, end = self.first[start], self.first[stop - 1] + self.size[stop - 1]
        try:
            return np.array(self.tokens[begin:end], dtype=np.float64)
        except ValueError as error:
            bad = next(i for i in range(begin, end) if not _is_number(self.tokens[i]))
            line = self.number[np.searchsorted(self.first, bad, side="right") - 1]
            raise ValueError(f"line {line}: {_text(self.tokens[bad], 20)!r} is no number") from error


def _without_header(content: bytes) -> tuple[bytes, set[int]]:
    """Replaces comments and the word OFF by spaces, so that the numbers of the lines stay the same.

    Returns:
        The text, and how many numbers a vertex may have: three coordinates and what letters before OFF add.
    """
    text = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if b"#" in text:
        text = re.sub(rb"(?m)(?:^|(?<=[ \t]))#[^\n]*", b"", text)  # "1.#QNAN" is no number with a comment
    header = re.match(rb"\s*(ST)?(C)?(N)?OFF(?=[\s\d]|$)(?![ \t]*BINARY)", text)
    if header is None:
        first = _text(text[:100].strip().split(b"\n")[0], 20)
        found = f"begins with {first!r}" if first else "is empty"
        raise ValueError(f"this is no mesh in the text format OFF, which begins with the word OFF: the file {found}")
    start = header.end() - len(header[0].lstrip())
    more = {3 + 2 * bool(header[1]) + 3 * bool(header[3]) + colours for colours in ((3, 4) if header[2] else (0,))}
    return text[:start] + b" " * (header.end() - start) + text[header.end() :], more


def _lines(text: bytes) -> _Lines:
    """Splits the text into words and finds the line of each, without a loop over the lines."""
    characters = np.frombuffer(text, dtype=np.uint8)
    space = (characters == 32) | ((characters >= 9) & (characters <= 13))  # what bytes.split() splits at
    begins = ~space & np.concatenate([[True], space[:-1]])
    line = np.searchsorted(np.flatnonzero(characters == 10), np.flatnonzero(begins))
    size = np.bincount(line, minlength=1)
    number = np.flatnonzero(size)
    size = size[number]
    return _Lines(text.split(), np.cumsum(size) - size, size, number + 1)


def _counts(lines: _Lines) -> tuple[int, int]:
    if len(lines.number) == 0:
        raise ValueError("the numbers of vertices and faces are missing after OFF")
    found = lines.tokens[: lines.size[0]]
    if len(found) not in (2, 3) or not all(token.isdigit() for token in found):
        line = _text(b" ".join(found), 60)
        raise ValueError(f"line {lines.number[0]}: expected the numbers of vertices, faces and edges, found {line!r}")
    n_vertices, n_faces = int(found[0]), int(found[1])
    if n_vertices == 0 or n_faces == 0:
        raise ValueError(f"the mesh has no {'vertices' if n_vertices == 0 else 'faces'}")
    return n_vertices, n_faces


def _vertices(lines: _Lines, start: int, stop: int, values: set[int]) -> Float[np.ndarray, "v 3"]:
    wrong = ~np.isin(lines.size[start:stop], list(values))
    if wrong.any():
        row = start + int(wrong.argmax())
        more = "" if values == {3} else f", in all {' or '.join(map(str, sorted(values)))} values"
        raise ValueError(
            f"line {lines.number[row]}: a vertex has three coordinates{more}, found {lines.size[row]} values"
        )
    first = lines.first[start:stop] - lines.first[start]
    vertices = lines.numbers(start, stop)[first[:, None] + np.arange(3)]
    finite = (np.abs(vertices) < 1e100).all(axis=1)  # the squares of larger numbers are infinite
    if not finite.all():
        line = lines.number[start + int(finite.argmin())]
        raise ValueError(f"line {line}: a coordinate is not finite, or above 1e100")
    return vertices


def _faces(lines: _Lines, start: int, stop: int, n_vertices: int) -> Int[np.ndarray, "f 3"]:
    values = lines.numbers(start, stop)
    first = lines.first[start:stop] - lines.first[start]
    size, number = lines.size[start:stop], lines.number[start:stop]
    corners = values[first]
    wrong = ~((corners >= 1) & (corners < size) & (corners % 1 == 0))
    if wrong.any():
        row = int(wrong.argmax())
        raise ValueError(
            f"line {number[row]}: a face begins with the number of its corners, but {corners[row]:g} is followed by "
            f"{size[row] - 1} values"
        )
    owner = np.repeat(np.arange(len(size)), size)
    place = np.arange(len(values)) - first[owner]  # in its line: the number of corners is at 0, then come the corners
    is_corner = (place >= 1) & (place <= corners[owner])
    wrong = is_corner & ~((values >= 0) & (values < n_vertices) & (values % 1 == 0))
    if wrong.any():
        at = int(wrong.argmax())
        raise ValueError(
            f"line {number[owner[at]]}: the face has corner {values[at]:g}, but the vertices are 0 to {n_vertices - 1}"
        )
    third = np.flatnonzero(is_corner & (place >= 3))  # each ends one triangle of the fan
    return np.stack([values[first[owner[third]] + 1], values[third - 1], values[third]], axis=1).astype(np.int64)


def _text(words: bytes, length: int) -> str:
    return words[:length].decode("utf-8", "replace")


def _is_number(token: bytes) -> bool:
    try:
        float(token)
    except ValueError:
        return False
    return True
