"""What is free, what a stage takes at its peak, and what goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from mstgraph import memory

CPU = torch.device("cpu")

BLOCKS = """
import torch
from mstgraph import memory
if {returned}:
    memory.return_large_blocks()
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
torch.ones(6 * 2**20)  # glibc learns from what is freed: 25 MB
blocks = [torch.ones(6 * 2**18) for _ in range(40)]  # 6 MB each
above = torch.ones(2**16)
before = resident()
del blocks
print(before - resident())
"""


def test_available_memory_is_more_than_nothing_and_less_than_all() -> None:
    """Bytes, of the machine."""
    assert 2**20 < memory.available() < 2**50


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_is_seen_after_it_is_over() -> None:
    """Since the last reset."""
    memory.reset_peak(CPU)
    before = memory.peak(CPU)
    torch.ones(64 * 2**18)
    assert memory.peak(CPU) >= before + 32 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_large_blocks_go_back_when_they_are_freed() -> None:
    """All 240 MB of them, whatever the heap holds beside them."""
    freed = {}
    for returned in (False, True):
        program = BLOCKS.format(returned=returned)
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
        freed[returned] = int(ended.stdout)
    assert freed[True] > 230e6
    assert freed[True] >= freed[False]
