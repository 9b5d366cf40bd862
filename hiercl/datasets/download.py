"""Downloads: one file from the first of several mirrors that has it, checked before it is used."""

import hashlib
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit

__all__ = ["Mirror", "fetch"]

BLOCK = 1 << 20  # bytes


@dataclass(frozen=True)
class Mirror:
    """A place to download a file from: its address and, where it is known, its SHA-256 checksum.

    Example::

        >>> Mirror("https://example.org/data/ModelNet40.zip").file
        'ModelNet40.zip'
    """

    url: str
    sha256: str | None = None

    @property
    def file(self) -> str:
        """The name of the file."""
        return urlsplit(self.url).path.rsplit("/", 1)[-1]


def fetch(
    mirrors: Sequence[Mirror],
    folder: str | Path,
    check: Callable[[Path], None] | None = None,
    by_hand: str = "",
    timeout: float | int = 30,
    allow_http: bool = False,
) -> Path:
    """Download a file from the first mirror that has it, and return its path, ``folder`` / `Mirror.file`.

    A file that is there already is not downloaded again. What arrives goes to a file that ends in ``.part``; after an
    interruption the next call asks for the rest only. When it is complete and its checks have passed, it gets its name.

    Args:
        mirrors: tried in this order. Only https is followed, also where a mirror redirects to.
        folder: where the file goes.
        check: is called with the path of the complete file, and raises ValueError or OSError, with the reason, for one
            that is not what was wanted. For a mirror without a checksum this is the only check.
        by_hand: what a person can do if no mirror answers; it ends the error.
        timeout: seconds without any answer after which a mirror is given up.
        allow_http: also allow unencrypted addresses, of this machine alone; for tests.

    Raises ConnectionError, with every address and what was wrong there, when no mirror has the file; RuntimeError for a
    file that is there but has not its checksum; ValueError for an address that is not https.

    Example::

        >>> fetch([Mirror("https://example.org/ModelNet40.zip")], "data/download")  # doctest: +SKIP
    """
    folder = Path(folder)
    for mirror in mirrors:
        _check_address(mirror.url, allow_http)
        there = folder / mirror.file
        if there.is_file():
            if mirror.sha256 and _sha256(there) != mirror.sha256:
                raise RuntimeError(f"{there} is cut or altered (its SHA-256 is not {mirror.sha256}): delete it")
            return there
    folder.mkdir(parents=True, exist_ok=True)
    opener = urllib.request.build_opener(_CheckedRedirects(allow_http))
    tried = []
    for mirror in mirrors:
        try:
            return _fetch(mirror, folder, check, opener, timeout)
        except _NotFetched as error:
            tried.append(f"  {mirror.url}: {error}")
    raise ConnectionError("\n".join(["no mirror has the file; tried were", *tried, by_hand]).rstrip())


class _NotFetched(Exception):
    """The reason why a mirror did not give the file."""


def _fetch(
    mirror: Mirror, folder: Path, check: Callable | None, opener: urllib.request.OpenerDirector, timeout
) -> Path:
    # A part is continued from its own mirror only: another may have another version.
    part = folder / f"{mirror.file}.{hashlib.sha256(mirror.url.encode()).hexdigest()[:8]}.part"
    while True:
        resumed = part.exists()
        _receive(mirror.url, part, opener, timeout)
        wrong = _what_is_wrong(part, mirror.sha256, check)
        if not wrong:
            return part.replace(folder / mirror.file)
        part.unlink()
        if not resumed:
            raise _NotFetched(wrong)
        # The file may have changed on the server between the parts: once more, from its beginning.


def _receive(url: str, part: Path, opener: urllib.request.OpenerDirector, timeout: float | int) -> None:
    """Download all of a file, or what is missing of it."""
    begun = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "hiercl"})
    if begun:
        request.add_header("Range", f"bytes={begun}-")
    try:
        response = opener.open(request, timeout=timeout)
    except HTTPError as error:
        if error.code != 416 or not begun:
            raise _NotFetched(f"{error.code} {error.reason}") from error
        if error.headers.get("Content-Range") != f"bytes */{begun}":  # else there is nothing left to get
            part.unlink()
            _receive(url, part, opener, timeout)
        return
    except (OSError, HTTPException) as error:
        raise _NotFetched(str(getattr(error, "reason", error)) or type(error).__name__) from error
    with response:
        if response.status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {begun}-"):
            raise _NotFetched(f"asked for the bytes from {begun}, it sent {response.headers.get('Content-Range')}")
        begun = begun if response.status == 206 else 0
        size = response.headers.get("Content-Length")
        _write(response, part, begun, begun + int(size) if size else None)


def _write(response: HTTPResponse, part: Path, begun: int, size: int | None) -> None:
    from tqdm.auto import tqdm

    bar = tqdm(initial=begun, total=size, unit="B", unit_scale=True, desc=part.name.split(".")[0], leave=False)
    with bar, open(part, "ab" if begun else "wb") as file:
        for block in _blocks(response):
            file.write(block)
            bar.update(len(block))
    got = part.stat().st_size
    if size is not None and got < size:
        raise _NotFetched(f"the connection ended after {got:,} of {size:,} bytes; the next call continues there")


def _blocks(response: HTTPResponse) -> Iterator[bytes]:
    try:
        while block := response.read(BLOCK):
            yield block
    except (OSError, HTTPException) as error:
        raise _NotFetched(f"the connection broke ({error}); the next call continues there") from error


def _what_is_wrong(path: Path, sha256: str | None, check: Callable[[Path], None] | None) -> str:
    if sha256 and (found := _sha256(path)) != sha256:
        return f"what it has is another file (SHA-256 {found}, expected {sha256})"
    try:
        if check:
            check(path)
    except (ValueError, OSError) as error:
        return f"what it has is not the file that was wanted ({error})"
    return ""


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to an unencrypted address."""

    def __init__(self, allow_http: bool):
        self.allow_http = allow_http

    def redirect_request(self, request, file, code, message, headers, address):
        try:
            _check_address(address, self.allow_http)
        except ValueError as error:
            raise _NotFetched(f"it redirects elsewhere: {error}") from error
        return super().redirect_request(request, file, code, message, headers, address)


def _check_address(url: str, allow_http: bool) -> None:
    parts = urlsplit(url)
    here = allow_http and parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1")
    if not (parts.scheme == "https" or here):
        raise ValueError(f"{url} is no https address: what comes from it could be changed on its way")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
