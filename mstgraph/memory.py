"""Memory: what is free, and the peak of a stage, of the GPU or else of the process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from pathlib import Path

import torch

LARGE_BLOCK = 4 * 2**20

_MMAP_THRESHOLD = -3  # of glibc's malloc.h
_MEMORY = Path("/proc/meminfo")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def available() -> int:
    """Return the bytes of main memory that are free, or only cache files."""
    with contextlib.suppress(OSError):
        for line in _MEMORY.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def return_large_blocks() -> None:
    """Have the C library give freed blocks of 4 MB and more back to the system at once.

    By itself glibc raises that size to 32 MB when it sees larger blocks freed; activations then
    stay behind in its heap, in pieces that the next ones do not fit into. Others have no such size.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_MMAP_THRESHOLD, LARGE_BLOCK)


def reset_peak(device: torch.device) -> None:
    """Start a new measurement; where the kernel forbids it, the peak is the process's so far."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            _CLEAR.write_text("5")


def peak(device: torch.device) -> int:
    """Return the peak in bytes since the last reset."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
