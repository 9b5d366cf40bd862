"""Archives of torch with a checksum: one changed bit anywhere in the file is noticed.

torch writes a zip archive, and does not look at its checksums when it reads it. Here a SHA-256 of everything before it
stands in the archive's comment, which torch ignores: ``torch.load`` reads the file as any other.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from typing import Any

import torch

NAME = b"hiercl sha256 "


def pack(content: Any) -> memoryview:
    """Returns what ``torch.save`` writes, with a checksum.

    Example:
        >>> unpack(pack({"a": torch.ones(2)}))
        {'a': tensor([1., 1.])}
    """
    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(-2, io.SEEK_END)
    buffer.write(len(_comment(b"")).to_bytes(2, "little"))  # the last two bytes are the length of the comment
    with buffer.getbuffer() as written:
        comment = _comment(written)
    buffer.write(comment)
    return buffer.getbuffer()


def unpack(content: bytes | memoryview, device: str | torch.device = "cpu") -> Any:
    """Returns what was packed. Of an archive without our checksum, torch's own are looked at.

    Args:
        content: the bytes of the file.
        device: where its tensors go.

    Raises:
        ValueError: the archive is not whole, or not as it was written.
        pickle.UnpicklingError: it holds more than tensors and plain values.

    Example:
        >>> altered = bytearray(pack({"a": torch.ones(2)}))
        >>> altered[len(altered) // 2] ^= 1
        >>> unpack(bytes(altered))
        Traceback (most recent call last):
        ValueError: it is cut or altered
    """
    check_archive(content)
    return torch.load(io.BytesIO(content), map_location=device, weights_only=True)


def check_archive(content: bytes | memoryview) -> None:
    """Checks that an archive of torch is as it was written.

    Raises:
        ValueError: it is not whole, or a bit of it has changed.

    Example:
        >>> check_archive(pack([1, 2]))
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            comment = archive.comment
            whole = bool(comment) or archive.testzip() is None
    except (zipfile.BadZipFile, ValueError, EOFError, OSError, NotImplementedError, OverflowError) as error:
        raise ValueError("it is no whole archive of torch") from error
    if comment:
        start = len(content) - len(comment)
        whole = bytes(content[start:]) == comment == _comment(memoryview(content)[:start])
    if not whole:
        raise ValueError("it is cut or altered")


def _comment(content: bytes | memoryview) -> bytes:
    return NAME + hashlib.sha256(content).hexdigest().encode()
