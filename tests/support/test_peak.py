"""What a stage takes at its peak."""

from __future__ import annotations

import sys

import pytest
import torch

from mstgraph.support.peak import peak_memory, reset_peak

CPU = torch.device("cpu")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_peak_is_seen_after_it_is_over() -> None:
    """Since the last reset."""
    reset_peak(CPU)
    before = peak_memory(CPU)
    torch.ones(64 * 2**18)
    assert peak_memory(CPU) >= before + 32 * 2**20
