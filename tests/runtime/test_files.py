"""Files are whole or not there, full disks and damaged files are named, and a folder has one writer."""

import json
import os
import threading

import numpy as np
import pytest
import torch
from support.disks import small_disk

from hiercl.runtime.archives import check_archive, pack, unpack
from hiercl.runtime.files import (
    DiskFullError,
    clear_partial,
    only_writer,
    read_json,
    whole_file,
    whole_folder,
    write_atomically,
)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_full_disk_names_folder_and_space_and_leaves_what_was_there(tmp_path):
    path = tmp_path / "numbers.bin"
    write_atomically(path, b"before")
    with small_disk(1000), pytest.raises(DiskFullError, match=rf"{path} needs 2\.5 MB, and {tmp_path} has [\d,.]+ MB"):
        write_atomically(path, bytes(2_500_000))
    with small_disk(1000), pytest.raises(DiskFullError, match=r"array.npy needs at least 0\.0 MB"):
        with whole_file(tmp_path / "array.npy") as new:
            np.save(new, np.zeros(10_000))
    with small_disk(1000), pytest.raises(DiskFullError, match=r"report.json needs"):
        with whole_folder(tmp_path / "report") as new:
            write_atomically(new / "small", b"fits")
            write_atomically(new / "report.json", bytes(2000))
    assert path.read_bytes() == b"before" and names(tmp_path) == ["numbers.bin"]


def test_an_interrupt_leaves_what_was_there(tmp_path):
    write_atomically(tmp_path / "a.json", "before")
    with pytest.raises(KeyboardInterrupt):
        with whole_file(tmp_path / "a.json") as new:
            new.write_text("half")
            raise KeyboardInterrupt
    assert (tmp_path / "a.json").read_text() == "before" and names(tmp_path) == ["a.json"]


def test_links_at_names_of_unfinished_files_are_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / "config.json.partial").symlink_to(victim)
    write_atomically(tmp_path / "config.json", "{}")
    guessed = tmp_path / ".config.guessed.partial.json"
    guessed.symlink_to(victim)
    monkeypatch.setattr("hiercl.runtime.files._beside", lambda path: guessed)
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "config.json", "[]")
    assert victim.read_text() == "mine" and (tmp_path / "config.json").read_text() == "{}"


@pytest.mark.parametrize(
    "content, why",
    [
        (b"", "Expecting value"),
        (b'{"rows": [', "Expecting value"),
        (b"[1]", "it holds a list"),
        (b'{"seconds": "3"}', "seconds is '3'"),
        (b'{"seconds": true}', "seconds is True"),
        (b"{}", "seconds is None"),
        (b"\xff\xfe", "codec can't decode"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, content, why):
    path = tmp_path / "seconds.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path} is empty, cut or altered \(.*{why}.*\): delete it"):
        read_json(path, "delete it", {"seconds": int | float})


def test_one_writer_at_a_time_and_nothing_of_dead_ones_is_left(tmp_path):
    (tmp_path / ".a.0.partial.json").touch()
    (tmp_path / ".report.0.partial").mkdir()
    said = []

    def other():
        try:
            with only_writer(tmp_path):
                said.append("wrote")
        except BlockingIOError as error:
            said.append(str(error))

    for inside in (True, False):
        with only_writer(tmp_path) if inside else open(os.devnull):
            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
    assert "is in use: another process or thread writes to it" in said[0] and said[1] == "wrote"
    assert names(tmp_path) == [".lock"]
    (tmp_path / "file").touch()
    with (
        pytest.raises(NotADirectoryError, match="is a file, and a folder is needed there"),
        only_writer(tmp_path / "file"),
    ):
        pass


def test_leftovers_of_one_kind_are_removed_where_others_write(tmp_path):
    for name in (".a.0.partial.json", ".page.0.partial.md"):
        (tmp_path / name).touch()
    clear_partial(tmp_path, ".json")
    assert names(tmp_path) == [".page.0.partial.md"]


def test_any_changed_bit_of_an_archive_is_noticed(tmp_path):
    """torch itself notices none of those in the numbers; and it reads our archives as its own."""
    state = {"a": torch.arange(6.0), "b": [1, "c"]}
    content = bytes(pack(state))
    for bit in range(0, 8 * len(content), 11):
        altered = bytearray(content)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match=r"altered|no whole archive"):
            check_archive(bytes(altered))
    for cut in (content[:-1], content[: len(content) // 2], b""):
        with pytest.raises(ValueError, match=r"altered|no whole archive"):
            check_archive(cut)
    (tmp_path / "ours.pt").write_bytes(content)
    assert torch.equal(torch.load(tmp_path / "ours.pt", weights_only=True)["a"], state["a"])
    torch.save(state, tmp_path / "theirs.pt")
    theirs = (tmp_path / "theirs.pt").read_bytes()
    assert torch.equal(unpack(theirs)["a"], state["a"])
    place = theirs.index(state["a"].numpy().tobytes()) + 2
    with pytest.raises(ValueError, match="altered"):
        unpack(theirs[:place] + bytes([theirs[place] ^ 1]) + theirs[place + 1 :])


def test_json_is_written_as_it_was(tmp_path):
    write_atomically(tmp_path / "new" / "folder" / "é.json", json.dumps({"a": "é"}, ensure_ascii=False))
    assert read_json(tmp_path / "new" / "folder" / "é.json", "") == {"a": "é"}
