"""What memory there is, and what of it is free."""

from __future__ import annotations

from pathlib import Path

import pytest

from mstgraph.support import memory


def test_available_memory_is_more_than_nothing_and_less_than_all() -> None:
    """Bytes, of the machine."""
    assert 2**20 < memory.available() < memory.total() < 2**50


def group(folder: Path, version: int, limit: str, used: int, cached: int) -> None:
    """Write what the kernel says of a control group."""
    folder.mkdir(parents=True, exist_ok=True)
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        2: ("memory.max", "memory.current"),
    }
    inactive = {1: "total_inactive_file", 2: "inactive_file"}[version]
    for name, value in zip(names[version], (limit, used), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{inactive} {cached}\n")


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_container_counts(
    version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process's own group and those above, seen from the machine or from inside."""
    top, none = tmp_path / "top", {1: "9223372036854771712", 2: "max"}[version]
    group(top, version, none, 900, 0)
    group(top / "job", version, "1000", 400, 50)
    group(top / "job" / "step", version, none, 300, 0)
    kind = {1: "cgroup cgroup rw,memory", 2: "cgroup2 cgroup2 rw"}[version]
    (tmp_path / "mounts").write_text(f"31 23 0:28 / {top} rw,relatime shared:9 - {kind}\n")
    names = {1: "4:cpu,memory:/job/step\n3:cpuset:/\n", 2: "0::/job/step\n"}[version]
    (tmp_path / "groups").write_text(names)
    assert memory._of_groups(tmp_path / "groups", tmp_path / "mounts") == [650]
    monkeypatch.setattr(memory, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(memory, "MOUNTS", tmp_path / "mounts")
    assert (memory.total(), memory.available()) == (1000, 650)
    (tmp_path / "mounts").write_text(f"31 23 0:28 /job {top / 'job'} rw,relatime - {kind}\n")
    assert memory._of_groups(tmp_path / "groups", tmp_path / "mounts") == [650]


def test_a_machine_without_control_groups(tmp_path: Path) -> None:
    """Nothing is said of them."""
    assert memory._of_groups(tmp_path / "none", tmp_path / "none") == []
