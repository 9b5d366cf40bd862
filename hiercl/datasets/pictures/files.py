"""Picture files: decodes one, or presents many of them as one array."""

import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hiercl.datasets.download import UnreadableFiles, printable
from hiercl.runtime.progress import progress_bar
from hiercl.runtime.types import UInt8

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ENDINGS", "PictureFiles", "UnreadablePictures", "bits_of", "decode", "fit", "printable"]

ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".avif"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
    *(".heic", ".heif", ".jxl"),  # Pillow cannot read these pictures: they are reported, not ignored
)
# Pillow's names of the decoders that may read a file; others, such as PostScript, would start foreign programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "AVIF")
DEEP_ENDINGS = (".png", ".apng", ".tif", ".tiff", ".ppm", ".pgm", ".pnm")  # of files that may have 16 bits a channel
BLOCK = 256  # pictures that are decoded at a time
LONGEST = 1 << 16  # pixels of the longer side
MOST_PIXELS = 178_956_970  # of one picture, as in Pillow
LARGE = 1 << 24  # pixels of a picture above which only one is decoded at a time, so that the memory does not grow
_thread = threading.local()  # its attribute "one_of_many" says that other threads decode pictures at the same time


# ---- one picture ----


def decode(path: str | Path, size: int, bits: int = 16) -> UInt8[np.ndarray, "size size 3"]:
    """Decodes a picture file as RGB, resizes its shorter side to ``size`` and cuts out the centre.

    Pictures are turned upright as their EXIF data say, grey ones become RGB, and transparent pixels become white. Of
    several pictures in a file (GIF, TIFF) the first is taken. Pillow decodes, as in
    ``torchvision.datasets.ImageFolder``, because the decoders of ``torchvision.io`` are deprecated since 0.29.

    Args:
        path: the file.
        size: side of the result in pixels.
        bits: bits of a channel that a picture of 16 bits uses; the upper eight of them are kept.

    Returns:
        The picture, uint8 ``[size, size, 3]``.

    Raises:
        OSError: the file is cut off or cannot be opened.
        ValueError: it is no regular file, it has too many pixels, or its pixels have no fixed range. Pillow may raise
            other errors for a broken file.

    Example:
        >>> plt.imsave("cat.png", train.items[0])
        >>> decode("cat.png", size=24).shape
        (24, 24, 3)
    """
    from PIL import ImageOps

    with _opened(path) as image:
        image.draft(None, (2 * size, 2 * size))  # a large JPEG is decoded at a half, quarter or eighth at once
        deep = _deep(image, path)
        if deep is not None:
            exif, image = image.getexif(), _of_bits(deep, bits)
            image.getexif().update(exif)
        ImageOps.exif_transpose(image, in_place=True)
        return fit(_rgb(image), size)


def bits_of(path: str | Path) -> int:
    """Returns how many of its 16 bits a picture uses, at least 8; 0 for a picture of 8 bits a channel.

    Example:
        >>> plt.imsave("cat.png", train.items[0])
        >>> bits_of("cat.png")
        0
    """
    with _opened(path) as image:
        if not _is_deep(image):
            return 0
        deep = _deep(image, path)
        assert deep is not None
        colours = deep[..., : -1 if deep.ndim == 3 and deep.shape[2] in (2, 4) else None]
        return max(8, int(colours.max()).bit_length())


@contextmanager
def _opened(path: str | Path) -> Iterator["Image"]:
    """Opens a picture, whose pixels are not read yet."""
    from PIL import Image

    if os.path.exists(path) and not os.path.isfile(path):  # to open a pipe would wait for ever
        raise ValueError("it is no regular file")
    with Image.open(path, formats=FORMATS) as image:
        if max(image.size) > LONGEST or image.width * image.height > MOST_PIXELS:
            raise ValueError(
                f"it has {image.width:,} x {image.height:,} pixels; at most {MOST_PIXELS:,} are read, and {LONGEST:,} "
                "a side: make it smaller"
            )
        if image.width * image.height > LARGE and getattr(_thread, "one_of_many", False):
            raise _LargePicture
        yield image


class _LargePicture(Exception):
    """A picture is too large to be decoded beside others."""


def fit(image: "Image", size: int) -> UInt8[np.ndarray, "size size c"]:
    """Resizes the shorter side of a picture to ``size``, with antialias, and cuts out the centre.

    Example:
        >>> from PIL import Image
        >>> fit(Image.fromarray(train.items[0]), 24).shape
        (24, 24, 3)
    """
    from PIL import Image, ImageOps

    return np.asarray(ImageOps.fit(image, (size, size), Image.Resampling.BICUBIC))


def _is_deep(image: "Image") -> bool:
    """Whether a picture has 16 bits a channel, before its pixels are read."""
    grey = image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")
    return grey or any(";16" in _raw(tile) for tile in getattr(image, "tile", []))


