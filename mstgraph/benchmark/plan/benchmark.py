"""What a benchmark compares, declared in gin: methods × students × seeds.

A cell is one of their combinations: the student's gin file, the method's gin file on top, and
bindings on top of both. Nothing of a method or a data set stands here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gin

from mstgraph.benchmark.plan.cell import Cell
from mstgraph.benchmark.results.results import swept_values
from mstgraph.declare.configuration import Configuration, find_file
from mstgraph.declare.load import load
from mstgraph.support.errors import UserError, nearest

OWN = "bench."  # bindings of the benchmark itself begin with it
FIGURES = ("gains", "sweep")
_OF_ITS_OWN = {
    "graph.seed": "--seeds, or bench.seeds",
    "graph.alone": "a row of its own for the student alone, with \"graph.teachers = 'none'\"",
}
_SETTING = re.compile(r"(\w+)\s*=\s*-?\d")


@gin.configurable("bench", module="mstgraph")
@dataclass(frozen=True)
class Bench:
    """Bound in gin under the name ``bench``.

    Attributes:
        title: what stands above the table.
        students: one column each: (name, gin file, binding, …).
        rows: one row each: (method, teachers, gin file or '', binding, …); a string between them
            is the heading of the rows after it.
        seeds: each cell is run once per seed.
        metrics: metrics in the table; none: the primary one of each student's task.
        files: gin files of every cell, after the student's and before the row's.
        bindings: for every cell; those of a student and of a row win over them.
        baseline: method of the row of the student without a teacher. With one, every other cell
            also trains its student alone for as many epochs as the method gives it: gains are over
            that. Empty for neither.
        figure: ``('gains', method)``, box plots of a method's rows by teachers; ``('sweep',
            setting)``, a line over the rows whose names say ``setting = number``; or nothing.
        resources: Ray's resources of a task by the kind of its stage, ``{'*': {'num_cpus': 1},
            'dkd': {'num_gpus': 0.5}}``; ``'*'`` is for all others.
    """

    title: str = ""
    students: tuple[tuple[str, ...], ...] = ()
    rows: tuple[tuple[str, ...] | str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    metrics: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    bindings: tuple[str, ...] = ()
    baseline: str = "w/o KD"
    figure: tuple[str, ...] = ()
    resources: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class StudentFile:
    """A column: the graph that says who the student is and who could teach it.

    Attributes:
        name: what stands above the column.
        file: its gin file.
        bindings: on top of it.
    """

    name: str
    file: Path
    bindings: tuple[str, ...]


@dataclass(frozen=True)
class MethodFile:
    """A row: a method with a choice of teachers.

    Attributes:
        method: its name.
        teachers: the choice of teachers, as the paper abbreviates it: MM, CM, MM+CM.
        file: its gin file, or None if the student's file says it all.
        bindings: on top of it.
        group: heading that it stands under; empty for none.
    """

    method: str
    teachers: str
    file: Path | None
    bindings: tuple[str, ...]
    group: str

    @property
    def name(self) -> str:
        """What a person reads."""
        return f"{self.method} {self.teachers}".strip()


@dataclass(frozen=True)
class Benchmark:
    """A checked benchmark.

    Attributes:
        name: of the gin file, for the folder.
        settings: as declared, with what the command line changed.
        students: the columns.
        rows: the rows.
        files: gin files of every cell, found.
        given: bindings of the command line for every cell.
        place: the gin file.
        gin_text: the operative configuration; as a gin file it gives the same benchmark.
        metrics_place: where bench.metrics stands.
    """

    name: str
    settings: Bench
    students: tuple[StudentFile, ...]
    rows: tuple[MethodFile, ...]
    files: tuple[Path, ...]
    given: tuple[str, ...]
    place: str
    gin_text: str
    metrics_place: str

    def cells(self) -> list[Cell]:
        """Return every cell, seed by seed: a table with every method stands as early as it can."""
        return [
            self._cell(row, student, seed)
            for seed in self.settings.seeds
            for student in range(len(self.students))
            for row in range(len(self.rows))
        ]

    def _cell(self, row: int, student: int, seed: int) -> Cell:
        column, method = self.students[student], self.rows[row]
        declared = {
            f"{self.place}: bench.bindings": self.settings.bindings,
            f"{self.place}: student '{column.name}'": column.bindings,
            f"{self.place}: row '{method.name}'": method.bindings,
        }
        places = {b: f"{where}: '{b}'" for where, own in declared.items() for b in own}
        own = [binding for own in declared.values() for binding in own]
        return Cell(
            row=row,
            student=student,
            seed=seed,
            files=tuple(map(str, (column.file, *self.files, *filter(None, [method.file])))),
            # A method's gain is over the same network trained as long, whatever the row of the
            # student alone has; rows that train as long share that control.
            bindings=(
                *own,
                *self.given,
                f"graph.alone = {bool(self.settings.baseline)}",
                f"graph.seed = {seed}",
            ),
            places={b: where for b, where in places.items() if b not in self.given},
        )


def declare(
    file: Path | str, bindings: Sequence[str] = (), seeds: Sequence[int] | None = None
) -> Benchmark:
    """Load a benchmark's gin file.

    Args:
        file: the gin file.
        bindings: of the command line: those that begin with ``bench.`` change the benchmark, all
            others go into every cell.
        seeds: in place of the declared ones.

    Raises:
        UserError: the benchmark is at fault; of its cells only the files are looked for.
    """
    own = [binding for binding in bindings if binding.lstrip().startswith(OWN)]
    given = tuple(binding for binding in bindings if binding not in own)
    configuration = load([file], own)
    with configuration.entered():
        settings, gin_text = Bench(), gin.operative_config_str()
    _refuse_foreign_bindings(configuration)
    if seeds is not None:
        settings = replace(settings, seeds=tuple(seeds))
    _check_values(settings, configuration)
    students = tuple(_student(entry, configuration) for entry in settings.students)
    rows = tuple(_rows(settings.rows, configuration))
    place = configuration.where(Bench, "files")
    files = tuple(find_file(name, place, configuration) for name in settings.files)
    _check_names(settings, students, rows, configuration)
    _check_figure(settings, rows, configuration)
    _refuse_bindings_of_its_own(settings, students, rows, given, configuration)
    return Benchmark(
        name=Path(file).stem,
        settings=settings,
        students=students,
        rows=rows,
        files=files,
        given=given,
        place=str(file),
        gin_text=gin_text,
        metrics_place=configuration.where(Bench, "metrics"),
    )


def _refuse_foreign_bindings(configuration: Configuration) -> None:
    """A benchmark's file is no part of its cells: a binding of theirs would do nothing."""
    for (scope, selector, parameter), place in configuration.locations.items():
        if selector != "mstgraph.bench":
            name = f"{scope}/{selector}" if scope else selector
            name = f"{name.removeprefix('mstgraph.')}.{parameter}"
            raise UserError(
                f"{place}: '{name}' does nothing in a benchmark's file; expected it among "
                "bench.bindings, as text, which go into every cell"
            )


