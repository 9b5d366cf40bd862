"""Freed memory is kept: the next step does not wait for the system to clear it again."""

import subprocess
import sys

import pytest

from hiercl.runtime.environment import keep_freed_memory

FAULTS = """
import resource
import numpy as np
from hiercl.runtime.environment import keep_freed_memory
def faults():
    np.ones(3 * 2**20)  # 24 MB, freed at once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(3 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults(), keep_freed_memory(), faults())
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="this C library has no allocator to set")
def test_blocks_are_used_again_without_page_faults():
    out = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True, timeout=120)
    not_kept, done, kept = out.stdout.split()
    not_kept, kept = int(not_kept), int(kept)
    assert done == "True" and kept < 100, "memory that was freed had to be asked for again"
    assert not_kept > 20 * kept, "nothing to gain here: does this C library keep freed blocks by itself?"
