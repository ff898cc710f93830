"""Run a benchmark: plan every cell, hand out the jobs, gather what the cells came to."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from mstgraph.benchmark.execute.dispatch import (
    WORKERS,
    Options,
    remember_workers,
    work_off,
    workers_for,
    workplace,
)
from mstgraph.benchmark.execute.live import Board
from mstgraph.benchmark.execute.schedule import Schedule
from mstgraph.benchmark.execute.workers import Do
from mstgraph.benchmark.execute.workplace import Workplace, is_held
from mstgraph.benchmark.plan.benchmark import Benchmark
from mstgraph.benchmark.plan.cell import Cell
from mstgraph.benchmark.plan.dag import Job, OpenCell, by_urgency, jobs_of, unfinished
from mstgraph.benchmark.plan.opening import at_its_place, describe_cell, open_cell, place_of
from mstgraph.benchmark.report.outputs import CONFIG, gather, outputs, read_artefact, write_outputs
from mstgraph.benchmark.results.results import Results
from mstgraph.declare.config_checks import unread_on_command_line
from mstgraph.derive.source import Prepare
from mstgraph.run.artefacts.run_folder import locked
from mstgraph.support.disk.own_folder import LOCK, OwnFolder
from mstgraph.support.errors import UserError, nearest
from mstgraph.support.files import write_text
from mstgraph.support.interrupt import Interrupt, Interrupted

Refused = list[tuple[Cell, str]]


def run_bench(
    benchmark: Benchmark,
    options: Options,
    do: Do,
    console: Console,
    prepare: Prepare | None = None,
    notice: Callable[[str], None] = lambda _: None,
) -> Results:
    """Run every cell of a benchmark that is not finished yet, and leave its results.

    Args:
        benchmark: the benchmark.
        options: how.
        do: how a job is done, in this process or elsewhere.
        console: where the table goes.
        prepare: builds a missing store.
        notice: is told what the user should know.

    Returns:
        The results; a cell that failed is among them with its reason.

    Raises:
        Interrupted: on request; the same command continues.
        UserError: no cell can be opened, none measures a metric of the table, or the folder cannot
            be written.
    """
    interrupt = Interrupt()
    with ExitStack() as stack:
        own = own_folder(options.folder)
        stack.enter_context(locked(options.folder, own))
        if options.artefacts.resolve() != options.folder.resolve():
            stack.enter_context(locked(options.artefacts, own_folder(options.artefacts)))
        own.make(*outputs(benchmark))
        stack.enter_context(interrupt)
        place = workplace(options)
        cells, refused = open_cells(
            benchmark, console, interrupt, prepare, notice, options.log_every
        )
        _check_metrics(benchmark, cells)
        _remember(benchmark, options)
        jobs = jobs_of(cells)
        schedule = _schedule(jobs, place)
        _announce(cells, refused, jobs, schedule, benchmark, notice)
        _announce_held(schedule, place, notice)
        board = Board(
            console,
            benchmark,
            cells,
            refused,
            schedule,
            lambda cell: _first_metric(cell, place),
            options.jobs,
        )
        try:
            with board:
                workers = workers_for(options, do, place, interrupt, benchmark.settings.resources)
                work_off(schedule, workers, place, interrupt, board.update)
        finally:
            results = gather(benchmark, cells, refused, schedule, place.artefacts)
            write_outputs(results, benchmark, cells, schedule, options.folder)
        if interrupt.requested or not schedule.over:
            done = sum(cell.metrics is not None for cell in results.cells)
            raise Interrupted(f"{done} of {len(cells) + len(refused)} cells")
        shutil.rmtree(place.scratch, ignore_errors=True)
    return results


def own_folder(path: Path) -> OwnFolder:
    """Return a benchmark's folder, or the one of its artefacts."""
    return OwnFolder(path, "benchmark", _earlier_benchmark)


def _earlier_benchmark(path: Path) -> list[str] | None:
    """Return what an earlier version, which kept no record, made in a benchmark's folder."""
    made = (path / LOCK).is_file() and any((path / n).is_file() for n in (CONFIG, WORKERS))
    return [entry.name for entry in path.iterdir()] if made else None