def _check_values(settings: Bench, configuration: Configuration) -> None:
    for parameter in ("students", "rows", "seeds"):
        values = getattr(settings, parameter)
        if not values:
            where = configuration.where(Bench, parameter)
            raise UserError(f"{where}: bench.{parameter} is empty; expected at least one")
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            where = configuration.where(Bench, parameter)
            raise UserError(f"{where}: bench.{parameter} has {twice[0]!r} twice; expected it once")


def _check_names(
    settings: Bench,
    students: Sequence[StudentFile],
    rows: Sequence[MethodFile],
    configuration: Configuration,
) -> None:
    names = [student.name for student in students]
    if twice := [name for name in names if names.count(name) > 1]:
        where = configuration.where(Bench, "students")
        raise UserError(f"{where}: two students are called '{twice[0]}'; expected different names")
    names = [row.name for row in rows]
    if twice := [name for name in names if names.count(name) > 1]:
        where = configuration.where(Bench, "rows")
        raise UserError(f"{where}: two rows are called '{twice[0]}'; expected different names")
    methods = [row.method for row in rows]
    if settings.baseline and settings.baseline not in methods:
        where = configuration.where(Bench, "baseline")
        raise UserError(
            f"{where}: bench.baseline is '{settings.baseline}', which is no row's method; expected "
            f"'' or one of them{nearest(settings.baseline, methods)}"
        )


