"""Cores: how many of the machine's this process may keep busy.

A container's share of time (control groups, version 1 or 2) counts as so many cores.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

from mstgraph.support.machine.groups import GROUPS, MOUNTS, group_folders


def cores() -> int:
    """Return the number of cores, at least 1."""
    pinned = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min([pinned or 1, *_shares(GROUPS, MOUNTS)]))


def _shares(groups: Path, mounts: Path) -> Iterator[int]:
    """Yield the cores that each of the process's groups with a limit comes to, rounded up."""
    for folder, version in group_folders(groups, mounts, "cpu"):
        with contextlib.suppress(OSError, ValueError):  # "max" is no number: no limit
            if version == 2:
                quota, period = map(int, (folder / "cpu.max").read_text().split())
            else:
                names = ("cpu.cfs_quota_us", "cpu.cfs_period_us")
                quota, period = (int((folder / name).read_text()) for name in names)
            if quota > 0 and period > 0:
                yield math.ceil(quota / period)