def _deep(image: Any, path: str | Path) -> np.ndarray | None:
    """Reads the pixels of a picture; returns those of one with 16 bits a channel, uint16 ``[h, w]`` or ``[h, w, c]``.

    Pillow keeps the upper eight bits of a colour channel. The lower eight are read as the upper ones of the other
    order of bytes.
    """
    from PIL import Image

    if not _is_deep(image):
        image.load()
        return None
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.uint16)
    opened: Any = Image.open(path, formats=FORMATS)  # Pillow's types do not know that files have tiles
    with opened as lower:
        lower.tile = [
            tile._replace(args=_swapped(tile.args) if isinstance(tile.args, str) else tuple(map(_swapped, tile.args)))
            for tile in lower.tile
        ]
        grey = _raw(image.tile[0]).startswith("LA")  # its four bytes are read as four channels
        both = np.asarray(lower)
        upper, both = (both[..., ::2], both[..., 1::2]) if grey else (np.asarray(image), both)
        return upper.astype(np.uint16) << 8 | both


def _raw(tile: Any) -> str:
    """The order of the bytes of a pixel in the file, by Pillow's name, such as "RGB;16B"."""
    args = (tile.args,) if isinstance(tile.args, str) else tile.args or ()
    return next((str(word) for word in args if ";16" in str(word)), "")


def _swapped(word: Any) -> Any:
    """Returns Pillow's name of the other order of bytes."""
    if not isinstance(word, str) or ";16" not in word:
        return word
    kind, order = word.split(";16")
    if kind == "LA":
        return "RGBA"
    return f"{kind};16{'L' if order == 'B' else 'B'}"


def _of_bits(deep: np.ndarray, bits: int) -> "Image":
    """Makes a picture of 8 bits a channel of one that uses some of its 16."""
    from PIL import Image

    shift = np.full(deep.shape[2:], bits - 8)
    if deep.ndim == 3 and deep.shape[2] in (2, 4):  # opacity uses all bits
        shift[-1] = 8
    return Image.fromarray((deep >> shift).clip(max=255).astype(np.uint8))


def _rgb(image: "Image") -> "Image":
    from PIL import Image

    if image.mode in ("I", "F"):
        raise ValueError(f"its pixels have no fixed range (mode {image.mode!r}): convert it to 8 bits a channel")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


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
    if type(error).__name__ == "DecompressionBombError":
        return f"it has too many pixels; at most {MOST_PIXELS:,} are read: make it smaller"
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
        bits: bits of a channel that pictures of 16 bits use.

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
    bits: int = 16

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
        return replace(self, paths=self.paths[index])

    def used_bits(self) -> int:
        """Returns how many bits of a channel the pictures of 16 bits use, together; 0 if there are none.

        Files that cannot be read do not count.

        Example:
            >>> plt.imsave("cat.png", train.items[0])
            >>> PictureFiles(Path("."), np.array(["cat.png"]), size=16).used_bits()
            0
        """
        paths = [path for path in self.paths.tolist() if path.lower().endswith(DEEP_ENDINGS)]
        found = self._map(bits_of, paths)
        return max((bits for bits in found if not isinstance(bits, Exception)), default=0)

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
        errors, bar = {}, progress_bar(total=len(self), desc="decoding pictures", unit="", leave=False)
        with _reporting_cut_files(), bar:
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

        bits = () if self.bits == 16 else (self.bits,)
        results = self._map(lambda path: decode(path, self.size, *bits), paths)
        errors = {}
        pictures = np.zeros((len(paths), *self.shape[1:]), dtype=np.uint8)
        for row, (path, result) in enumerate(zip(paths, results, strict=True)):
            if isinstance(result, Exception):
                errors[path] = result
            else:
                pictures[row] = result
        return pictures, errors

    def _map(self, function: Callable[[Path], Any], paths: list[str]) -> list[Any]:
        """Calls a function for every file, in threads; returns the results, or the errors of files that are broken."""

        def attempt(path: str) -> Any:
            try:
                return function(self.root / path)
            except MemoryError as error:  # is not caused by the file
                raise MemoryError(f"there is no memory to decode {printable(str(self.root / path))}") from error
            except Exception as error:  # decoders of broken files raise errors of all kinds
                return error

        from PIL import Image

        # A loader's worker process has its share of the cores already.
        threads = 1 if multiprocessing.parent_process() else min(8, os.cpu_count() or 1, len(paths) or 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # there are limits of our own
            with ThreadPoolExecutor(threads, initializer=setattr, initargs=(_thread, "one_of_many", True)) as pool:
                found = list(pool.map(attempt, paths))
            pairs = zip(found, paths, strict=True)
            return [attempt(path) if isinstance(one, _LargePicture) else one for one, path in pairs]

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