def open_cells(
    benchmark: Benchmark,
    console: Console,
    interrupt: Interrupt,
    prepare: Prepare | None,
    notice: Callable[[str], None],
    log_every: float = 0.0,
) -> tuple[list[OpenCell], Refused]:
    """Open every cell once, to know what it needs; return also those that cannot be opened.

    It takes a second a cell: so it is said how far that is, every so many seconds.

    Raises:
        UserError: what the command line says is at fault, or no cell can be opened.
    """
    told: dict[str, None] = {}
    unread: list[tuple[Cell, set[str]]] = []
    opened: list[OpenCell] = []
    refused: Refused = []
    cells, said = benchmark.cells(), time.monotonic()
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        for cell in progress.track(cells, description="planning"):
            if interrupt.requested:
                raise Interrupted("nothing")
            if log_every > 0 and time.monotonic() - said >= log_every:
                said = time.monotonic()
                notice(f"planning: {len(opened) + len(refused)} of {len(cells)} cells")
            try:
                experiment = open_cell(cell, prepare, lambda said: told.setdefault(said))
                opened.append(describe_cell(cell, experiment))
                stray = unread_on_command_line(experiment.configuration)
                unread.append((cell, {at_its_place(sentence, cell) for sentence in stray}))
            except UserError as error:
                if any(f"command line '-p {given}'" in str(error) for given in benchmark.given):
                    raise
                refused.append((cell, str(error)))
            except Exception as error:  # a network's or a method's own; other cells go on
                first = (str(error).splitlines() or ["no message"])[0]
                refused.append((cell, f"{type(error).__name__}: {first}"))
    if not opened:
        raise UserError(refused[0][1])
    for sentence in (*told, *_slips(unread, benchmark)):
        notice(sentence)
    return opened, refused


def _slips(unread: Sequence[tuple[Cell, set[str]]], benchmark: Benchmark) -> list[str]:
    """Say which bindings no cell reads of all that have them.

    Not every method reads every setting, and bench.bindings are there for all of them: those of
    the file are no slip though no row needs them.
    """
    nothing = ": nothing in this graph reads "
    having = Counter(
        place for cell, _ in unread for place in {place_of(b, cell) for b in cell.bindings}
    )
    lacking = Counter(sentence for _, sentences in unread for sentence in sentences)
    shared = {place_of(b, cell) for cell, _ in unread for b in benchmark.settings.bindings}
    places = {sentence: sentence.partition(nothing)[0] for sentence in lacking}
    return [
        sentence.replace(nothing, ": no cell reads ")
        for sentence, place in sorted(places.items())
        if place not in shared and lacking[sentence] == having[place]
    ]


def _check_metrics(benchmark: Benchmark, cells: Sequence[OpenCell]) -> None:
    """What cells measure is known once they are open; a table that fails would come last of all."""
    measured = {metric.name for cell in cells for metric in cell.metrics}
    for metric in benchmark.settings.metrics:
        if metric not in measured:
            raise UserError(
                f"{benchmark.metrics_place}: bench.metrics has '{metric}', which no student's "
                f"task measures{nearest(metric, measured)}"
            )


def _remember(benchmark: Benchmark, options: Options) -> None:
    """Write what is run; artefacts of another number of threads or device are not taken over."""
    write_text(options.folder / CONFIG, benchmark.gin_text)
    remember_workers(options)


def _schedule(jobs: Sequence[Job], place: Workplace) -> Schedule:
    names = [name for job in jobs for name in job.artefacts]
    finished = {name for name in names if read_artefact(place.artefacts, name)}
    return Schedule(by_urgency(unfinished(jobs, finished)), finished)


def _announce(
    cells: Sequence[OpenCell],
    refused: Refused,
    jobs: Sequence[Job],
    schedule: Schedule,
    benchmark: Benchmark,
    notice: Callable[[str], None],
) -> None:
    """Say what will be done, and what cannot be, before it takes its time."""
    by_reason: dict[str, list[Cell]] = {}
    for cell, sentence in refused:
        by_reason.setdefault(sentence, []).append(cell)
    for sentence, lost in by_reason.items():
        students = dict.fromkeys(benchmark.students[cell.student].name for cell in lost)
        count = f"{len(lost)} cells" if len(lost) > 1 else "1 cell"
        notice(f"{count} of {', '.join(students)} cannot run: {sentence}")
    separate = sum(len(cell.artefacts) for cell in cells)
    distinct = sum(len(job.artefacts) for job in jobs)
    ready = f", {len(schedule.finished)} of them are there already" if schedule.finished else ""
    notice(
        f"{len(cells)} cells need {separate} stages; shared between them, {distinct} are to be "
        f"trained{ready}"
    )


def _announce_held(schedule: Schedule, place: Workplace, notice: Callable[[str], None]) -> None:
    """Say which stages will wait for a process that outlived the command that started it."""
    held = [job for job in schedule.waiting if is_held(place.scratch / job.name)]
    if held:
        stages = ", ".join(stage for job in held for stage in job.stages)
        notice(
            f"a process of an earlier command is still at work in '{place.scratch}' on {stages}; "
            "they go on here as soon as it has ended"
        )


def _first_metric(cell: OpenCell, place: Workplace) -> float:
    artefact = read_artefact(place.artefacts, cell.result)
    assert artefact is not None
    return float(artefact["test"]["metrics"][cell.target][cell.primary.name])
