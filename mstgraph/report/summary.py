"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from mstgraph.report.tables import table
from mstgraph.support.text import size_in_words
from mstgraph.tasks.task import Metric


def print_summary(summary: Mapping[str, Any], console: Console) -> None:
    """Print one table: the student alone, each teacher, the distilled student, the routing."""
    data = summary["data"]
    label = f" · {data['synthetic']}" if data["synthetic"] else ""
    title = f"{data['title']}{label} · test split {data['split']} · seed {summary['seed']}"
    measured = [Metric(**metric) for metric in summary["metrics"]]
    metrics = [metric.name for metric in measured]
    columns = ("", *(metric.heading for metric in measured), "routed")
    result = table(title, columns, right=columns[1:])
    for target, student in summary["students"].items():
        if "alone" in student:
            result.add_row(f"{target} alone", *_values(student["alone"], metrics), "")
        for teacher in (t for t in summary["teachers"] if t["student"] == target):
            name = (
                f"teacher {teacher['j']}: {teacher['name']}"
                if "j" in teacher
                else (f"teacher {teacher['name']}")
            )
            result.add_row(name, *_values(teacher["metrics"], metrics), _share(summary, teacher))
        if "distilled" in student:
            values = _values(student["distilled"], metrics)
            result.add_row(f"[bold]{target} distilled[/]", *values, "")
        if "gain" in student:
            gains = [f"{student['gain'][name]:+.4f}" for name in metrics]
            result.add_row("  gain", *gains, "", end_section=True)
    console.print(result)
    seconds = sum(stage["seconds"] for stage in summary["stages"])
    peak = max(stage["peak_memory"] for stage in summary["stages"])
    console.print(
        f"{seconds:.0f} s in {len(summary['stages'])} stages, peak memory {size_in_words(peak)} "
        f"on {summary['device']}",
        highlight=False,
    )


def _values(values: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [f"{values[name]:.4f}" for name in names]


def _share(summary: Mapping[str, Any], teacher: Mapping[str, Any]) -> str:
    for row in summary["routing"].get(teacher["student"], []):
        if row["name"] == teacher["name"]:
            return f"{row['share']:.1%}"
    return ""
