"""Hand jobs out until nothing is left to start, wherever they are done.

A benchmark does it with the jobs of its cells, `mstgraph tune` with those of its trials, and
`mstgraph run` with the stages of one run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from mstgraph.benchmark.execute.schedule import Outcome, Schedule
from mstgraph.benchmark.execute.workers import Do, InProcess, Processes, RayCluster, Workers
from mstgraph.benchmark.execute.workplace import Workplace
from mstgraph.support.disk.descriptions import read_description, write_description
from mstgraph.support.disk.own_folder import SCRATCH, make_folder
from mstgraph.support.errors import UserError
from mstgraph.support.files import explained, write_text
from mstgraph.support.interrupt import Interrupt

LOOK_EVERY = 0.5  # seconds between two looks at the clock and at Ctrl-C
WORKERS = "workers.json"
MOST_THREADS = 1024


class _Settings(TypedDict):
    threads: int
    device: str


@dataclass(frozen=True)
class Options:
    """How jobs are done; nothing here changes their numbers but threads and device.

    Attributes:
        folder: where everything goes.
        artefacts: what stages leave; who names the same folder shares them.
        jobs: processes on this machine.
        threads: torch's threads in each.
        ray: address of a Ray cluster in place of processes; empty for none.
        device: where to compute.
        log_every: seconds between two lines on how far planning and stages are; 0 for none.

    Raises:
        UserError: there are no jobs or threads, or more threads than torch survives.
    """

    folder: Path
    artefacts: Path
    jobs: int = 1
    threads: int = 1
    ray: str = ""
    device: str = "auto"
    log_every: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers with which nothing would ever run."""
        if self.jobs < 1:
            raise UserError(f"--jobs is {self.jobs}, expected 1 or more")
        if not 1 <= self.threads <= MOST_THREADS:
            raise UserError(f"--threads is {self.threads}, expected 1 to {MOST_THREADS}")


def workplace(options: Options, tests: bool = True, by_name: bool = False) -> Workplace:
    """Return where jobs are done, ready for the first.

    Args:
        options: how they are done.
        tests: see `Workplace`.
        by_name: see `Workplace`.

    Raises:
        UserError: the folder cannot be written.
    """
    place = Workplace(
        artefacts=options.artefacts.resolve(),
        scratch=options.folder.resolve() / SCRATCH,
        device=options.device,
        threads=options.threads,
        share=1 if options.ray else options.jobs,
        log_every=options.log_every,
        tests=tests,
        by_name=by_name,
    )
    make_folder(options.folder.resolve(), place.scratch)
    with explained(place.scratch):
        place.stop_file.unlink(missing_ok=True)
    return place


def remember_workers(options: Options) -> None:
    """Write what artefacts are made with.

    Raises:
        UserError: those that are there were made with other threads or on another device.
    """
    file, settings = (
        options.artefacts / WORKERS,
        {
            "threads": options.threads,
            "device": options.device,
        },
    )
    if file.is_file():
        advice = "remove it if --threads and --device are those that everything here was made with"
        before = read_description(file, _Settings, advice)
        for name, value in settings.items():
            if before.get(name) != value:
                raise UserError(
                    f"'{options.artefacts}' was made with --{name} {before.get(name)}, which "
                    f"numbers depend on in their last digits, not with --{name} {value}; expected "
                    "the same, or another folder with --out"
                )
    write_description(file, settings)


def workers_for(
    options: Options,
    do: Do,
    place: Workplace,
    interrupt: Interrupt,
    resources: Mapping[str, Mapping[str, float]] | None = None,
) -> Workers:
    """Return who does the jobs.

    Args:
        options: how many there are, and where.
        do: how a job is done.
        place: where it is done.
        interrupt: who may ask to stop.
        resources: see `RayCluster`.
    """
    if options.ray:
        return RayCluster(do, place, options.ray, resources or {}, options.jobs)
    if options.jobs > 1:
        return Processes(do, place, options.jobs)
    return InProcess(do, place, lambda: interrupt.requested)


def work_off(
    schedule: Schedule,
    workers: Workers,
    place: Workplace,
    interrupt: Interrupt,
    ended: Callable[[], None],
) -> None:
    """Hand out jobs until nothing is left to start, or somebody asks to stop.

    Whoever is at work then comes to a clean end first: its state is saved.

    Args:
        schedule: the jobs; more may come while others are done.
        workers: who does them.
        place: where.
        interrupt: who may ask to stop.
        ended: called after each job.
    """
    try:
        while not schedule.over:
            while not interrupt.requested and workers.free() and (job := schedule.ready()):
                schedule.start(job)
                workers.submit(job)
            if interrupt.requested:
                place.stop_file.touch()
                if not schedule.running:
                    break
            for outcome in workers.finished(LOOK_EVERY):
                _note(outcome, schedule, place, interrupt)
                ended()
    finally:
        place.stop_file.touch()
        workers.close()


def _note(outcome: Outcome, schedule: Schedule, place: Workplace, interrupt: Interrupt) -> None:
    schedule.end(outcome)
    if outcome.status == "interrupted":  # whoever stops one worker means all of them
        interrupt.requested = True
    if outcome.details:
        folder = place.folder_of(outcome.job.stages[0], outcome.job.name)
        make_folder(place.artefacts, folder)
        write_text(folder / "error.txt", outcome.details)
