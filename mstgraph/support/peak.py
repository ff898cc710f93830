"""Peaks of memory: of a stage, on the GPU or else of the process.

To measure the peak of a stage, the process's own is set back where the kernel allows it: what
``/usr/bin/time`` or a batch system reads after the end is then the peak since the last stage began,
not that of the whole run. ``summary.json`` has the peak of each stage.
"""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak(device: torch.device) -> None:
    """Start a new measurement; where the kernel forbids it, the peak is the process's so far.

    Whoever measures the process from outside sees the reset, too (see above).
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with contextlib.suppress(OSError):
            _CLEAR.write_text("5")


def peak_memory(device: torch.device) -> int:
    """Return the peak in bytes since the last reset."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    with contextlib.suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
