"""Turn the real CIFAR-100 pictures beside the checkout into array stores, once.

The tests do this by themselves; by hand it is ``python tests/real_data.py``.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
NOTE = "order of the pictures is not the official one"
NOTES = {"train": NOTE, "test": f"partial: 50 of the 100 test pictures of each class; {NOTE}"}


def prepare_cifar100(say: Callable[[str], None] = print) -> None:
    """Write the stores that `hiercl.load("cifar100")` reads, where pictures are there and stores are not."""
    from hiercl.datasets import data_root, write_store
    from hiercl.datasets.store import is_store

    folder = data_root() / "cifar100"
    missing = [split for split in NOTES if not is_store(folder / split)]
    if not missing or not (SHARED / "cifar100").is_dir():
        return
    say(f"real data: turning {SHARED / 'cifar100'} into the array stores {folder}/{{{','.join(missing)}}} (once)")
    reader = _reader()
    for split in missing:
        try:
            write_store(_dataset(reader, split), folder / split)
        except FileExistsError:
            if not is_store(folder / split):  # else another test run wrote the same in the meantime
                raise


def _dataset(reader: ModuleType, split: str):
    import numpy as np

    from hiercl.datasets import HierarchicalDataset
    from hiercl.datasets.cifar100 import hierarchy

    images, fine, coarse = reader.cifar100(split)
    return HierarchicalDataset.from_arrays(
        images, np.stack([coarse, fine], axis=1), hierarchy(), name="cifar100", note=NOTES[split]
    )


def _reader() -> ModuleType:
    """Import the ``read.py`` that lies with the pictures."""
    spec = importlib.util.spec_from_file_location("shared_data_read", SHARED / "read.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    prepare_cifar100()
