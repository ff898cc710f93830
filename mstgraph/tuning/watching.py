"""A job of a trial, wherever it is done: as any other, but its student is watched, and untested."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mstgraph.benchmark.execute.schedule import Outcome
from mstgraph.benchmark.execute.told import Told, job_label, say
from mstgraph.benchmark.execute.workplace import Workplace
from mstgraph.benchmark.plan.dag import Job
from mstgraph.derive.experiment import Experiment
from mstgraph.report.progress import Lines
from mstgraph.run.artefacts.checkpoint import CHECKPOINT, Checkpoints
from mstgraph.run.reporter import Reporter
from mstgraph.stages.stage import StageNode
from mstgraph.support.interrupt import Interrupt
from mstgraph.tuning.study import PRUNED, Study

WARMUP = 0.25  # share of a stage's epochs before its trial may be given up


DoTold = Callable[[Job, Workplace, Callable[[], bool], bool, Told], Outcome]


@dataclass(frozen=True)
class DoTrial:
    """How a job of a trial is done; plain data, so that it can travel.

    Attributes:
        do: how a job is done by whoever tells of it: `mstgraph.benchmark.execute.work.do`.
        journal: where the trials stand; None watches nobody.
        seed: the one whose student is watched.
    """

    do: DoTold
    journal: Path | None
    seed: int

    def __call__(
        self,
        job: Job,
        place: Workplace,
        lost: Callable[[], bool] = lambda: False,
        takes_signals: bool = True,
    ) -> Outcome:
        """Do the job; a student that is given up is a job that failed."""
        watched: list[Watched] = []

        def told(
            job: Job, place: Workplace, experiment: Experiment, interrupt: Interrupt
        ) -> Reporter:
            watched.append(Watched(self, job, place, experiment, interrupt))
            return watched[0]

        outcome = self.do(job, place, lost, takes_signals, told)
        if outcome.status != "interrupted" or not (watched and watched[0].given_up):
            return outcome
        Checkpoints(place.folder_of(job.stages[0], job.name) / CHECKPOINT).remove()
        return replace(outcome, status="failed", sentence=watched[0].given_up)


class Watched(Lines):
    """Says how far a job is, and stops the student of a trial that is hopeless.

    Only the last stage of a trial is watched: what stands before it may serve other trials.

    Args:
        how: where the trials stand, and which seed is watched.
        job: the job.
        place: where it is done.
        experiment: the trial's.
        interrupt: stops the job.
    """

    def __init__(
        self,
        how: DoTrial,
        job: Job,
        place: Workplace,
        experiment: Experiment,
        interrupt: Interrupt,
    ):
        super().__init__(say, place.log_every, job_label(job))
        plan, metric = experiment.plan, experiment.task.primary
        self.given_up = ""
        self._target, self._metric = plan.graph.targets[0], metric
        self._number, self._interrupt = job.cell.row, interrupt
        last = plan.stages[plan.last[self._target]]
        self._study: Study | None = None
        if how.journal and job.stages == (last.name,) and job.cell.seed == how.seed:
            warmup = math.ceil(WARMUP * last.settings.epochs)
            self._study = Study(how.journal, metric.higher_is_better, warmup)

    def epoch_done(self, node: StageNode, record: Mapping[str, Any]) -> None:
        """Compare the student's metric on validation with that of other trials."""
        epoch = record["epoch"]
        if self._study is None or epoch >= node.settings.epochs:
            return
        value = record["validation"]["metrics"][self._target][self._metric.name]
        if self._study.is_hopeless(self._number, epoch, value):
            self.given_up = f"{PRUNED}{epoch} of {node.settings.epochs}"
            self._interrupt.requested = True
