"""The results of a bench, `results.json`: rows × students × seeds, and what each cell came to."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mstgraph.support.errors import UserError, nearest
from mstgraph.support.files import read_json, write_json
from mstgraph.tasks.task import Metric


@dataclass(frozen=True)
class StudentMetrics:
    """A network that every method trains.

    Attributes:
        name: of the student, with its data set where there are several.
        primary: the metric that a table shows if no other is wanted.
        metrics: all that are measured, ``primary`` among them.
        test_share: test samples for each training sample, by which splits share samples.
    """

    name: str
    primary: str
    metrics: tuple[str, ...]
    test_share: float = 0.0


@dataclass(frozen=True)
class Row:
    """A method with its teachers.

    Attributes:
        method: "KD", "MST-Distill", …
        teachers: the configuration of teachers, "MM", "CM" or "MM+CM"; "" for none.
        group: the family that the method belongs to, or "".
    """

    method: str
    teachers: str
    group: str = ""

    @property
    def name(self) -> str:
        """Method and teachers in one."""
        return f"{self.method} {self.teachers}".strip()


@dataclass(frozen=True)
class CellResult:
    """One student trained by one method under one seed.

    Attributes:
        row: index of the method among the rows.
        student: name.
        seed: of initialisation, batches and split.
        metrics: metric → value on the test split, nan where it is undefined; None if it failed.
        seconds: of all stages that this cell needs, as if it ran alone.
        peak_memory: bytes.
        error: why it failed, in one sentence, or None.
        epochs: behind the student in all, from its first stage on.
        control: metric → value of the same network trained as long alone; None without one.
    """

    row: int
    student: str
    seed: int
    metrics: Mapping[str, float] | None
    seconds: float
    peak_memory: int
    error: str | None = None
    epochs: int = 0
    control: Mapping[str, float] | None = None


@dataclass(frozen=True)
class GainInterval:
    """How sure the mean gain of a row over its control is.

    Attributes:
        row: index of the method among the rows.
        student: name.
        metric: name.
        low: lower end of the 95 % interval, over seeds and samples.
        high: upper end.
    """

    row: int
    student: str
    metric: str
    low: float
    high: float


@dataclass(frozen=True)
class Column:
    """One metric of one student."""

    student: str
    metric: str


@dataclass(frozen=True)
class Results:
    """A whole bench.

    Attributes:
        title: what was compared, on which data.
        synthetic: what must be said wherever numbers appear; empty for real data.
        metrics: all that are measured, in the order in which they are shown.
        students: in the order of the columns.
        rows: in the order of the table.
        seeds: that were asked for.
        cells: at most one for each row, student and seed; one that is missing did not run.
        baseline: index of the row of the student alone, or None.
        shared_seconds: what the bench took, artefacts shared between cells.
        separate_seconds: what it would have taken with every cell on its own.
        intervals: of the gains, where test samples are known one by one.
    """

    title: str
    synthetic: str
    metrics: tuple[Metric, ...]
    students: tuple[StudentMetrics, ...]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    cells: tuple[CellResult, ...]
    baseline: int | None
    shared_seconds: float
    separate_seconds: float
    intervals: tuple[GainInterval, ...] = ()

    def cells_of(self, row: int, student: str) -> dict[int, CellResult]:
        """Return seed → cell, in the order of the seeds, for the cells that ran."""
        found = {c.seed: c for c in self.cells if (c.row, c.student) == (row, student)}
        return {seed: found[seed] for seed in self.seeds if seed in found}

    def values(self, row: int, column: Column) -> dict[int, float]:
        """Return seed → value, in the order of the seeds, where there is a finite one."""
        cells = self.cells_of(row, column.student)
        return _finite({seed: cell.metrics for seed, cell in cells.items()}, column.metric)

    def controls(self, row: int, column: Column) -> dict[int, float]:
        """Return seed → value of the student alone, trained as long as by the row's method."""
        cells = self.cells_of(row, column.student)
        return _finite({seed: cell.control for seed, cell in cells.items()}, column.metric)

    def gains(self, row: int, column: Column) -> dict[int, float]:
        """Return seed → value less the control's, where both are there."""
        alone = self.controls(row, column)
        values = self.values(row, column).items()
        return {seed: value - alone[seed] for seed, value in values if seed in alone}

    def interval(self, row: int, column: Column) -> tuple[float, float] | None:
        """Return the 95 % interval of a row's gain over its control, if there is one."""
        place = (row, column.student, column.metric)
        found = (i for i in self.intervals if (i.row, i.student, i.metric) == place)
        return next(((i.low, i.high) for i in found), None)

    def test_share(self, column: Column) -> float:
        """Return the test samples of a column's student for each training sample."""
        return next(s.test_share for s in self.students if s.name == column.student)

    def metric(self, column: Column) -> Metric:
        """Return what a column shows."""
        return next(metric for metric in self.metrics if metric.name == column.metric)

    def columns(self, metrics: Sequence[str] = ()) -> tuple[Column, ...]:
        """Return the columns of a table, student by student.

        Args:
            metrics: those wanted; each student's primary one if none is named.

        Raises:
            UserError: a metric is not among those measured.
        """
        measured = {metric for student in self.students for metric in student.metrics}
        for metric in metrics:
            if metric not in measured:
                raise UserError(
                    f"the bench '{self.title}' has no metric '{metric}'{nearest(metric, measured)}"
                )
        return tuple(
            Column(student.name, metric)
            for student in self.students
            for metric in (metrics or (student.primary,))
            if metric in student.metrics
        )


def _finite(metrics: Mapping[int, Mapping[str, float] | None], name: str) -> dict[int, float]:
    values = {seed: found[name] for seed, found in metrics.items() if found is not None}
    return {seed: value for seed, value in values.items() if math.isfinite(value)}


def swept_values(names: Sequence[str], setting: str) -> dict[int, float]:
    """Return the index of each row's name that says ``setting = number`` → the number."""
    said = re.compile(rf"\b{re.escape(setting)}\s*=\s*(-?\d+(?:\.\d+)?)")
    found = {i: match for i, name in enumerate(names) if (match := said.search(name))}
    return {i: float(match.group(1)) for i, match in found.items()}


def save_results(results: Results, path: Path) -> None:
    """Write ``results.json`` atomically; an undefined value becomes null.

    Raises:
        UserError: it cannot be written.
    """
    write_json(path, asdict(results))


def load_results(path: Path) -> Results:
    """Return what `save_results` wrote.

    Raises:
        UserError: it cannot be read, or is of another form.
    """
    content = read_json(path, "give the benchmark's command again to have it written anew")
    try:
        students = [{**s, "metrics": tuple(s["metrics"])} for s in content["students"]]
        return Results(
            title=content["title"],
            synthetic=content["synthetic"],
            metrics=tuple(Metric(**metric) for metric in content["metrics"]),
            students=tuple(StudentMetrics(**student) for student in students),
            rows=tuple(Row(**row) for row in content["rows"]),
            seeds=tuple(content["seeds"]),
            cells=tuple(CellResult(**_measured(cell)) for cell in content["cells"]),
            baseline=content["baseline"],
            shared_seconds=content["shared_seconds"],
            separate_seconds=content["separate_seconds"],
            intervals=tuple(GainInterval(**found) for found in content.get("intervals", ())),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"'{path}' is not of the form that was expected: {error}") from error


def _measured(cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell with nan where a value is undefined, which JSON has no word for."""
    metrics = {
        key: values and {name: math.nan if v is None else v for name, v in values.items()}
        for key, values in cell.items()
        if key in ("metrics", "control")
    }
    return {**cell, **metrics}
