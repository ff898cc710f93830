"""What a benchmark leaves: results, tables, figures, and where each cell's stages lie."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from mstgraph.benchmark.execute.schedule import Schedule
from mstgraph.benchmark.plan.benchmark import Benchmark
from mstgraph.benchmark.plan.cell import Cell
from mstgraph.benchmark.plan.dag import OpenCell
from mstgraph.benchmark.report.intervals import gain_intervals
from mstgraph.benchmark.report.table import Table, latex, long_csv, markdown, print_table
from mstgraph.benchmark.report.table_contents import (
    cost_table,
    differences_table,
    metrics_table,
    sharing_line,
)
from mstgraph.benchmark.results.ranking import ranking
from mstgraph.benchmark.results.results import (
    CellResult,
    Results,
    Row,
    StudentMetrics,
    save_results,
)
from mstgraph.report.console import Plain
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.support.files import write_json, write_text

TEXT_WIDTH = 200  # of table.txt
CONFIG = "bench.gin"
_TABLES = ("table.txt", "table.md", "table.tex", "table.csv")


def outputs(benchmark: Benchmark) -> list[str]:
    """Return the names of all files that a benchmark leaves in its folder."""
    figures = ["ranks", *(benchmark.settings.figure or ())[:1]]
    pictures = [f"{name}.{ending}" for name in figures for ending in ("svg", "png")]
    return [CONFIG, "results.json", "cells.json", *_TABLES, *pictures]


def read_artefact(artefacts: Path, name: str) -> dict[str, Any] | None:
    """Return what a finished stage left, or None if it is not finished."""
    places = {name: artefacts / name}
    return RunFolder(artefacts, places).artefact(name)


def gather(
    benchmark: Benchmark,
    cells: Sequence[OpenCell],
    refused: Sequence[tuple[Cell, str]],
    schedule: Schedule,
    artefacts: Path,
) -> Results:
    """Return what the cells came to; those that are still to come are left out.

    Args:
        benchmark: the benchmark.
        cells: the cells that could be opened.
        refused: the others, with the reason.
        schedule: knows which are finished.
        artefacts: folder of what stages left.
    """
    left = {name: read_artefact(artefacts, name) for c in cells for name in c.artefacts.values()}
    there = {name: artefact for name, artefact in left.items() if artefact is not None}
    names = [student.name for student in benchmark.students]
    ended = [_cell(c, names, schedule, there) for c in cells if _ended(schedule, c)]
    ended += [
        CellResult(cell.row, names[cell.student], cell.seed, None, 0.0, 0, sentence)
        for cell, sentence in refused
    ]
    done = [cell for cell in cells if schedule.state(cell) == "done"]
    controls = {cell.control for cell in cells} - {cell.result for cell in cells}
    methods = [row.method for row in benchmark.rows]
    baseline = benchmark.settings.baseline
    return Results(
        title=benchmark.settings.title or benchmark.name,
        synthetic="; ".join(dict.fromkeys(c.synthetic for c in cells if c.synthetic)),
        metrics=tuple({metric.name: metric for c in cells for metric in c.metrics}.values()),
        students=tuple(_student(i, name, cells) for i, name in enumerate(names)),
        rows=tuple(Row(row.method, row.teachers, row.group) for row in benchmark.rows),
        seeds=benchmark.settings.seeds,
        cells=tuple(sorted(ended, key=lambda c: (names.index(c.student), c.row, c.seed))),
        baseline=methods.index(baseline) if baseline else None,
        shared_seconds=math.fsum(a["seconds"] for n, a in there.items() if n not in controls),
        separate_seconds=math.fsum(cell.seconds for cell in ended),
        intervals=gain_intervals(done, names, artefacts),
    )


def _ended(schedule: Schedule, cell: OpenCell) -> bool:
    return schedule.state(cell) in ("done", "failed")


def _student(index: int, name: str, cells: Sequence[OpenCell]) -> StudentMetrics:
    """A student of which no cell could be opened has the metrics that the others have."""
    own = next((cell for cell in cells if cell.cell.student == index), cells[0])
    metrics = tuple(metric.name for metric in own.metrics)
    return StudentMetrics(name, own.primary.name, metrics, own.test_share)


def _cell(
    cell: OpenCell, names: Sequence[str], schedule: Schedule, artefacts: dict[str, Any]
) -> CellResult:
    # What a method takes is told without its control.
    names_of_own = [name for name in cell.artefacts.values() if name != cell.control]
    own = [artefacts[name] for name in names_of_own if name in artefacts]
    done = schedule.state(cell) == "done"
    return CellResult(
        row=cell.cell.row,
        student=names[cell.cell.student],
        seed=cell.cell.seed,
        metrics=_metrics(artefacts[cell.result], cell.target) if done else None,
        seconds=math.fsum(artefact["seconds"] for artefact in own),
        peak_memory=max((artefact["peak_memory"] for artefact in own), default=0),
        error=None if done else schedule.error(cell),
        epochs=sum(artefacts[name]["epochs"] for name in cell.behind) if done else 0,
        control=_metrics(artefacts[cell.control], cell.target) if done and cell.control else None,
    )


def _metrics(artefact: dict[str, Any], target: str) -> dict[str, float]:
    values = artefact["test"]["metrics"][target]
    return {name: math.nan if value is None else value for name, value in values.items()}


def write_outputs(
    results: Results,
    benchmark: Benchmark,
    cells: Sequence[OpenCell],
    schedule: Schedule,
    folder: Path,
) -> None:
    """Write ``results.json``, ``cells.json`` (which artefacts are a cell's), and the tables.

    Args:
        results: what came of it.
        benchmark: the benchmark.
        cells: the cells that could be opened.
        schedule: knows which are finished.
        folder: where to.
    """
    save_results(results, folder / "results.json")
    names = [student.name for student in benchmark.students]
    record = [
        {
            "student": names[cell.cell.student],
            "row": benchmark.rows[cell.cell.row].name,
            "seed": cell.cell.seed,
            "state": schedule.state(cell),
            "stages": dict(cell.artefacts),
            "result": cell.result,
            "control": cell.control,
        }
        for cell in cells
    ]
    write_json(folder / "cells.json", record)
    _write_tables(results, benchmark.settings.metrics, folder)


def _write_tables(results: Results, metrics: Sequence[str], folder: Path) -> None:
    tables = all_tables(results, metrics)
    text = io.StringIO()
    console = Plain(file=text, width=TEXT_WIDTH)
    for one in tables:
        print_table(one, console)
        console.print()
    write_text(folder / "table.txt", text.getvalue())
    write_text(folder / "table.md", "\n".join(map(markdown, tables)))
    write_text(folder / "table.tex", "\n".join(map(latex, tables)))
    write_text(folder / "table.csv", long_csv(results))


def all_tables(results: Results, metrics: Sequence[str]) -> list[Table]:
    """Return the metrics, the differences with their significance, and the cost."""
    made = [metrics_table(results, metrics), differences_table(results, metrics)]
    return [*made, cost_table(results)]


def print_results(results: Results, benchmark: Benchmark, console: Console) -> None:
    """Print the table of metrics, and what sharing saved if that is anything."""
    print_table(metrics_table(results, benchmark.settings.metrics), console)
    if saved := sharing_line(results):
        console.print(saved, markup=False, highlight=False)


def write_figures(results: Results, benchmark: Benchmark, folder: Path) -> list[Path]:
    """Draw the ranks where they can be tested, and the figure that is declared; return the files.

    Raises:
        UserError: matplotlib is not there, or the results have not what the figure shows.
    """
    ranked = ranking(results, results.columns(benchmark.settings.metrics))
    if ranked is None and not benchmark.settings.figure:
        return []
    from mstgraph.benchmark.report.figures import draw_gains, draw_sweep, swept_rows
    from mstgraph.benchmark.report.rank_figure import draw_ranks
    from mstgraph.viz.canvas import write_picture

    written = []
    if ranked is not None:
        written += write_picture(draw_ranks(results, ranked), folder / "ranks")
    if not benchmark.settings.figure:
        return written
    kind, subject = benchmark.settings.figure
    if kind == "gains":
        figure = draw_gains(results, subject)
    else:
        figure = draw_sweep(results, swept_rows(results, subject), subject)
    return [*written, *write_picture(figure, folder / kind)]
