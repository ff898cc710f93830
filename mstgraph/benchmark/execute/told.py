"""Who is told how a job proceeds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mstgraph.benchmark.execute.workplace import Workplace
from mstgraph.benchmark.plan.dag import Job
from mstgraph.derive.experiment import Experiment
from mstgraph.report.progress import Lines
from mstgraph.run.reporter import Reporter
from mstgraph.support.interrupt import Interrupt

Told = Callable[[Job, Workplace, Experiment, Interrupt], Reporter]
"""From a job, where it is done, its experiment and who may stop it to who is told of it."""


def lines(job: Job, place: Workplace, experiment: Experiment, interrupt: Interrupt) -> Reporter:
    """Return a reporter that says now and then in a line how far a job is."""
    return Lines(say, place.log_every, job_label(job))


def job_label(job: Job) -> str:
    """Return what a line about a job begins with."""
    files = " ".join(Path(file).stem for file in job.cell.files)
    return f"{files} seed {job.cell.seed} · "


def say(line: str) -> None:
    """Print a line of a worker's."""
    print(line, flush=True)
