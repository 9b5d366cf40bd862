"""Downloads from a server on this machine: mirrors in turn, checks, and parts that are continued."""

import hashlib
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from hiercl.datasets.download import Mirror, fetch

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT at /good/*, with ranges; other paths do something wrong. Notes what it was asked for."""

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        begin = int(re.match(r"bytes=(\d+)-", asked)[1]) if asked else 0
        match self.path.split("/")[1]:
            case "good" if begin >= len(CONTENT):
                self.answer(416, b"", {"Content-Range": f"bytes */{len(CONTENT)}"})
            case "good" if asked:
                part = f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}"
                self.answer(206, CONTENT[begin:], {"Content-Range": part})
            case "good" | "no-ranges":
                self.answer(200, CONTENT)
            case "cut":
                part = {"Content-Range": f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}"} if begin else {}
                content = CONTENT[begin : begin + 1_000_000]
                self.answer(206 if begin else 200, content, part, size=len(CONTENT) - begin)
            case "wrong-range":
                self.answer(206 if begin else 200, CONTENT, {"Content-Range": "bytes 5-9/10"})
            case "page":
                self.answer(200, b"<html>moved</html>")
            case "to-http":
                self.answer(302, b"", {"Location": "http://example.org/data.zip"})
            case "to-good":
                self.answer(302, b"", {"Location": "/good/data.zip"})
            case _:
                self.answer(404, b"")

    def answer(self, status, content, headers=None, size=None):
        self.send_response(status)
        for name, value in {"Content-Length": str(size or len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked = []
        server.handle_error = lambda *_: None  # a client that hangs up is what some tests want
        Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def get(server, tmp_path):
    """Fetch data.zip from these places of the server."""

    def get(*places, sha256=SHA256, **options):
        address = f"http://127.0.0.1:{server.server_port}"
        mirrors = [Mirror(f"{address}/{place}/data.zip", sha256) for place in places]
        return fetch(mirrors, tmp_path / "there", **{"allow_http": True, "timeout": 5, **options})

    return get


def files(tmp_path):
    return sorted(file.name for file in (tmp_path / "there").iterdir())


def test_a_file_is_downloaded_once(get, server, tmp_path):
    path = get("good")
    assert path == tmp_path / "there" / "data.zip" and path.read_bytes() == CONTENT
    assert get("good") == path and server.asked == [("/good/data.zip", None)]
    assert files(tmp_path) == ["data.zip"]


def test_mirrors_are_tried_in_turn(get, server):
    assert get("missing", "page", "to-http", "good", "never").read_bytes() == CONTENT
    assert [path.split("/")[1] for path, _ in server.asked] == ["missing", "page", "to-http", "good"]


def test_redirects_are_followed(get):
    assert get("to-good").read_bytes() == CONTENT


def test_when_no_mirror_has_it_all_are_listed(get, tmp_path):
    with pytest.raises(ConnectionError) as raised:
        get("missing", "page", "to-http", advice="Take it from the shelf.")
    lines = str(raised.value).splitlines()
    assert (
        lines[0] == "the file could not be downloaded; these addresses were tried:"
        and lines[-1] == "Take it from the shelf."
    )
    assert re.search(r"/missing/data.zip: 404", lines[1])
    assert re.search(r"/page/data.zip: it has another file \(its SHA-256 is \w+, not \w+\)", lines[2])
    assert re.search(
        r"to-http/data.zip: it redirects to another address: http://example.org/data.zip is no https", lines[3]
    )
    assert files(tmp_path) == []


def test_a_server_that_does_not_answer(tmp_path):
    with pytest.raises(ConnectionError, match=r"127.0.0.1:9/data.zip: .*refused"):
        fetch([Mirror("https://127.0.0.1:9/data.zip")], tmp_path)


def test_a_broken_connection_is_continued(get, server, tmp_path):
    for got in ("1,000,000 of 3,000,000", "2,000,000 of 3,000,000"):
        with pytest.raises(ConnectionError, match=f"the connection ended after {got} bytes; the next call continues"):
            get("cut")
    assert [name.endswith(".part") for name in files(tmp_path)] == [True]
    assert [asked for _, asked in server.asked] == [None, "bytes=1000000-"]


def part_of(mirror, tmp_path, content):
    """What an interrupted download from this mirror leaves."""
    (tmp_path / "there").mkdir()
    digest = hashlib.sha256(mirror.encode()).hexdigest()[:8]
    (tmp_path / "there" / f"data.zip.{digest}.part").write_bytes(content)


@pytest.mark.parametrize(
    ("place", "part", "asked"),
    [
        ("good", CONTENT[:1234], ["bytes=1234-"]),
        ("good", CONTENT, ["bytes=3000000-"]),  # complete, but the check was interrupted
        ("good", b"another version", ["bytes=15-", None]),  # the checksum tells, then from the beginning
        ("good", CONTENT + b"too long", ["bytes=3000008-", None]),
        ("no-ranges", CONTENT[:1234], ["bytes=1234-"]),
    ],
)
def test_a_part_is_continued(get, server, tmp_path, place, part, asked):
    part_of(f"http://127.0.0.1:{server.server_port}/{place}/data.zip", tmp_path, part)
    assert get(place).read_bytes() == CONTENT
    assert [header for _, header in server.asked] == asked and files(tmp_path) == ["data.zip"]


def test_a_server_that_sends_another_part(get, server, tmp_path):
    part_of(f"http://127.0.0.1:{server.server_port}/wrong-range/data.zip", tmp_path, CONTENT[:100])
    with pytest.raises(ConnectionError, match="asked for the bytes from 100, it sent bytes 5-9/10"):
        get("wrong-range")


def test_a_file_without_a_checksum_is_checked_by_its_content(get, tmp_path):
    def check(path):
        if path.read_bytes() != CONTENT:
            raise ValueError("no zip archive")

    with pytest.raises(ConnectionError, match=r"page/data.zip: it has another file \(no zip archive\)"):
        get("page", sha256=None, check=check)
    assert files(tmp_path) == []
    assert get("page", "good", sha256=None, check=check).read_bytes() == CONTENT


def test_a_damaged_file_that_is_there_is_named(get, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "data.zip").write_bytes(CONTENT[:-1])
    with pytest.raises(RuntimeError, match=r"data.zip is cut or altered \(its SHA-256 is \w+, not \w+\): delete it"):
        get("good")
    assert get("good", sha256=None).read_bytes() == CONTENT[:-1], "what was put there by hand is used"


def test_a_full_disk_is_not_taken_for_a_broken_mirror(get, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("builtins.open", full)
    with pytest.raises(OSError, match="No space left"):
        get("good")


@pytest.mark.parametrize("url", ["http://example.org/data.zip", "file:///etc/data.zip", "ftp://example.org/data.zip"])
def test_only_https(tmp_path, url):
    for allow_http in (False, True):
        with pytest.raises(ValueError, match="is no https address"):
            fetch([Mirror(url)], tmp_path, allow_http=allow_http)
    with pytest.raises(ValueError, match="is no https address"):
        fetch([Mirror("http://127.0.0.1/data.zip")], tmp_path)
