"""What a person sees while a benchmark runs: a table that fills, or a line per finished cell."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from mstgraph.benchmark.execute.schedule import Schedule, State
from mstgraph.benchmark.plan.benchmark import Benchmark
from mstgraph.benchmark.plan.cell import Cell
from mstgraph.benchmark.plan.dag import OpenCell
from mstgraph.report.tables import table

REFRESH = 2  # times a second
Value = Callable[[OpenCell], float]


class Board:
    """Shows how far the cells are.

    Args:
        console: where to.
        benchmark: names rows and students.
        cells: the cells that could be opened.
        refused: the others, with the reason.
        schedule: knows how far they are.
        value: reads a finished cell's first metric.
        workers: how many jobs run at a time.
    """

    def __init__(
        self,
        console: Console,
        benchmark: Benchmark,
        cells: Sequence[OpenCell],
        refused: Sequence[tuple[Cell, str]],
        schedule: Schedule,
        value: Value,
        workers: int,
    ):
        self.console = console
        self.benchmark = benchmark
        self.cells = cells
        self.refused = refused
        self.schedule = schedule
        self.value = value
        self.workers = workers
        self.started = time.monotonic()
        self._values: dict[int, float] = {}
        self._told: set[int] = set()
        self._live = Live(
            console=console, get_renderable=self._renderable, refresh_per_second=REFRESH
        )

    def __enter__(self) -> Board:
        self._read()
        self._told = {i for i, cell in enumerate(self.cells) if self.schedule.state(cell) == "done"}
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def update(self) -> None:
        """Take note of cells that have ended."""
        self._read()
        for index, cell in enumerate(self.cells):
            state = self.schedule.state(cell)
            if index not in self._told and state in ("done", "failed"):
                self._told.add(index)
                if not self.console.is_terminal or state == "failed":
                    self._say(self._line(index, cell))

    def _read(self) -> None:
        for index, cell in enumerate(self.cells):
            if index not in self._values and self.schedule.state(cell) == "done":
                self._values[index] = self.value(cell)

    def _say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _line(self, index: int, cell: OpenCell) -> str:
        count = f"[{len(self._told) + len(self.refused)}/{len(self.cells) + len(self.refused)}]"
        name = f"{count} {_name(self.benchmark, cell.cell)}"
        error = self.schedule.error(cell)
        if error:
            return f"{name}: failed: {error}"
        return f"{name}: {cell.primary.title} {self._values[index]:.4f} · {self._times()}"

    def _renderable(self) -> RenderableType:
        students = [student.name for student in self.benchmark.students]
        grid = table(escape(self.benchmark.settings.title), ("", *students), right=students)
        places = self._places()
        group = ""
        for i, row in enumerate(self.benchmark.rows):
            if row.group != group:
                group = row.group
                grid.add_section()
            entries = [places.get((i, j), "") for j in range(len(students))]
            grid.add_row(escape(row.name), *entries)
        # Above the table: a terminal that is too low cuts off what is below.
        return Group(*map(Text, self._progress()), grid)

    def _places(self) -> dict[tuple[int, int], str]:
        """(row, student) → mean so far, and how many seeds are in it, at work, or lost."""
        found: dict[tuple[int, int], str] = {}
        groups: dict[tuple[int, int], list[int]] = {}
        for index, cell in enumerate(self.cells):
            groups.setdefault((cell.cell.row, cell.cell.student), []).append(index)
        lost = Counter((cell.row, cell.student) for cell, _ in self.refused)
        for place in {*groups, *lost}:
            indices = groups.get(place, [])
            states = Counter[State](self.schedule.state(self.cells[i]) for i in indices)
            states["failed"] += lost[place]
            values = [self._values[i] for i in indices if i in self._values]
            found[place] = _entry(values, states, len(indices) + lost[place])
        return found

    def _progress(self) -> list[str]:
        states = Counter(self.schedule.state(cell) for cell in self.cells)
        states["failed"] += len(self.refused)
        total = len(self.cells) + len(self.refused)
        parts = [f"{states['done']} of {total} cells are done"]
        parts += [f"{states[name]} {name}" for name in ("running", "failed") if states[name]]
        parts += [f"{len(self.schedule.finished)} of {self.schedule.stages} stages", self._times()]
        jobs = ", ".join(
            f"{_name(self.benchmark, job.cell)}: {job.stages[0]}"
            + (f" and {len(job.stages) - 1} more" if len(job.stages) > 1 else "")
            for job, _ in list(self.schedule.running.values())[: self.workers]
        )
        return [" · ".join(parts), *([f"now {jobs}"] if jobs else [])]

    def _times(self) -> str:
        left = self.schedule.remaining(self.workers)
        elapsed = duration(time.monotonic() - self.started)
        return elapsed if left is None or left < 1 else f"{elapsed}, about {duration(left)} left"


def _entry(values: Sequence[float], states: Mapping[State, int], total: int) -> str:
    if not values:
        return "[red]failed[/]" if states["failed"] == total else "…" if states["running"] else ""
    more = "[red]![/]" if states["failed"] else ""
    part = f" [dim]{len(values)}/{total}[/]" if len(values) < total else ""
    return f"{fmean(values):.4f}{part}{more}"


def _name(benchmark: Benchmark, cell: Cell) -> str:
    student, row = benchmark.students[cell.student], benchmark.rows[cell.row]
    return f"{student.name} · {row.name} · seed {cell.seed}"


def duration(seconds: float) -> str:
    """Return a time as a person reads it.

    >>> duration(75), duration(7322)
    ('1:15', '2:02:02')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