def _check_figure(
    settings: Bench, rows: Sequence[MethodFile], configuration: Configuration
) -> None:
    """A figure is drawn last of all: what it lacks would be told after hours of training."""
    if not settings.figure:
        return
    where = f"{configuration.where(Bench, 'figure')}: bench.figure is {settings.figure!r}"
    if len(settings.figure) != 2 or settings.figure[0] not in FIGURES:
        raise UserError(f"{where}; expected ('gains', method), ('sweep', setting) or ()")
    kind, subject = settings.figure
    methods = [row.method for row in rows]
    if kind == "gains" and subject not in methods:
        raise UserError(f"{where}, which names no row's method{nearest(subject, methods)}")
    if kind == "gains" and not settings.baseline:
        raise UserError(f"{where}, but gains are counted from bench.baseline; expected one")
    if kind == "sweep":
        _check_sweep(subject, [row.name for row in rows], where)


def _check_sweep(setting: str, names: Sequence[str], where: str) -> None:
    values = swept_values(names, setting)
    if len(values) < 2:
        said = dict.fromkeys(found for name in names for found in _SETTING.findall(name))
        raise UserError(
            f"{where}, but {len(values) or 'none'} of bench.rows name '{setting} = …' as method or "
            f"teachers; expected two or more{nearest(setting, said)}"
        )
    for value in values.values():
        same = [names[row] for row, other in values.items() if other == value]
        if len(same) > 1:
            raise UserError(
                f"{where}, but the rows '{same[0]}' and '{same[1]}' both have {setting} = "
                f"{value:g}; expected one row for each value"
            )


def _refuse_bindings_of_its_own(
    settings: Bench,
    students: Sequence[StudentFile],
    rows: Sequence[MethodFile],
    given: Sequence[str],
    configuration: Configuration,
) -> None:
    """What a benchmark sets in every cell would win over these without a word."""
    sources: list[tuple[str, Sequence[str]]] = [
        ("bindings", settings.bindings),
        *(("students", student.bindings) for student in students),
        *(("rows", row.bindings) for row in rows),
    ]
    places = [(f"command line '-p {binding}'", binding) for binding in given]
    for parameter, bindings in sources:
        where = f"{configuration.where(Bench, parameter)}: bench.{parameter}"
        places += [(f"{where}: '{binding}'", binding) for binding in bindings]
    for place, binding in places:
        for name, expected in _OF_ITS_OWN.items():
            if re.search(rf"^\s*(mstgraph\.)?{re.escape(name)}\s*=", binding, re.MULTILINE):
                raise UserError(f"{place}: a benchmark sets {name} itself; expected {expected}")


def _student(entry: Sequence[str], configuration: Configuration) -> StudentFile:
    place = configuration.where(Bench, "students")
    _refuse_short(entry, 2, "(name, gin file, binding, …)", place)
    name, file, *bindings = entry
    return StudentFile(name, find_file(file, place, configuration), tuple(bindings))


def _rows(entries: Sequence[Sequence[str] | str], configuration: Configuration) -> list[MethodFile]:
    place = configuration.where(Bench, "rows")
    rows, group = [], ""
    for entry in entries:
        if isinstance(entry, str):
            group = entry
            continue
        _refuse_short(entry, 3, "(method, teachers, gin file or '', binding, …)", place)
        method, teachers, file, *bindings = entry
        found = find_file(file, place, configuration) if file else None
        rows.append(MethodFile(method, teachers, found, tuple(bindings), group))
    return rows


def _refuse_short(entry: Any, count: int, expected: str, place: str) -> None:
    texts = isinstance(entry, (tuple, list)) and all(isinstance(item, str) for item in entry)
    if not texts or len(entry) < count:
        raise UserError(f"{place}: {entry!r} is not {expected}, all of them strings")


MOST_SEEDS = 10_000
LONGEST_SEED = 40  # characters of a seed, or of the first and last of several


def parse_seeds(text: str) -> tuple[int, ...]:
    """Return the seeds of ``"0-4"``, ``"3"`` or ``"0,2,7-9"``.

    Raises:
        UserError: it is none of these.
    """
    seeds: list[int] = []
    for piece in text.split(","):
        first, dash, last = piece.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or len(piece) > LONGEST_SEED:
            raise UserError(
                f"--seeds {text[:40]}: '{piece[:40]}' is no seed; expected 0-4 or 0,2,5"
            )
        wanted = range(int(first), int(last if dash else first) + 1)
        if (count := wanted.stop - wanted.start) > MOST_SEEDS:
            raise UserError(
                f"--seeds {text[:40]}: {count} seeds are more than anybody can wait for; "
                f"expected at most {MOST_SEEDS}"
            )
        seeds += wanted
    if not seeds:
        raise UserError(f"--seeds {text}: there is no seed in it; expected 0-4 or 0,2,5")
    return tuple(dict.fromkeys(seeds))
