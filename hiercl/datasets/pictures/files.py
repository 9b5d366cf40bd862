"""Picture files: decodes one, or presents many of them as one array."""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hiercl.datasets.download import UnreadableFiles
from hiercl.runtime.types import UInt8

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ENDINGS", "PictureFiles", "UnreadablePictures", "decode", "fit"]

ENDINGS = (
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".avif"),
    *(".heic", ".heif", ".jxl"),  # Pillow cannot read these pictures: they are reported, not ignored
)
# Pillow's names of the decoders that may read a file; others, such as PostScript, would start foreign programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
BLOCK = 256  # pictures that are decoded at a time


# ---- one picture ----


def decode(path: str | Path, size: int) -> UInt8[np.ndarray, "size size 3"]:
    """Decodes a picture file as RGB, resizes its shorter side to ``size`` and cuts out the centre.

    Pictures are turned upright as their EXIF data say, grey ones become RGB, and transparent pixels become white. Of
    several pictures in a file (GIF, TIFF) the first is taken. Pillow decodes, as in
    ``torchvision.datasets.ImageFolder``, because the decoders of ``torchvision.io`` are deprecated since 0.29.

    Args:
        path: the file.
        size: side of the result in pixels.

    Returns:
        The picture, uint8 ``[size, size, 3]``.

    Raises:
        OSError: the file is cut off or cannot be opened.
        ValueError: its pixels have no fixed range. Pillow may raise other errors for a broken file.

    Example:
        >>> plt.imsave("cat.png", train.items[0])
        >>> decode("cat.png", size=24).shape
        (24, 24, 3)
    """
    from PIL import Image, ImageOps

    with Image.open(path, formats=FORMATS) as image:
        image.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded at a half, quarter or eighth at once
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return fit(_rgb(image), size)


def fit(image: "Image", size: int) -> UInt8[np.ndarray, "size size c"]:
    """Resizes the shorter side of a picture to ``size``, with antialias, and cuts out the centre.

    Example:
        >>> from PIL import Image
        >>> fit(Image.fromarray(train.items[0]), 24).shape
        (24, 24, 3)
    """
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


class UnreadablePictures(UnreadableFiles):
    """Pictures that cannot be read, all of them in one error.

    Attributes:
        root: the folder of the pictures.
        problems: the reason for every picture, by its path relative to the root.
        lasting: False when the operating system refused a file, for example because of its permissions: then the file
            may become readable without a change.
    """

    noun = "pictures"
    advice = "Repair or delete them, or give skip_unreadable=True to leave them out."

    def __init__(self, root: Path, problems: dict[str, str], lasting: bool = True):
        super().__init__(root, problems, lasting)
        self.lasting = lasting


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
    """Whether an error will occur again. OSErrors of Pillow have no error number; those of the operating system do."""
    return not isinstance(error, OSError) or error.errno is None or isinstance(error, FileNotFoundError)


# ---- many pictures ----


@dataclass(frozen=True, eq=False, repr=False)
class PictureFiles:
    """Picture files that look like an array ``[n, size, size, 3]`` of uint8.

    ``files[index]`` takes an integer, a slice, integers ``[k]`` or a mask ``[n]``, as numpy does, and decodes these
    files (see :func:`decode`). ``files.take(index)`` chooses files without decoding them. ``np.asarray(files)`` decodes
    all of them. The object can be pickled, so DataLoader workers can index it.

    Attributes:
        root: folder of the files.
        paths: paths relative to the root, str ``[n]``.
        size: side of the decoded pictures in pixels.

    Raises:
        UnreadablePictures: a file of the index cannot be read; the error lists all such files.

    Example:
        >>> files = PictureFiles(Path("lab"), np.array(["cat/1.jpg", "dog/1.jpg"]), size=64)
        >>> files.shape, files.take([1]).paths.tolist()
        ((2, 64, 64, 3), ['dog/1.jpg'])
    """

    root: Path
    paths: np.ndarray
    size: int

    dtype = np.dtype(np.uint8)
    ndim = 4

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Shape of the array of all decoded pictures."""
        return len(self.paths), self.size, self.size, 3

    @property
    def nbytes(self) -> int:
        """Size of the array of all decoded pictures in bytes."""
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
        """Chooses files by a slice, positions or a mask, in this order; nothing is decoded.

        Example:
            >>> PictureFiles(Path("lab"), np.array(["cat/1.jpg", "dog/1.jpg"]), size=64).take([1])
            PictureFiles(1 of 'lab', size=64)
        """
        return PictureFiles(self.root, self.paths[index], self.size)

    def blocks(self) -> Iterator[UInt8[np.ndarray, "block size size 3"]]:
        """Decodes all pictures in order, in threads and with a progress bar.

        Raises:
            UnreadablePictures: some files cannot be read. The error comes after the last block and lists all of them.

        Example:
            >>> plt.imsave("cat.png", train.items[0])
            >>> files = PictureFiles(Path("."), np.array(["cat.png"]), size=16)
            >>> [block.shape for block in files.blocks()]
            [(1, 16, 16, 3)]
        """
        from tqdm.auto import tqdm

        errors = {}
        with _reporting_cut_files(), tqdm(total=len(self), desc="decoding pictures", unit="", leave=False) as bar:
            for start in range(0, len(self), BLOCK):
                pictures, wrong = self._decode(self.paths[start : start + BLOCK].tolist())
                errors |= wrong
                bar.update(len(pictures))
                yield pictures
        if errors:
            raise self._unreadable(errors)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("picture files are decoded into a new array: copy=False is not possible")
        return self[:].astype(self.dtype if dtype is None else dtype, copy=False)

    def __repr__(self) -> str:
        return f"PictureFiles({len(self):,} of {str(self.root)!r}, size={self.size})"

    def _decode(self, paths: list[str]) -> tuple[np.ndarray, dict[str, Exception]]:
        """Returns the pictures, black where one cannot be read, and the errors of those."""

        def attempt(path: str) -> np.ndarray | Exception:
            try:
                return decode(self.root / path, self.size)
            except MemoryError:  # is not caused by the file
                raise
            except Exception as error:  # decoders of broken files raise errors of all kinds
                return error

        # A loader's worker process has its share of the cores already.
        threads = 1 if multiprocessing.parent_process() else min(8, os.cpu_count() or 1, len(paths) or 1)
        with ThreadPoolExecutor(threads) as pool:
            results = list(pool.map(attempt, paths))
        errors = {}
        pictures = np.zeros((len(paths), *self.shape[1:]), dtype=np.uint8)
        for row, (path, result) in enumerate(zip(paths, results, strict=True)):
            if isinstance(result, Exception):
                errors[path] = result
            else:
                pictures[row] = result
        return pictures, errors

    def _unreadable(self, errors: dict[str, Exception]) -> UnreadablePictures:
        problems = {path: _reason(error, self.root / path) for path, error in errors.items()}
        return UnreadablePictures(self.root, problems, all(_lasts(error) for error in errors.values()))


@contextmanager
def _reporting_cut_files() -> Iterator[None]:
    """Lets Pillow report cut files: other code of the process may have told it to fill them with grey."""
    from PIL import ImageFile

    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
