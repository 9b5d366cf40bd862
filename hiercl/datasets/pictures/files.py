"""Picture files: how one is decoded, and many of them as if they were one array."""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hiercl.runtime.types import UInt8

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ENDINGS", "PictureFiles", "UnreadablePictures", "decode", "fit"]

ENDINGS = (
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif"),
    *(".heic", ".heif", ".jxl"),  # pictures too, which Pillow cannot read: they are reported, not passed over
)
# Pillow's names of the decoders that a file may reach; others, such as PostScript, would start foreign programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
BLOCK = 256  # pictures that are decoded before they are handed on


# ---- one picture ----


def decode(path: str | Path, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Decode a picture file as RGB, its shorter side resized to ``size`` and its centre cut out.

    Pictures are turned upright as their EXIF data say, grey ones become RGB, and transparent pixels are shown on white.
    Of several pictures in a file (GIF, TIFF) the first is taken.

    Decoded with Pillow, as ``torchvision.datasets.ImageFolder`` does: torchvision's own decoders, ``torchvision.io``,
    are deprecated since 0.29 and will be removed.

    Raises whatever Pillow raises for a file that it cannot read; a picture that is cut off is an OSError.
    """
    from PIL import Image, ImageOps

    with Image.open(path, formats=FORMATS) as image:
        image.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded at a half, quarter or eighth at once
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return fit(_rgb(image), size)


def fit(image: "Image", size: int) -> UInt8[np.ndarray, "size size c"]:
    """Resize the shorter side of a picture to ``size``, with antialias, and cut out the centre."""
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC))


def _rgb(image: "Image") -> "Image":
    from PIL import Image

    if image.mode.startswith("I;16"):  # Pillow's own conversion would clip at 255
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels have no fixed range (mode {image.mode!r}): convert it to 8 bits a channel")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


# ---- what cannot be read ----


class UnreadablePictures(ValueError):
    """Pictures that cannot be read, all of them at once.

    ``problems`` has the reason for every path, relative to ``root``. ``lasting`` is false when the operating system
    refused a file, for example for want of permission: that may pass without a change of the file.
    """

    def __init__(self, root: Path, problems: dict[str, str], lasting: bool = True):
        super().__init__(root, problems, lasting)
        self.root, self.problems, self.lasting = root, problems, lasting

    def __str__(self) -> str:
        lines = [f"  {path}: {reason}" for path, reason in self.problems.items()]
        if len(lines) > 20:
            lines[20:] = [f"  ... and {len(lines) - 20} more, all of them in the error's attribute problems"]
        return (
            f"{len(self.problems)} of the pictures in {self.root} cannot be read:\n" + "\n".join(lines) + "\n"
            "Repair or delete them, or give skip_unreadable=True to leave them out."
        )


def _reason(error: Exception, path: Path) -> str:
    from PIL import UnidentifiedImageError

    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, UnidentifiedImageError):
        empty = path.stat().st_size == 0
        return "the file is empty" if empty else f"not a picture of a known format ({', '.join(FORMATS)})"
    if "truncated" in str(error).lower():
        return f"the file is cut off ({error})"
    return f"{error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def _lasts(error: Exception) -> bool:
    """Pillow's own OSErrors carry no error number; those of the operating system do."""
    return not isinstance(error, OSError) or error.errno is None or isinstance(error, FileNotFoundError)


# ---- many pictures ----


@dataclass(frozen=True, eq=False, repr=False)
class PictureFiles:
    """Picture files that look like an array ``[n, size, size, 3]`` of uint8; indexing decodes what it asks for.

    ``files[index]`` takes an integer, a slice, integers ``[k]`` or a mask ``[n]``, as numpy does, and gives an array;
    ``files.take(index)`` gives the chosen files without decoding them. See `decode` for what happens to a picture.
    ``np.asarray(files)`` decodes all of them. It can be pickled, so DataLoader workers can index it.

    Raises UnreadablePictures, on indexing, with every file of the batch that cannot be read.

    Example::

        >>> files = PictureFiles(Path("lab"), np.array(["cat/1.jpg", "dog/1.jpg"]), size=64)
        >>> files.shape, files.take([1]).paths.tolist()
        ((2, 64, 64, 3), ['dog/1.jpg'])
    """

    root: Path
    paths: np.ndarray  # of str, relative to the root
    size: int

    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """As of the array of all decoded pictures."""
        return len(self.paths), self.size, self.size, 3

    @property
    def nbytes(self) -> int:
        """Bytes of the array of all decoded pictures."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: Any) -> UInt8[np.ndarray, "..."]:
        chosen = np.asarray(self.paths[index])
        pictures, errors = self._decode(chosen.ravel().tolist())
        if errors:
            raise self._unreadable(errors)
        return pictures.reshape(*chosen.shape, *self.shape[1:])

    def take(self, index: Any) -> "PictureFiles":
        """Choose some of the files, in this order, by a slice, positions or a mask; nothing is decoded."""
        return PictureFiles(self.root, self.paths[index], self.size)

    def blocks(self) -> Iterator[UInt8[np.ndarray, "block size size 3"]]:
        """Decode all pictures, in order and in threads, and show how far it is.

        Raises UnreadablePictures, after the last block, with all of the files that cannot be read.
        """
        from tqdm.auto import tqdm

        errors = {}
        with _noticing_cut_files(), tqdm(total=len(self), desc="decoding pictures", unit="", leave=False) as bar:
            for start in range(0, len(self), BLOCK):
                pictures, wrong = self._decode(self.paths[start : start + BLOCK].tolist())
                errors |= wrong
                bar.update(len(pictures))
                yield pictures
        if errors:
            raise self._unreadable(errors)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("picture files are decoded into a new array: copy=False cannot be")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    def __repr__(self) -> str:
        return f"PictureFiles({len(self):,} of {str(self.root)!r}, size={self.size})"

    def _decode(self, paths: list[str]) -> tuple[np.ndarray, dict[str, Exception]]:
        """Give the pictures, black where one cannot be read, and the errors of those."""

        def attempt(path: str) -> np.ndarray | Exception:
            try:
                return decode(self.root / path, self.size)
            except MemoryError:  # says nothing about the file
                raise
            except Exception as error:  # decoders of broken files raise errors of all kinds
                return error

        # A loader's worker process has its share of the cores already.
        threads = 1 if multiprocessing.parent_process() else min(8, os.cpu_count() or 1, len(paths) or 1)
        with ThreadPoolExecutor(threads) as pool:
            results = list(pool.map(attempt, paths))
        errors = {p: r for p, r in zip(paths, results, strict=True) if isinstance(r, Exception)}
        pictures = np.zeros((len(paths), *self.shape[1:]), dtype=np.uint8)
        for row, result in enumerate(results):
            if not isinstance(result, Exception):
                pictures[row] = result
        return pictures, errors

    def _unreadable(self, errors: dict[str, Exception]) -> UnreadablePictures:
        problems = {path: _reason(error, self.root / path) for path, error in errors.items()}
        return UnreadablePictures(self.root, problems, all(_lasts(error) for error in errors.values()))


@contextmanager
def _noticing_cut_files() -> Iterator[None]:
    """Other code of the same process may have told Pillow to fill cut files with grey."""
    from PIL import ImageFile

    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
