"""The table at the end of a run."""

from __future__ import annotations

import math
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
    if data["labelled"]["train"] < data["samples"]["train"]:
        counts = f"{data['labelled']['train']:,} of {data['samples']['train']:,}"
        title += f" · {counts} training samples labelled"
    for modality, share in data.get("absent", {}).items():
        title += f" · {share:.0%} without {modality}"
    measured = [Metric(**metric) for metric in summary["metrics"]]
    metrics = [metric.name for metric in measured]
    columns = ("", *(metric.heading for metric in measured), "epochs", "routed")
    result = table(title, columns, right=columns[1:])
    for target, student in summary["students"].items():
        if "alone" in student:
            values = values_in_words(student["alone"], metrics)
            result.add_row(f"{target} alone", *values, str(student["epochs"]["alone"]), "")
        for teacher in (t for t in summary["teachers"] if t["student"] == target):
            name = (
                f"teacher {teacher['j']}: {teacher['name']}"
                if "j" in teacher
                else (f"teacher {teacher['name']}")
            )
            values, epochs = values_in_words(teacher["metrics"], metrics), str(teacher["epochs"])
            result.add_row(name, *values, epochs, _share(summary, teacher))
        if "distilled" in student:
            values = values_in_words(student["distilled"], metrics)
            epochs = str(student["epochs"]["distilled"])
            result.add_row(f"[bold]{target} distilled[/]", *values, epochs, "")
        if rows := gain_rows(student, metrics):
            for title, values in rows:
                result.add_row(f"  {title}", *values, "", "")
            result.add_section()
    console.print(result)
    print_patterns(summary.get("patterns", {}), measured, console)
    print_verdicts(summary["students"], console)
    seconds = sum(stage["seconds"] for stage in summary["stages"])
    peak = max(stage["peak_memory"] for stage in summary["stages"])
    console.print(
        f"{seconds:.0f} s in {len(summary['stages'])} stages, peak memory {size_in_words(peak)} "
        f"on {summary['device']}",
        highlight=False,
    )


def print_patterns(
    patterns: Mapping[str, Any], measured: Sequence[Metric], console: Console
) -> None:
    """Print metrics for each pattern of presence, where samples differ in it.

    Args:
        patterns: stage → response → modalities that samples have → their number and metrics.
        measured: the metrics.
        console: where to.
    """
    if not patterns:
        return
    columns = ("stage", "response", "modalities", "samples", *(m.heading for m in measured))
    rows = table("By the modalities that samples have", columns, right=columns[3:])
    for stage, responses in patterns.items():
        for response, found in responses.items():
            for pattern, values in found.items():
                cells = values_in_words(values, [metric.name for metric in measured])
                rows.add_row(stage, response, pattern, str(int(values["samples"])), *cells)
    console.print(rows)


def gain_rows(student: Mapping[str, Any], metrics: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return rows (title, cells): a student's gain, and its interval where one is known."""
    if "gain" not in student:
        return []
    rows = [("gain", values_in_words(student["gain"], metrics, "+"))]
    if intervals := student["certainty"].get("intervals", {}):
        low, high = ([_end(intervals[name], i) for name in metrics] for i in (0, 1))
        rows += [("95 % interval from", low), ("to", high)]
    return rows


def print_verdicts(students: Mapping[str, Any], console: Console) -> None:
    """Print what distillation came to, one sentence for each student."""
    for target, student in students.items():
        if "certainty" in student:
            said = f"{target}: {student['certainty']['sentence']}"
            console.print(said, markup=False, highlight=False, soft_wrap=True)


def values_in_words(
    values: Mapping[str, float | None], names: Sequence[str], sign: str = ""
) -> list[str]:
    """Return metrics as cells: a dash where one is undefined, which a file says by null.

    Args:
        values: metric → value.
        names: of the metrics, in order.
        sign: ``"+"`` shows it on what is positive, too.
    """
    found = (values[name] for name in names)
    return ["—" if v is None or math.isnan(v) else f"{v:{sign}.4f}" for v in found]


def _end(interval: Sequence[float] | None, end: int) -> str:
    return "—" if interval is None else f"{interval[end]:+.4f}"


def _share(summary: Mapping[str, Any], teacher: Mapping[str, Any]) -> str:
    for row in summary["routing"].get(teacher["student"], []):
        if row["name"] == teacher["name"]:
            return f"{row['share']:.1%}"
    return ""
