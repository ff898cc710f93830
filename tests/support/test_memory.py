"""What memory is free, and what a stage takes at its peak."""

from __future__ import annotations

import sys

import pytest
import torch

from mstgraph.support import memory

CPU = torch.device("cpu")


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
