"""The runs of a folder as one table: state, data, method, gain, time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from mstgraph.report.tables import table
from mstgraph.run.artefacts.run_folder import ARTEFACT, PLAN, SUMMARY
from mstgraph.support.disk.locks import is_held
from mstgraph.support.disk.own_folder import LOCK
from mstgraph.support.errors import UserError

COLUMNS = (
    *("run", "state", "data", "method", "student"),
    *("metric", "alone", "distilled", "gain", "time"),
)
DEEP = 3  # folders below the one that is named


def print_runs(folder: Path, console: Console) -> None:
    """Print a row per run and student; reads what lies in the folders and nothing else.

    Raises:
        UserError: there is no such folder, or no run in it.
    """
    if not folder.is_dir():
        raise UserError(f"'{folder}' is no folder; expected one with folders of runs")
    rows = [row for path in run_folders(folder) for row in run_rows(path, folder)]
    if not rows:
        raise UserError(f"'{folder}' holds no run; expected folders with a {PLAN}")
    result = table(str(folder), COLUMNS, right=COLUMNS[6:])
    for row in rows:
        result.add_row(*row)
    console.print(result)


def run_folders(folder: Path) -> Iterator[Path]:
    """Yield the folders of runs in a folder, not far below it, by name; itself if it is one."""
    for depth in range(DEEP + 1):
        for plan in sorted(folder.glob("*/" * depth + PLAN)):
            yield plan.parent


def run_rows(path: Path, below: Path) -> list[list[str]]:
    """Return the rows of a run: one for each student, one for a run that is not finished."""
    name = str(path.relative_to(below)) if path != below else path.name
    try:
        return _rows(path, name)
    except (AttributeError, KeyError, TypeError, ValueError):  # JSON of another form
        return [[name, "damaged", *[""] * (len(COLUMNS) - 2)]]


def _rows(path: Path, name: str) -> list[list[str]]:
    plan = _read(path / PLAN)
    if plan is None:
        raise ValueError("the plan is no JSON")
    summary = _read(path / SUMMARY)
    data = plan.get("data", {})
    synthetic = f" [{data['synthetic']}]" if data.get("synthetic") else ""
    title = f"{data.get('title', '')}{synthetic}"
    artefacts = [found for file in path.glob(f"stages/*/{ARTEFACT}") if (found := _read(file))]
    time = _time(math.fsum(found.get("seconds", 0.0) for found in artefacts))
    state = _state(path, plan, summary, len(artefacts))
    lead = [name, state, title, _method(plan)]
    if summary is None:
        return [[*lead, ", ".join(plan.get("targets", ())), "", "", "", "", time]]
    primary = str(summary.get("primary", ""))
    rows = []
    for target, student in summary.get("students", {}).items():
        values = [student.get(how, {}).get(primary) for how in ("alone", "distilled", "gain")]
        shown = ["" if v is None else f"{v:.4f}" for v in values[:2]]
        verdict = student.get("certainty", {}).get("verdict") or ""
        gain = "" if values[2] is None else f"{values[2]:+.4f} {verdict}".rstrip()
        rows.append([*lead, target, primary, *shown, gain, time])
    return rows


def _state(path: Path, plan: Mapping[str, Any], summary: Any, done: int) -> str:
    if summary is not None:
        return "finished"
    stages = len(plan.get("stages", ()))
    running = (path / LOCK).is_file() and is_held(path / LOCK)
    return f"{'running' if running else 'stopped'} {done}/{stages}"


def _method(plan: Mapping[str, Any]) -> str:
    """Return what makes a run: its kinds of stages, without the control, and its losses."""
    controls = set(plan.get("alone", {}).values())
    stages = (s for s in plan.get("stages", ()) if s["name"] not in controls)
    kinds = " → ".join(dict.fromkeys(str(stage["kind"]).upper() for stage in stages))
    taught = (edge for edge in plan.get("edges", ()) if edge["kind"] == "teaches")
    losses = ", ".join(dict.fromkeys(edge["loss"] for edge in taught))
    return f"{kinds} by {losses}" if losses else kinds


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _read(path: Path) -> dict[str, Any] | None:
    """Return a description, or None: one damaged folder must not hide the others."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None
