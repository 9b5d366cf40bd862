"""Files from elsewhere: downloads, and the files of folders and zip archives, which are read in one way."""

import hashlib
import re
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit

from hiercl.datasets.limits import LARGEST, LARGEST_TEXT, check_room
from hiercl.runtime.given import given_path
from hiercl.runtime.progress import progress_bar

__all__ = ["DAMAGE", "Files", "Mirror", "UnreadableFiles", "fetch", "printable"]

BLOCK = 1 << 20  # bytes
# Errors that a damaged file may cause.
DAMAGE = (ValueError, OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)
SHOWN = 20  # files that an error lists
WITHOUT_NETWORK = (
    'Check the network and call again. Without a network, hiercl.load("shapes") works: it generates its own data.'
)

# ---- downloads ----


@dataclass(frozen=True)
class Mirror:
    """An address that a file can be downloaded from.

    Attributes:
        url: the address.
        checksum: MD5 or SHA-256 of the file in hexadecimal digits; None if it is not known.

    Example:
        >>> Mirror("https://example.org/data/ModelNet40.zip").file
        'ModelNet40.zip'
    """

    url: str
    checksum: str | None = None

    @property
    def file(self) -> str:
        """The name of the file."""
        return urlsplit(self.url).path.rsplit("/", 1)[-1]

    def difference(self, path: Path) -> str:
        """Returns how the checksum of a file differs from the expected one; "" if it does not."""
        if not self.checksum:
            return ""
        kind = {32: "MD5", 64: "SHA-256"}[len(self.checksum)]
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, kind.replace("-", "").lower()).hexdigest()
        return "" if found == self.checksum else f"its {kind} is {found}, not {self.checksum}"


def fetch(
    mirrors: Sequence[Mirror],
    folder: str | Path,
    check: Callable[[Path], None] | None = None,
    advice: str = "",
    timeout: float | int = 30,
    allow_http: bool = False,
) -> Path:
    """Downloads a file from the first mirror that has it.

    A file that exists already is not downloaded again. The download goes to a file that ends in ``.part``; after an
    interruption the next call downloads only the rest. The file gets its name when it is complete and has passed its
    checks.

    Args:
        mirrors: where the file is, tried in this order. Only https addresses are used, also after a redirect.
        folder: where the file goes.
        check: function of the path of the complete file. It raises ValueError or OSError, with the reason, for a wrong
            file. If a mirror has no checksum, this is the only check.
        advice: what a person can do if no mirror answers. It is the end of the error.
        timeout: seconds without an answer until the next mirror is tried.
        allow_http: also allow unencrypted addresses of this machine, for tests.

    Returns:
        The path of the file: ``folder`` / :attr:`Mirror.file`.

    Raises:
        ConnectionError: no mirror has the file; the message lists every address with the reason.
        RuntimeError: the file exists, but its checksum is wrong.
        ValueError: an address is not https.

    Example:
        >>> fetch([Mirror("https://example.org/ModelNet40.zip")], "data/download")  # doctest: +SKIP
    """
    folder = given_path(folder, "folder")
    for mirror in mirrors:
        _check_address(mirror.url, allow_http)
        path = folder / mirror.file
        if path.is_file():
            if wrong := mirror.difference(path):
                raise RuntimeError(f"{path} is cut or altered ({wrong}): delete it and call again")
            return path
    folder.mkdir(parents=True, exist_ok=True)
    opener = urllib.request.build_opener(_CheckedRedirects(allow_http))
    tried = []
    for mirror in mirrors:
        try:
            return _fetch(mirror, folder, check, opener, timeout)
        except _NotFetched as error:
            tried.append(f"  {mirror.url}: {error}")
    raise ConnectionError("\n".join(["the file could not be downloaded; these addresses were tried:", *tried, advice]))


class _NotFetched(Exception):
    """The reason why a mirror did not give the file."""


def _fetch(
    mirror: Mirror, folder: Path, check: Callable | None, opener: urllib.request.OpenerDirector, timeout: float | int
) -> Path:
    # A part is continued only from its own mirror: another mirror may have another version.
    part = folder / f"{mirror.file}.{hashlib.sha256(mirror.url.encode()).hexdigest()[:8]}.part"
    while True:
        resumed = part.exists()
        _receive(mirror.url, part, opener, timeout)
        try:
            wrong = mirror.difference(part)
            if check and not wrong:
                check(part)
        except (ValueError, OSError) as error:
            wrong = str(error)
        if not wrong:
            return part.replace(folder / mirror.file)
        part.unlink()
        if not resumed:
            raise _NotFetched(f"it has another file ({wrong})")
        # The file may have changed on the server between the parts: download it again from the start.


def _receive(url: str, part: Path, opener: urllib.request.OpenerDirector, timeout: float | int) -> None:
    """Downloads all of a file, or the rest of a part."""
    begun = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "hiercl"})
    if begun:
        request.add_header("Range", f"bytes={begun}-")
    try:
        response = opener.open(request, timeout=timeout)
    except HTTPError as error:
        if error.code != 416 or not begun:
            raise _NotFetched(f"{error.code} {error.reason}") from error
        if error.headers.get("Content-Range") != f"bytes */{begun}":  # otherwise the part is complete
            part.unlink()
            _receive(url, part, opener, timeout)
        return
    except (OSError, HTTPException) as error:
        raise _NotFetched(str(getattr(error, "reason", error)) or type(error).__name__) from error
    with response:
        if response.status != 206:  # the server sends the whole file
            begun = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {begun}-"):
            raise _NotFetched(f"asked for the bytes from {begun}, it sent {response.headers.get('Content-Range')}")
        length = response.headers.get("Content-Length")
        size = begun + int(length) if length else None
        name = part.name.split(".")[0]
        bar = progress_bar(initial=begun, total=size, unit="B", unit_scale=True, desc=name, leave=False)
        with bar, open(part, "ab" if begun else "wb") as file:
            for block in iter(partial(_read_block, response), b""):
                bar.update(file.write(block))
    received = part.stat().st_size
    if size is not None and received < size:
        raise _NotFetched(f"the connection ended after {received:,} of {size:,} bytes; the next call continues there")


