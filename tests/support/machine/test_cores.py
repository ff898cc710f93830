"""How many cores this process may keep busy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mstgraph.support.machine import cores


def test_at_least_one_and_no_more_than_there_are() -> None:
    """Of this machine."""
    assert 1 <= cores.cores() <= (os.cpu_count() or 1)


def _limit(folder: Path, version: int, quota: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if version == 2:
        (folder / "cpu.max").write_text(f"{quota} 100000\n")
    else:
        (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (folder / "cpu.cfs_period_us").write_text("100000\n")


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(("quota", "expected"), [(250_000, 3), (100_000, 1), (50_000, 1)])
def test_a_containers_share_of_time_counts(
    version: int, quota: int, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of the process's own group, or of one above; the smallest, rounded up."""
    top, none = tmp_path / "top", {1: "-1", 2: "max"}[version]
    _limit(top, version, str(quota))
    _limit(top / "job", version, none)
    kind = {1: "cgroup cgroup rw,cpu,cpuacct", 2: "cgroup2 cgroup2 rw"}[version]
    (tmp_path / "mounts").write_text(f"31 23 0:28 / {top} rw,relatime shared:9 - {kind}\n")
    (tmp_path / "groups").write_text({1: "4:cpu,cpuacct:/job\n", 2: "0::/job\n"}[version])
    monkeypatch.setattr(cores, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(cores, "MOUNTS", tmp_path / "mounts")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)))
    assert cores.cores() == expected
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5})
    assert cores.cores() == 1
    monkeypatch.setattr(cores, "MOUNTS", tmp_path / "none")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {1, 2, 3})
    assert cores.cores() == 3
