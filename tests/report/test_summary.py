"""The tables of a run: what cannot be measured is a dash and ends nothing."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from mstgraph.report.summary import gain_rows, print_patterns
from mstgraph.tasks.task import Metric

UNKNOWN = (None, math.nan)  # as a file and as a program has it


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_a_metric_that_too_few_samples_have_is_a_dash(unknown: float | None) -> None:
    """As a correlation over the one test sample that lacks a modality."""
    console, metric = Console(file=io.StringIO(), width=100), Metric("r", "r")
    found = {"audio": {"samples": 1, "r": unknown}, "audio + video": {"samples": 9, "r": 0.5}}
    print_patterns({"ci": {"audio": found}}, [metric], console)
    printed = console.file.getvalue()  # type: ignore[attr-defined]
    lines = [line.split("│")[2:] for line in printed.splitlines() if "│" in line]
    assert [[cell.strip() for cell in line] for line in lines] == [
        ["audio", "1", "—"],
        ["audio + video", "9", "0.5000"],
    ]


@pytest.mark.parametrize("unknown", UNKNOWN)
def test_a_gain_that_cannot_be_told_is_a_dash(unknown: float | None) -> None:
    """Beside those that can, which have their sign."""
    student = {"gain": {"r": unknown, "MAE": 0.25}, "certainty": {}}
    assert gain_rows(student, ["r", "MAE"]) == [("gain", ["—", "+0.2500"])]
