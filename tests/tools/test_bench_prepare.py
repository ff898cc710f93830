"""The benchmark of preparing: both stores are measured in every way."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tools import bench_prepare


def test_every_figure_is_there(tmp_path: Path) -> None:
    """Of pictures as arrays and as files, which take fewer bytes; of one process here."""
    figures = bench_prepare.measure(tmp_path, 30, [1], 1)
    sizes = {kind: figures[f"prepare {kind}, 1 jobs"][0]["bytes"] for kind in ("arrays", "files")}
    assert sizes["files"] < figures["files"] + 128 * 1024 < sizes["arrays"]
    for way in ("warm", "cold"):
        found = [figures[f"{way} epoch {kind}"] for kind in ("arrays", "files")]
        assert [[each["samples"] for each in one] for one in found] == [[18], [18]]
