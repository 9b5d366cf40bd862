"""Where data sets are kept."""

import os
from pathlib import Path


def data_root() -> Path:
    """Returns the folder where data sets are kept.

    It is ``$HIERCL_DATA`` if that is set, else the folder ``data`` of the checkout that the package lies in, else
    ``~/.cache/hiercl``.

    Example:
        >>> data_root().name in ("data", "hiercl") or "HIERCL_DATA" in __import__("os").environ
        True
    """
    if os.environ.get("HIERCL_DATA"):
        return Path(os.environ["HIERCL_DATA"]).expanduser()
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return checkout / "data"
    return Path.home() / ".cache" / "hiercl"
