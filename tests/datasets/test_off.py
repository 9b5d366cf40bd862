"""OFF meshes: every spelling reads back equal, everything broken is named, real files."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.real_data import SHARED

from hiercl.datasets.modelnet.off import parse_off, read_off

RAW = SHARED / "modelnet40" / "raw" / "ModelNet40"
TRIANGLE = b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"


# ---- spellings ----


@st.composite
def meshes(draw):
    """Vertices, polygons, and a text that spells them in one of the many ways."""
    number = st.floats(-1e6, 1e6, allow_subnormal=False)
    corners = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), *draw(st.lists(st.tuples(number, number, number)))]
    corner = st.integers(0, len(corners) - 1)
    polygons = [[0, 1, 2], *draw(st.lists(st.lists(corner, min_size=1, max_size=6)))]

    blank = st.sampled_from(["", "", "", "\n", "  \n", "# a comment 3 0 1 2\n", "\t#\n\n"])
    space = st.sampled_from([" ", " ", "  ", "\t"])
    end = st.sampled_from(["\n", "\n", " \n", " # why\n"])
    colour = st.sampled_from(["", "", " 255 0 0", " 0.1 0.2 0.3 1", " 7"])

    def line(values, tail=""):
        return draw(blank) + draw(st.sampled_from(["", " "])) + draw(space).join(map(str, values)) + tail + draw(end)

    counts = [len(corners), len(polygons), *draw(st.sampled_from([[], [0], [17]]))]
    glued = draw(st.booleans())
    text = "" if glued else draw(blank)
    text += "OFF" + (" ".join(map(str, counts)) + draw(end) if glued else draw(end) + line(counts))
    text += "".join(line([repr(x) if draw(st.booleans()) else f"{x:.17e}" for x in point]) for point in corners)
    text += "".join(line([len(polygon), *polygon], draw(colour)) for polygon in polygons)
    text = text.rstrip("\n") if draw(st.booleans()) else text
    newline = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    return corners, polygons, text.replace("\n", newline).encode()


@given(meshes())
def test_a_mesh_reads_back_equal_in_every_spelling(mesh):
    corners, polygons, text = mesh
    found = parse_off(text)
    np.testing.assert_array_equal(found.vertices, corners)
    fans = [[p[0], p[i], p[i + 1]] for p in polygons for i in range(1, len(p) - 1)]
    np.testing.assert_array_equal(found.faces, fans)


@pytest.mark.parametrize(
    ("word", "more"),
    [("COFF", "255 0 0 255"), ("COFF", "0.1 0.2 0.3"), ("NOFF", "0 0 1"), ("CNOFF", "0 0 1 9 9 9"), ("STOFF", "0 1")],
)
def test_what_vertices_have_beside_their_coordinates_is_passed_over(word, more):
    lines = TRIANGLE.decode().replace("OFF", word).splitlines()
    coloured = "\n".join([*lines[:2], *(f"{line} {more}" for line in lines[2:5]), lines[5]])
    for found, right in zip(parse_off(coloured.encode()), parse_off(TRIANGLE), strict=True):
        np.testing.assert_array_equal(found, right)
    with pytest.raises(ValueError, match=r"a vertex has three coordinates, in all .* found 4 values"):
        parse_off(coloured.replace(more, "1", 1).encode())


@pytest.mark.parametrize("word", ["1.#QNAN", "1.#INF", "1#", "0#0"])
def test_a_comment_begins_after_a_space(word):
    with pytest.raises(ValueError, match=f"line 5: '{word}' is no number"):
        parse_off(TRIANGLE.replace(b"0 1 0\n", f"0 1 {word}\n".encode()))


def test_what_follows_the_last_face_is_passed_over():
    assert len(parse_off(TRIANGLE + b"3 0 2 1\nthe end").faces) == 1


# ---- broken files ----


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "which begins with the word OFF: the file is empty"),
        (b"# only this\n", "the file is empty"),
        (b"<!DOCTYPE html>\n404", "the file begins with '<!DOCTYPE html>'"),
        (b"ply\nformat ascii", "the file begins with 'ply'"),
        (b"OFFICE 3 1 0", "the file begins with 'OFFICE 3 1 0'"),
        (b"4OFF\n3 1 0\n", "the file begins with '4OFF'"),
        (b"OFF BINARY\n\0\0\1", "the file begins with 'OFF BINARY'"),
        (TRIANGLE[4:], "the file begins with '3 1 0'"),
        (b"OFF", "numbers of vertices and faces are missing"),
        (b"OFF\n\n# nothing\n", "numbers of vertices and faces are missing"),
        (b"OFF\n3\n0 0 0\n", "line 2: expected the numbers of vertices, faces and edges, found '3'"),
        (b"OFF\n0.5 1 2\n", "line 2: expected the numbers .* found '0.5 1 2'"),
        (b"OFF\n-3 1 0\n", "line 2: expected the numbers .* found '-3 1 0'"),
        (b"OFF\n0 0 0\n", "the mesh has no vertices"),
        (TRIANGLE.replace(b"3 1 0\n", b"3 0 0\n", 1), "the mesh has no faces"),
        (TRIANGLE[:-8], "the file is cut: .* 3 vertices and 1 faces, but 1 of these 4 lines are missing"),
        (b"OFF\n99999999999 1 0\n0 0 0\n", "the file is cut"),
        (TRIANGLE[:-3], r"line 6: a face begins with .* corners, but 3 is followed by 2 values"),
        (TRIANGLE.replace(b"3 0 1 2", b"0 0 1 2"), "line 6: a face begins with the number of its corners, but 0"),
        (TRIANGLE.replace(b"3 0 1 2", b"2.5 0 1 2"), r"line 6: a face begins with .* but 2\.5"),
        (TRIANGLE.replace(b"3 0 1 2", b"3 0 1 3"), "line 6: the face has corner 3, but the vertices are 0 to 2"),
        (TRIANGLE.replace(b"3 0 1 2", b"3 0 -1 2"), "line 6: the face has corner -1"),
        (TRIANGLE.replace(b"3 0 1 2", b"3 0 1.5 2"), r"line 6: the face has corner 1\.5"),
        (TRIANGLE.replace(b"3 0 1 2", b"3 0 nan 2"), "line 6: the face has corner nan"),
        (TRIANGLE.replace(b"3 0 1 2", b"3 0 1 x"), "line 6: 'x' is no number"),
        (TRIANGLE.replace(b"1 0 0", b"1 nan 0"), "line 4: a coordinate is not finite"),
        (TRIANGLE.replace(b"1 0 0", b"-inf 0 0"), "line 4: a coordinate is not finite"),
        (TRIANGLE.replace(b"1 0 0", b"1e200 0 0"), "line 4: a coordinate is not finite, or above 1e100"),
        (TRIANGLE.replace(b"1 0 0", b"1 zero 0"), "line 4: 'zero' is no number"),
        (TRIANGLE.replace(b"1 0 0", b"1 0"), "line 4: a vertex has three coordinates, found 2 values"),
        (TRIANGLE.replace(b"0 1 0\n3", b"\n#x\n0 1 0 5\n3"), "line 7: a vertex has three coordinates, found 4 values"),
        (TRIANGLE.replace(b"3 0 1 2", b"3 0 1 1"), "none of the faces has an area"),
        (TRIANGLE.replace(b"0 1 0\n3", b"2 0 0\n3"), "none of the faces has an area"),
        (TRIANGLE.replace(b"3 0 1 2", b"2 0 1"), "the mesh has no faces"),
    ],
)
def test_what_is_wrong_is_said(content, message):
    with pytest.raises(ValueError, match=message):
        parse_off(content)


@given(st.binary(max_size=60))
def test_no_content_breaks_the_reader(content):
    for text in (content, b"OFF\n" + content, TRIANGLE[:20] + content):
        try:
            parse_off(text)
        except ValueError as error:
            assert str(error)


def test_the_file_is_named(tmp_path):
    (tmp_path / "chair_0001.off").write_bytes(TRIANGLE[:-8])
    with pytest.raises(ValueError, match=r"chair_0001.off: the file is cut"):
        read_off(tmp_path / "chair_0001.off")


# ---- large and real files ----


def test_large_files_are_fast():
    points = np.random.default_rng(0).normal(size=(50_000, 3))
    faces = np.random.default_rng(1).integers(0, 50_000, (100_000, 3))
    text = "OFF\n50000 100000 0\n" + "\n".join(" ".join(map(repr, point)) for point in points.tolist())
    text += "\n" + "\n".join("3 " + " ".join(map(str, face)) for face in faces.tolist())
    content = text.encode()
    start = time.process_time()
    found = parse_off(content)
    assert time.process_time() - start < 3  # about 0.2 s on a laptop; a loop over lines takes many times that
    np.testing.assert_array_equal(found.vertices, points)
    np.testing.assert_array_equal(found.faces, faces)


@pytest.mark.skipif(not RAW.is_dir(), reason="the real OFF files are not at ../shared/data")
def test_the_real_files():
    files = sorted(Path(RAW).glob("*/*/*.off"))
    assert len(files) >= 10
    for file in files:
        vertices, faces = read_off(file)
        n_vertices, n_faces = map(int, file.read_text().split()[1:3])
        assert vertices.shape == (n_vertices, 3) and len(faces) == n_faces, "all polygons of these are triangles"
        slow = [line.split()[1:4] for line in file.read_text().splitlines()[2 + n_vertices : 2 + n_vertices + n_faces]]
        np.testing.assert_array_equal(faces, np.array(slow, dtype=int))
