"""The table of an export: every way to run the student, side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mstgraph.support.text import size_in_words
from mstgraph.tasks.task import Metric


def header(document: Mapping[str, Any]) -> list[str]:
    """Return the names of the columns."""
    measured = [Metric(**metric) for metric in document["measured"]]
    times = [f"ms, batch {size}" for size in document["batches"]]
    return ["", *(metric.heading for metric in measured), "Δ", "agrees", "size", *times]


def rows(document: Mapping[str, Any]) -> list[list[str]]:
    """Return the cells of each way that was measured, torch first."""
    return [_cells(row, document) for row in document["ways"]]


def said_of_times(document: Mapping[str, Any]) -> str:
    """Return what has to be said beside times and differences."""
    threads = document["threads"]
    many = f"{threads} threads" if threads > 1 else "one thread"
    of_its_own = document["format"] == "executorch"
    own = "; ExecuTorch has a pool of threads of its own" if of_its_own else ""
    return (
        f"Δ: largest difference of an output from torch's on the test split; agrees: share of "
        f"answers that are torch's; ms: median (10th to 90th percentile) of one answer on {many} "
        f"of {document['processor']}{own}"
    )


def _cells(row: Mapping[str, Any], document: Mapping[str, Any]) -> list[str]:
    metrics = [f"{row['metrics'][metric['name']]:.4f}" for metric in document["measured"]]
    agreement = "—" if row["agreement"] is None else f"{row['agreement']:.2%}"
    times = [_time(*row["milliseconds"][str(size)]) for size in document["batches"]]
    return [
        row["way"],
        *metrics,
        f"{row['difference']:.1e}" if row["difference"] else "0",
        agreement,
        size_in_words(row["size"]),
        *times,
    ]


def _time(median: float, low: float, high: float) -> str:
    return f"{median:.3g} ({low:.3g}–{high:.3g})"
