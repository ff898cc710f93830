"""Which job may start, what is finished, what failed and takes what with it. Trains nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from mstgraph.benchmark.plan.dag import Job, Stages

State = Literal["waiting", "running", "done", "failed"]
Status = Literal["done", "failed", "interrupted"]


@dataclass(frozen=True)
class Outcome:
    """How a job went.

    Attributes:
        job: the job.
        status: what came of it.
        sentence: why it failed.
        details: a traceback, for what is nobody's input.
        seconds: how long it took.
    """

    job: Job
    status: Status
    sentence: str = ""
    details: str = ""
    seconds: float = 0.0


class Schedule:
    """Jobs on their way, such as those of a benchmark.

    Args:
        jobs: those that are left, each after all that it needs.
        finished: artefacts that are there already.
    """

    def __init__(self, jobs: Sequence[Job], finished: Iterable[str]):
        self.waiting: list[Job] = []
        self.running: dict[str, tuple[Job, float]] = {}
        self.finished: set[str] = set()
        self.failed: dict[str, str] = {}
        self.stages = 0
        self._durations: dict[str, list[float]] = {}
        self.add(jobs, finished)

    def add(self, jobs: Sequence[Job], finished: Iterable[str] = ()) -> None:
        """Take up more jobs, and more artefacts that are there already.

        Args:
            jobs: none of their artefacts is `known`; each comes after all that it needs.
            finished: of those that the jobs need.
        """
        new = set(finished) - self.known
        self.finished |= new
        self.waiting += jobs
        self.stages += len(new) + sum(len(job.artefacts) for job in jobs)
        self._fail_those_that_need_it()

    @property
    def known(self) -> set[str]:
        """All artefacts that are there, on their way, or lost."""
        coming = (*self.waiting, *(job for job, _ in self.running.values()))
        return self.finished | {*self.failed, *(name for job in coming for name in job.artefacts)}

    @property
    def over(self) -> bool:
        """Whether nothing runs and nothing can start."""
        return not self.running and self.ready() is None

    def ready(self) -> Job | None:
        """Return the first job whose needs are there, or None."""
        for job in self.waiting:
            if job.needs <= self.finished:
                return job
        return None

    def start(self, job: Job) -> None:
        """Note that a job is under way."""
        self.waiting.remove(job)
        self.running[job.name] = (job, time.monotonic())

    def end(self, outcome: Outcome) -> None:
        """Note how a job went.

        Stages of one job that fails are tried one by one: the others may be sound. What needs a
        stage that failed fails with its sentence; all else goes on. An interrupted job waits.
        """
        job = outcome.job
        del self.running[job.name]
        if outcome.status == "done":
            self.finished.update(job.artefacts)
            self._durations.setdefault(_alike(job), []).append(outcome.seconds)
        elif outcome.status == "interrupted":
            self.waiting.insert(0, job)
        elif len(job.stages) > 1:
            self.waiting[:0] = job.split()
        else:
            self.failed[job.name] = outcome.sentence
            self._fail_those_that_need_it()

    def _fail_those_that_need_it(self) -> None:
        for job in list(self.waiting):  # each comes after all that it needs
            broken = next((need for need in sorted(job.needs) if need in self.failed), None)
            if broken is not None:
                self.failed |= dict.fromkeys(job.artefacts, self.failed[broken])
                self.waiting.remove(job)

    def state(self, cell: Stages) -> State:
        """Return how far a cell is; of what it shares it is as far as the others."""
        own = set(cell.artefacts.values())
        if own <= self.finished:
            return "done"
        if self.error(cell):
            return "failed"
        at_work = {name for job, _ in self.running.values() for name in job.artefacts}
        return "running" if own & at_work else "waiting"

    def error(self, cell: Stages) -> str:
        """Return why a cell failed, "" if it has not."""
        return next((self.failed[a] for a in cell.artefacts.values() if a in self.failed), "")

    def remaining(self, workers: int) -> float | None:
        """Estimate the seconds that are left, from jobs of the same kinds; None before the first.

        Args:
            workers: how many jobs run at a time.
        """
        if not self._durations:
            return None
        now = time.monotonic()
        left = sum(self._expected(job) for job in self.waiting)
        left += sum(max(0.0, self._expected(j) - (now - t)) for j, t in self.running.values())
        return left / max(1, min(workers, len(self.waiting) + len(self.running)))

    def _expected(self, job: Job) -> float:
        alike = self._durations.get(_alike(job))
        return fmean(alike) if alike else fmean(map(fmean, self._durations.values()))


def _alike(job: Job) -> str:
    """Jobs of the same stages of the same student take the same time under another seed."""
    return f"{job.cell.student} {' '.join(job.stages)}"
