"""Memory: what there is, and what of it is free, for this process.

A container's limit (control groups, version 1 or 2) counts as the machine's memory does.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from mstgraph.support.machine.groups import GROUPS, MOUNTS, group_folders

_MEMORY = Path("/proc/meminfo")
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes")
_UNLIMITED = 1 << 60  # version 1 writes a limit of nearly 2⁶³ where there is none


def total() -> int:
    """Return the bytes of main memory that this process can have at most."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *(limit for limit, _, _ in _limits(GROUPS, MOUNTS))])


def available() -> int:
    """Return the bytes of main memory that are free, or only cache files, for this process."""
    return min([_of_machine(), *_of_groups(GROUPS, MOUNTS)])


def _of_groups(groups: Path, mounts: Path) -> list[int]:
    """Return what is free within each control group that the process is in, and those above."""
    return [
        max(0, limit - used + _cached(folder / "memory.stat"))
        for limit, used, folder in _limits(groups, mounts)
    ]


def _limits(groups: Path, mounts: Path) -> Iterator[tuple[int, int, Path]]:
    """Yield (limit, used, folder) of each of these groups that has a limit."""
    for folder, version in group_folders(groups, mounts, "memory"):
        names = ("memory.max", "memory.current") if version == 2 else _VERSION_1
        limit, used = (_number(folder / name) for name in names)
        if limit is not None and limit < _UNLIMITED:
            yield limit, used or 0, folder


def _number(file: Path) -> int | None:
    """Return the number in a file; None if there is none, as of "max"."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _cached(file: Path) -> int:
    """Return the bytes of a group that only cache files and that the kernel would give back."""
    with contextlib.suppress(OSError, ValueError):
        values = dict(line.split() for line in file.read_text().splitlines())
        for name in ("total_inactive_file", "inactive_file"):
            if name in values:
                return int(values[name])
    return 0


def _of_machine() -> int:
    with contextlib.suppress(OSError):
        for line in _MEMORY.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
