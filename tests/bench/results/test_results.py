"""results.json: what goes in comes out, and what does not fit is named."""

from __future__ import annotations

import copy
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench_samples import bench, drawn

from mstgraph.bench.results.results import Column, load_results, save_results
from mstgraph.support.errors import UserError

RECORD: dict[str, Any] = {
    "title": "mfeat",
    "synthetic": "",
    "metrics": ["OA", "F1"],
    "students": [{"name": "zer", "primary": "OA", "metrics": ["OA", "F1"]}],
    "rows": [
        {"method": "w/o KD", "teachers": "", "group": ""},
        {"method": "KD", "teachers": "MM", "group": "Response-Based"},
    ],
    "seeds": [0, 1],
    "cells": [
        {
            "row": 1,
            "student": "zer",
            "seed": 0,
            "metrics": {"OA": 0.83, "F1": 0.8},
            "seconds": 12.5,
            "peak_memory": 1024,
            "error": None,
        },
        {
            "row": 1,
            "student": "zer",
            "seed": 1,
            "metrics": None,
            "seconds": 0,
            "peak_memory": 0,
            "error": "out of memory",
        },
    ],
    "baseline": 0,
    "shared_seconds": 10,
    "separate_seconds": 20.5,
}


def written(path: Path, record: Any) -> Path:
    """A file with a record."""
    path.write_text(json.dumps(record))
    return path


def test_a_record_is_read_as_declared(tmp_path: Path) -> None:
    """Every field of the contract arrives under its own name."""
    results = load_results(written(tmp_path / "results.json", RECORD))
    assert results.title == "mfeat"
    assert results.students[0].metrics == ("OA", "F1")
    assert [row.name for row in results.rows] == ["w/o KD", "KD MM"]
    assert results.rows[1].group == "Response-Based"
    first, second = results.cells
    assert (first.row, first.seed, first.seconds, first.peak_memory) == (1, 0, 12.5, 1024)
    assert first.metrics == {"OA": 0.83, "F1": 0.8}
    assert (second.metrics, second.error) == (None, "out of memory")
    assert (results.baseline, results.separate_seconds) == (0, 20.5)
    assert results.values(1, Column("zer", "OA")) == {0: 0.83}
    assert results.values(0, Column("zer", "OA")) == {}


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    """Also failures, cells that never ran and no baseline."""
    path = tmp_path / "results.json"
    for results in (
        drawn(synthetic="synthetic rooms"),
        bench({"zer": [["out of memory", 0.1 + 0.2], [None, 1 / 3]]}, baseline=None),
    ):
        save_results(results, path)
        assert load_results(path) == results


def test_the_same_results_are_the_same_bytes(tmp_path: Path) -> None:
    """Loading and saving again changes nothing."""
    first, second = tmp_path / "one.json", tmp_path / "two.json"
    save_results(drawn(), first)
    save_results(load_results(first), second)
    assert first.read_bytes() == second.read_bytes()


def test_an_undefined_value_is_null_on_disk_and_counts_for_nothing(tmp_path: Path) -> None:
    """JSON has no nan; a metric without a value leaves the others of its cell alone."""
    path = tmp_path / "results.json"
    results = bench({"zer": [[math.nan, 0.5]]})
    save_results(results, path)
    assert json.loads(path.read_text())["cells"][0]["metrics"] == {"OA": None}
    again = load_results(path)
    assert again.cells[0].metrics is not None
    assert math.isnan(again.cells[0].metrics["OA"])
    assert again.values(0, Column("zer", "OA")) == {1: 0.5}


def test_values_come_in_the_order_of_the_seeds() -> None:
    """Whatever order cells finished in."""
    results = bench({"zer": [[0.1, 0.2, 0.3]]})
    shuffled = replace(results, cells=tuple(reversed(results.cells)))
    assert [*shuffled.values(0, Column("zer", "OA")).items()] == [(0, 0.1), (1, 0.2), (2, 0.3)]


