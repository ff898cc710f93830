"""The table of an evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from mstgraph.report.summary import gain_rows, print_patterns, print_verdicts, values_in_words
from mstgraph.report.tables import table
from mstgraph.tasks.task import Metric


def print_evaluation(result: Mapping[str, Any], console: Console) -> None:
    """Print the metrics as a table."""
    label = f" · {result['data']['synthetic']}" if result["data"]["synthetic"] else ""
    title = f"{result['data']['title']}{label} · {result['part']} part of split {result['split']}"
    measured = [Metric(**metric) for metric in result["measured"]]
    columns = ("stage", "response", *(metric.heading for metric in measured))
    rows = table(title, columns, right=columns[2:])
    names = [metric.name for metric in measured]
    for stage, responses in result["metrics"].items():
        for response, values in responses.items():
            rows.add_row(stage, response, *values_in_words(values, names))
    for target, student in result["students"].items():
        if gained := gain_rows(student, names):
            rows.add_section()
            for title, cells in gained:
                rows.add_row(target if title == "gain" else "", title, *cells)
    console.print(rows)
    print_patterns(result.get("patterns", {}), measured, console)
    print_verdicts(result["students"], console)
    if result["split"] != result["trained_on"]:
        console.print(
            f"trained on split {result['trained_on']}: some of these samples were seen in training",
            highlight=False,
        )
