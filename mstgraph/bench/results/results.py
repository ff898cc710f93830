"""The results of a bench, `results.json`: rows × students × seeds, and what each cell came to."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from mstgraph.support.errors import UserError, nearest
from mstgraph.support.files import read_json, write_json


@dataclass(frozen=True)
class StudentMetrics:
    """A network that every method trains.

    Attributes:
        name: of the student, with its data set where there are several.
        primary: the metric that a table shows if no other is wanted.
        metrics: all that are measured, ``primary`` among them.
    """

    name: str
    primary: str
    metrics: tuple[str, ...]


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
    """

    row: int
    student: str
    seed: int
    metrics: Mapping[str, float] | None
    seconds: float
    peak_memory: int
    error: str | None = None


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
        metrics: all names of metrics, in the order in which they are shown.
        students: in the order of the columns.
        rows: in the order of the table.
        seeds: that were asked for.
        cells: at most one for each row, student and seed; one that is missing did not run.
        baseline: index of the row of the student alone, or None.
        shared_seconds: what the bench took, artefacts shared between cells.
        separate_seconds: what it would have taken with every cell on its own.
    """

    title: str
    synthetic: str
    metrics: tuple[str, ...]
    students: tuple[StudentMetrics, ...]
    rows: tuple[Row, ...]
    seeds: tuple[int, ...]
    cells: tuple[CellResult, ...]
    baseline: int | None
    shared_seconds: float
    separate_seconds: float

    def cells_of(self, row: int, student: str) -> dict[int, CellResult]:
        """Return seed → cell, in the order of the seeds, for the cells that ran."""
        found = {c.seed: c for c in self.cells if (c.row, c.student) == (row, student)}
        return {seed: found[seed] for seed in self.seeds if seed in found}

    def values(self, row: int, column: Column) -> dict[int, float]:
        """Return seed → value, in the order of the seeds, where there is a finite one."""
        values = {
            seed: cell.metrics[column.metric]
            for seed, cell in self.cells_of(row, column.student).items()
            if cell.metrics is not None
        }
        return {seed: value for seed, value in values.items() if math.isfinite(value)}

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
    record = asdict(results)
    for cell in record["cells"]:
        metrics = cell["metrics"]
        if metrics is not None:
            cell["metrics"] = {n: v if math.isfinite(v) else None for n, v in metrics.items()}
    write_json(path, record)


def load_results(path: Path) -> Results:
    """Read ``results.json``.

    Raises:
        UserError: it is not there, not JSON, or not the results of a bench.
    """
    record = _checked(Results, read_json(path), f"'{path}'")
    students = tuple(
        StudentMetrics(**_checked(StudentMetrics, one, f"student {i} of '{path}'"))
        for i, one in enumerate(record.pop("students"))
    )
    rows = tuple(
        Row(**_checked(Row, one, f"row {i} of '{path}'"))
        for i, one in enumerate(record.pop("rows"))
    )
    cells = tuple(
        CellResult(**_checked(CellResult, one, f"cell {i} of '{path}'"))
        for i, one in enumerate(record.pop("cells"))
    )
    results = Results(**record, students=students, rows=rows, cells=cells)
    _check(results, path)
    return results


_KINDS: Mapping[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "a text"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "int | None": ((int, type(None)), "a whole number or null"),
    "str | None": ((str, type(None)), "a text or null"),
    "tuple[str, ...]": ((list,), "a list of texts"),
    "tuple[int, ...]": ((list,), "a list of whole numbers"),
    "Mapping[str, float] | None": ((dict, type(None)), "numbers by name, or null"),
}
_ITEMS: Mapping[str, type] = {"tuple[str, ...]": str, "tuple[int, ...]": int}


def _checked(kind: type, record: Any, where: str) -> dict[str, Any]:
    """Return a record's fields, lists as tuples, if it has all of them in the right types."""
    if not isinstance(record, dict):
        raise UserError(f"{where} is {record!r}; expected the fields of a {kind.__name__.lower()}")
    types = {field.name: str(field.type) for field in fields(kind)}
    for name in record:
        if name not in types:
            raise UserError(f"{where} has an unknown field '{name}'{nearest(name, types)}")
    for name, annotation in types.items():
        if name not in record:
            raise UserError(f"{where} lacks the field '{name}'")
        kinds, words = _KINDS.get(annotation, ((list,), "a list"))
        if not _is(record[name], kinds, _ITEMS.get(annotation)):
            raise UserError(f"{where} has {name} = {record[name]!r}; expected {words}")
    plain = {n: tuple(v) if isinstance(v, list) else v for n, v in record.items()}
    if kind is CellResult and record["metrics"] is not None:
        plain["metrics"] = _numbers(record["metrics"], where)
    return plain


def _is(value: Any, kinds: tuple[type, ...], item: type | None) -> bool:
    """Whether a value is of one of the kinds, and each item of a list of its own."""
    fits = isinstance(value, kinds) and not isinstance(value, bool)
    return fits and (item is None or all(_is(one, (item,), None) for one in value))


def _numbers(metrics: Mapping[str, Any], where: str) -> dict[str, float]:
    for name, value in metrics.items():
        if not _is(value, (int, float, type(None)), None):
            raise UserError(f"{where} has {name} = {value!r}; expected a number or null")
    return {n: math.nan if v is None else float(v) for n, v in metrics.items()}


def _check(results: Results, path: Path) -> None:
    """Check what one part of the results says of another."""
    if results.baseline is not None and results.baseline not in range(len(results.rows)):
        raise UserError(
            f"'{path}' has baseline = {results.baseline}; expected the index of one of its "
            f"{len(results.rows)} rows"
        )
    for student in results.students:
        _check_student(student, results.metrics, f"the student '{student.name}' of '{path}'")
    _check_unique([student.name for student in results.students], f"the students of '{path}'")
    _check_unique(results.seeds, f"the seeds of '{path}'")
    students = {student.name: student for student in results.students}
    for i, cell in enumerate(results.cells):
        _check_cell(cell, results, students, f"cell {i} of '{path}'")
    places = [f"row {c.row}, {c.student}, seed {c.seed}" for c in results.cells]
    _check_unique(places, f"the cells of '{path}'")


def _check_unique(names: Sequence[Any], where: str) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise UserError(f"{where} name '{name}' {count} times; expected once")


def _check_student(student: StudentMetrics, measured: Sequence[str], where: str) -> None:
    if student.primary not in student.metrics:
        raise UserError(
            f"{where} has primary = '{student.primary}'; expected one of its metrics"
            f"{nearest(student.primary, student.metrics)}"
        )
    for metric in student.metrics:
        if metric not in measured:
            raise UserError(f"{where} has an unknown metric '{metric}'{nearest(metric, measured)}")


def _check_cell(
    cell: CellResult, results: Results, students: Mapping[str, StudentMetrics], where: str
) -> None:
    if cell.row not in range(len(results.rows)):
        raise UserError(f"{where} has row = {cell.row}; expected one of {len(results.rows)} rows")
    if cell.student not in students:
        raise UserError(f"{where} has no student '{cell.student}'{nearest(cell.student, students)}")
    if cell.seed not in results.seeds:
        raise UserError(f"{where} has seed = {cell.seed}; expected one of {list(results.seeds)}")
    if (cell.metrics is None) == (cell.error is None):
        raise UserError(f"{where} has to have either metrics or an error")
    for metric in students[cell.student].metrics:
        if cell.metrics is not None and metric not in cell.metrics:
            raise UserError(f"{where} lacks the metric '{metric}'{nearest(metric, cell.metrics)}")
