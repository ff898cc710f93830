"""The stages of one run as jobs: those that do not wait for each other are trained side by side."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mstgraph.benchmark.execute.dispatch import Options, work_off, workers_for, workplace
from mstgraph.benchmark.execute.schedule import Schedule
from mstgraph.benchmark.execute.workers import Do
from mstgraph.benchmark.plan.cell import Cell
from mstgraph.benchmark.plan.dag import by_urgency, jobs_of, unfinished
from mstgraph.benchmark.plan.opening import stages_of
from mstgraph.run.execute import Execution
from mstgraph.support.disk.own_folder import SCRATCH
from mstgraph.support.errors import RunError
from mstgraph.support.interrupt import Interrupted


@dataclass(frozen=True)
class SideBySide:
    """Trains a run's stages by workers, each stage a job of its own.

    Stages that would go through the data together here are separate jobs there: each comes to the
    same bits, and waits for nobody.

    Attributes:
        files: the run's gin files.
        bindings: its bindings.
        options: who the workers are; the run's folder, and that of its stages.
        do: how a job is done.
    """

    files: Sequence[Path | str]
    bindings: Sequence[str]
    options: Options
    do: Do

    def __call__(self, execution: Execution) -> None:
        """Finish the stages of a run that is under way.

        Args:
            execution: the run, its folder held.

        Raises:
            Interrupted: on request; the same command continues.
            RunError: stages failed; all that do not need them are finished.
        """
        nodes = execution.experiment.plan.stages
        cell = Cell(
            row=0,
            student=0,
            seed=execution.experiment.plan.graph.seed,
            files=tuple(map(str, self.files)),
            bindings=tuple(self.bindings),
            places={},
        )
        stages = stages_of(cell, execution.experiment)
        reused = nodes.keys() - execution.unfinished(list(nodes.values()))
        there = {stages.artefacts[name] for name in reused}
        jobs = [piece for job in unfinished(jobs_of([stages]), there) for piece in job.split()]
        schedule = Schedule(by_urgency(jobs), there)
        told: set[str] = set()

        def arrived() -> None:
            """Tell of what is new, in the order of the plan."""
            for name, artefact in stages.artefacts.items():
                if artefact in schedule.finished and name not in told:
                    told.add(name)
                    execution.arrived(nodes[name], name in reused)

        arrived()
        if jobs:
            place = workplace(self.options, by_name=True)
            workers = workers_for(self.options, self.do, place, execution.interrupt)
            work_off(schedule, workers, place, execution.interrupt, arrived)
        left = [name for name in nodes if name not in told]
        if left and execution.interrupt.requested:
            raise Interrupted(left[0])
        if schedule.failed:
            raise RunError("; ".join(dict.fromkeys(schedule.failed.values())))
        shutil.rmtree(execution.folder.path / SCRATCH, ignore_errors=True)