def _read_block(response: HTTPResponse) -> bytes:
    try:
        return response.read(BLOCK)
    except (OSError, HTTPException) as error:
        raise _NotFetched(f"the connection broke ({error}); the next call continues there") from error


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to an unencrypted address."""

    def __init__(self, allow_http: bool):
        self.allow_http = allow_http

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        try:
            _check_address(newurl, self.allow_http)
        except ValueError as error:
            raise _NotFetched(f"it redirects to another address: {error}") from error
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(url: str, allow_http: bool) -> None:
    parts = urlsplit(url)
    local = allow_http and parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1")
    if not (parts.scheme == "https" or local):
        raise ValueError(f"{url} is no https address: someone could change the file on the way")


# ---- folders and archives ----


def printable(name: str) -> str:
    r"""Returns the name of a file as text that can be written: bytes that are no UTF-8 are shown as ``\xe9``.

    Example:
        >>> printable("caf\udce9")
        'caf\\xe9'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") if not name.isascii() else name


class Files:
    """The files of a folder or of a zip archive, or a single file.

    A file's name is its path with /, which starts at the folder or archive. Nothing is unpacked, and only files that
    were listed are read, so no name can lead to another place.

    Args:
        path: a folder, a zip archive or another file.

    Raises:
        ValueError: the path does not exist, or the archive is cut or has names that lead out of it.

    Example:
        >>> train.save("mine")
        >>> sorted(Files(Path("mine")).names)
        ['hierarchy.json', 'items.npy', 'labels.npy', 'store.json']
    """

    def __init__(self, path: Path):
        self.path, self.archive = path, None
        if path.is_dir():
            names = [file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()]
        elif not path.is_file():
            raise ValueError(f"there is no file or folder {path}")
        elif path.suffix.lower() != ".npz" and zipfile.is_zipfile(path):
            try:
                self.archive = zipfile.ZipFile(path)
            except (zipfile.BadZipFile, OSError) as error:
                raise ValueError(f"{path} is damaged ({error}): download it again") from error
            names = [info.filename for info in self.archive.infolist() if not info.is_dir()]
        elif path.suffix.lower() == ".zip":
            raise ValueError(f"{path} is cut, or no zip archive: download it again")
        else:
            self.path, names = path.parent, [path.name]
        for name in names:
            if name.startswith("/") or ".." in re.split(r"[/\\]", name) or re.match(r"[A-Za-z]:", name):
                raise ValueError(f"{path} has the file {name!r}, which leads out of the archive: do not trust it")
        hidden = re.compile(r"(^|/)(\.|__MACOSX/)")
        self.names = dict.fromkeys(sorted(name for name in names if not hidden.search(name)))

    def read(self, name: str, most: int = LARGEST) -> bytes:
        """Returns the content of a file.

        Args:
            name: one of the names.
            most: number of bytes above which a file is not read. That of a file in an archive is known before it is
                unpacked.

        Raises:
            ValueError: the name was not listed, or the file is too large.
        """
        if name not in self.names:
            raise ValueError("there is no such file")
        try:
            size = self.archive.getinfo(name).file_size if self.archive else (self.path / name).stat().st_size
        except OSError as error:
            raise ValueError(f"it cannot be read: {error}") from error
        check_room(size, "it", most)
        try:
            return self.archive.read(name) if self.archive else (self.path / name).read_bytes()
        except DAMAGE as error:
            raise ValueError(str(error) or f"it is damaged ({type(error).__name__})") from error

    def lines(self, name: str) -> list[str]:
        """Returns the lines of a text file that are not blank."""
        content = self.read(name, LARGEST_TEXT)
        try:
            lines = content.decode("utf-8").splitlines()
        except ValueError as error:
            raise ValueError(f"the list {name} in {self.path} is no text in UTF-8: {error}") from error
        return [line.strip() for line in lines if line.strip()]

    def matching(self, pattern: str) -> Iterator[re.Match]:
        """Returns the match of every name in which the pattern is found."""
        return filter(None, (re.search(pattern, name) for name in self.names))


class UnreadableFiles(ValueError):
    """Files that cannot be read, all of them in one error.

    Attributes:
        root: the folder or archive of the files.
        problems: the reason for every file, by its path relative to the root.
    """

    noun = "files"
    advice = "Repair or replace them."

    def __init__(self, root: Path, problems: dict[str, str], *more):
        super().__init__(root, problems, *more)
        self.root, self.problems = root, problems

    def __str__(self) -> str:
        lines = [f"  {printable(path)}: {printable(reason)}" for path, reason in self.problems.items()]
        if len(lines) > SHOWN:
            lines[SHOWN:] = [f"  ... and {len(lines) - SHOWN} more; the error's attribute problems has all of them"]
        first = f"{len(self.problems)} of the {self.noun} in {printable(str(self.root))} cannot be read:"
        return "\n".join([first, *lines, self.advice])
