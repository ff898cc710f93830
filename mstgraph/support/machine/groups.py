"""The control groups (version 1 or 2) in which a container or a job scheduler put this process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

GROUPS, MOUNTS = Path("/proc/self/cgroup"), Path("/proc/self/mountinfo")


def group_folders(groups: Path, mounts: Path, controller: str) -> Iterator[tuple[Path, int]]:
    """Yield (folder, version) of the control groups that this process is in, its own first.

    Args:
        groups: the process's list of groups, `GROUPS`.
        mounts: the process's table of mounts, `MOUNTS`.
        controller: what is limited, ``memory`` or ``cpu``.
    """
    with contextlib.suppress(OSError):
        tops = _mounted(mounts, controller)
        for line in groups.read_text().splitlines():
            _, controllers, name = line.split(":", 2)
            version = 2 if not controllers else 1
            if version not in tops or (version == 1 and controller not in controllers.split(",")):
                continue
            root, top = tops[version]
            # Inside of a container the name is the machine's, but the mount begins further down.
            below = PurePosixPath(name)
            inner = below.relative_to(root) if below.is_relative_to(root) else PurePosixPath()
            steps = inner.parts
            for count in range(len(steps), -1, -1):
                yield top.joinpath(*steps[:count]), version


def _mounted(mounts: Path, controller: str) -> dict[int, tuple[str, Path]]:
    """Return version → (which group is mounted, where), from the process's table of mounts."""
    found: dict[int, tuple[str, Path]] = {}
    for line in mounts.read_text().splitlines():
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split()[:3]
        if kind == "cgroup2":
            found.setdefault(2, (root, Path(point)))
        elif kind == "cgroup" and controller in options.split(","):
            found.setdefault(1, (root, Path(point)))
    return found