def test_columns_are_the_primary_metrics_or_those_wanted(tmp_path: Path) -> None:
    """Student by student; a metric that a student lacks gives it no column."""
    record = copy.deepcopy(RECORD)
    record["metrics"].append("mIoU")
    record["students"].append({"name": "rgb", "primary": "mIoU", "metrics": ["OA", "mIoU"]})
    results = load_results(written(tmp_path / "results.json", record))
    assert results.columns() == (Column("zer", "OA"), Column("rgb", "mIoU"))
    wanted = (Column("zer", "F1"), Column("zer", "OA"), Column("rgb", "OA"))
    assert results.columns(["F1", "OA"]) == wanted
    with pytest.raises(UserError, match="no metric 'mIou'; did you mean 'mIoU'"):
        results.columns(["mIou"])


CHANGES: dict[str, tuple[tuple[str | int, ...], Any, str]] = {
    "unknown field": (("sedes",), [0], "unknown field 'sedes'; did you mean 'seeds'"),
    "wrong type": (("seeds",), 5, "has seeds = 5; expected a list of whole numbers"),
    "wrong item": (("seeds",), [0, "1"], "has seeds = .*; expected a list of whole numbers"),
    "a truth value": (("shared_seconds",), True, "shared_seconds = True; expected a number"),
    "no record": (("rows", 1), "KD", "row 1 of .* is 'KD'; expected the fields of a row"),
    "baseline": (("baseline",), 2, "baseline = 2; expected the index of one of its 2 rows"),
    "primary": (("students", 0, "primary"), "OB", "primary = 'OB'.* did you mean 'OA'"),
    "unmeasured": (("metrics",), ["OA"], "unknown metric 'F1'"),
    "row": (("cells", 0, "row"), 7, "cell 0 of .* has row = 7; expected one of 2 rows"),
    "student": (("cells", 0, "student"), "zar", "no student 'zar'; did you mean 'zer'"),
    "seed": (("cells", 0, "seed"), 4, r"has seed = 4; expected one of \[0, 1\]"),
    "twice": (("cells", 1, "seed"), 0, "name 'row 1, zer, seed 0' 2 times; expected once"),
    "metric": (("cells", 0, "metrics"), {"OA": 1.0}, "cell 0 of .* lacks the metric 'F1'"),
    "text": (("cells", 0, "metrics", "OA"), "high", "OA = 'high'; expected a number or null"),
    "neither": (("cells", 1, "error"), None, "cell 1 of .* either metrics or an error"),
    "both": (("cells", 0, "error"), "failed", "cell 0 of .* either metrics or an error"),
    "seeds twice": (("seeds",), [0, 1, 1], "the seeds of .* name '1' 2 times"),
}


@pytest.mark.parametrize(("place", "value", "sentence"), CHANGES.values(), ids=CHANGES)
def test_what_does_not_fit_is_named(
    place: tuple[str | int, ...], value: Any, sentence: str, tmp_path: Path
) -> None:
    """One sentence says the file, the place and what was expected."""
    record = copy.deepcopy(RECORD)
    part: Any = record
    for step in place[:-1]:
        part = part[step]
    part[place[-1]] = value
    with pytest.raises(UserError, match=sentence) as caught:
        load_results(written(tmp_path / "results.json", record))
    assert "results.json" in str(caught.value)


@pytest.mark.parametrize("field", [*RECORD])
def test_a_missing_field_is_named(field: str, tmp_path: Path) -> None:
    """Nothing is filled in silently."""
    record = {name: value for name, value in RECORD.items() if name != field}
    with pytest.raises(UserError, match=f"lacks the field '{field}'"):
        load_results(written(tmp_path / "results.json", record))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """As is one that is no JSON."""
    with pytest.raises(UserError, match=r"absent\.json"):
        load_results(tmp_path / "absent.json")
