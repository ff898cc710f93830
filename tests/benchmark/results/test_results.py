"""The results of a bench: what they say of a column, and what is on disk."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from bench_samples import bench

from mstgraph.benchmark.results.results import Column, StudentMetrics, save_results, swept_values
from mstgraph.support.errors import UserError


def test_the_file_has_every_field_under_its_own_name(tmp_path: Path) -> None:
    """Whoever reads it needs no other file: also failures, and cells that never ran."""
    path = tmp_path / "results.json"
    save_results(bench({"zer": [["out of memory", 0.1 + 0.2], [None, 1 / 3]]}), path)
    record = json.loads(path.read_text())
    assert record["students"] == [
        {"name": "zer", "primary": "OA", "metrics": ["OA"], "test_share": 0.0}
    ]
    assert record["rows"][1] == {"method": "KD", "teachers": "MM", "group": "Response-Based"}
    assert (record["seeds"], record["baseline"], record["synthetic"]) == ([0, 1], 0, "")
    failed, *finished = record["cells"]
    assert (failed["metrics"], failed["error"]) == (None, "out of memory")
    assert [cell["metrics"] for cell in finished] == [{"OA": 0.1 + 0.2}, {"OA": 1 / 3}]
    assert finished[1] == {
        "row": 1,
        "student": "zer",
        "seed": 1,
        "metrics": {"OA": 1 / 3},
        "seconds": 21.0,
        "peak_memory": 2 * 10**9 + 1,
        "error": None,
        "epochs": 60,
        "control": {"OA": 0.1 + 0.2},
    }
    assert finished[0]["control"] is None
    assert (record["shared_seconds"], record["separate_seconds"]) == (100.0, 250.0)


def test_the_same_results_are_the_same_bytes(tmp_path: Path) -> None:
    """Saving again changes nothing."""
    first, second = tmp_path / "one.json", tmp_path / "two.json"
    for path in (first, second):
        save_results(bench({"zer": [[0.1, 0.2]]}), path)
    assert first.read_bytes() == second.read_bytes()


def test_an_undefined_value_is_null_on_disk_and_counts_for_nothing(tmp_path: Path) -> None:
    """JSON has no nan; a metric without a value leaves the others of its row alone."""
    path = tmp_path / "results.json"
    results = bench({"zer": [[math.nan, 0.5]]})
    save_results(results, path)
    assert json.loads(path.read_text())["cells"][0]["metrics"] == {"OA": None}
    assert results.values(0, Column("zer", "OA")) == {1: 0.5}


def test_values_come_in_the_order_of_the_seeds() -> None:
    """Whatever order cells finished in."""
    results = bench({"zer": [[0.1, 0.2, 0.3]]})
    shuffled = replace(results, cells=tuple(reversed(results.cells)))
    assert [*shuffled.values(0, Column("zer", "OA")).items()] == [(0, 0.1), (1, 0.2), (2, 0.3)]


def test_columns_are_the_primary_metrics_or_those_wanted() -> None:
    """Student by student; a metric that a student lacks gives it no column."""
    students = (
        StudentMetrics("zer", "OA", ("OA", "F1")),
        StudentMetrics("rgb", "mIoU", ("OA", "mIoU")),
    )
    results = replace(bench({"zer": [[0.5]]}), students=students)
    assert results.columns() == (Column("zer", "OA"), Column("rgb", "mIoU"))
    wanted = (Column("zer", "F1"), Column("zer", "OA"), Column("rgb", "OA"))
    assert results.columns(["F1", "OA"]) == wanted
    with pytest.raises(UserError, match="no metric 'mIou'; did you mean 'mIoU'"):
        results.columns(["mIou"])


def test_a_setting_is_read_from_the_names_of_rows() -> None:
    """As a word of its own with a number; other rows are left out."""
    names = ["w/o KD", "MST k = 1", "MST k=-0.5", "topk = 3", "k = many"]
    assert swept_values(names, "k") == {1: 1.0, 2: -0.5}
