"""The files of a folder or of a zip archive, read in one way."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Files"]


class Files:
    """The files of a folder or a zip archive, or a single file, by their names: paths with / that start there.

    Nothing is unpacked, and only what was listed is read, so no name can lead elsewhere.

    Raises ValueError for a path that is not there, and for an archive that is cut or has names that lead out of it.

    Example::

        >>> list(Files(Path("Downloads/ModelNet40.zip")).names)[0]  # doctest: +SKIP
        'ModelNet40/airplane/test/airplane_0627.off'
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

    def read(self, name: str) -> bytes:
        """Give the content of a file; raises ValueError for a name that was not listed."""
        if name not in self.names:
            raise ValueError("there is no such file")
        return self.archive.read(name) if self.archive else (self.path / name).read_bytes()

    def lines(self, name: str) -> list[str]:
        """Give the lines of a text file that are not blank."""
        lines = self.read(name).decode("utf-8").splitlines()
        return [line.strip() for line in lines if line.strip()]

    def matching(self, pattern: str) -> Iterator[re.Match]:
        """Give the match of every name in which the pattern is found."""
        return filter(None, (re.search(pattern, name) for name in self.names))
