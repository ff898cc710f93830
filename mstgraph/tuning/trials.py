"""Trials on their way: asked of Optuna, put into the one plan, told how they ended."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mstgraph.benchmark.execute.schedule import Schedule
from mstgraph.benchmark.plan.dag import OpenCell, by_urgency, jobs_of, unfinished
from mstgraph.benchmark.plan.opening import describe_cell, open_cell
from mstgraph.benchmark.report.outputs import read_artefact
from mstgraph.support.errors import UserError
from mstgraph.support.files import NO_SPACE
from mstgraph.support.interrupt import Interrupt
from mstgraph.tasks.task import Metric
from mstgraph.tuning.search import Search
from mstgraph.tuning.space import Setting
from mstgraph.tuning.study import STAGES, VALUES, Study, combinations, values_of


@dataclass
class Trial:
    """A trial that is under way.

    Attributes:
        number: its number.
        values: what each setting is.
        cells: its cells so far, seed by seed.
    """

    number: int
    values: list[tuple[Setting, str]]
    cells: list[OpenCell] = field(default_factory=list)


class Trials:
    """Keeps as many trials under way as there are workers.

    Args:
        search: what is searched.
        study: where trials stand.
        schedule: the jobs of all trials.
        artefacts: folder of what stages left.
        metric: of the student on validation, by which trials are compared.
        count: how many are under way at a time.
        interrupt: who may ask to stop.
        ended: is told of each trial that has ended, by its number.
    """

    def __init__(
        self,
        search: Search,
        study: Study,
        schedule: Schedule,
        artefacts: Path,
        metric: Metric,
        count: int,
        interrupt: Interrupt,
        ended: Callable[[int], None],
    ):
        self.search, self.study, self.schedule = search, study, schedule
        self.artefacts, self.metric, self.count = artefacts, metric, count
        self.interrupt, self.ended = interrupt, ended
        self.under_way: dict[int, Trial] = {}
        repeated = study.begun - len(study.tried(search.settings))  # or stopped before it had any
        self.total = int(min(search.trials, combinations(search.settings) + repeated))

    def begin(self) -> None:
        """Go on with what an earlier command began, and begin as many as may be under way."""
        for found in self.study.under_way:
            if len(found.params) < len(self.search.settings):  # a kill came between
                self.study.give_up(found.number, "stopped before it had its values")
            else:
                self._start(found)
        self._fill()

    def update(self) -> None:
        """Take note of jobs that have ended, and begin others in their place."""
        for trial in list(self.under_way.values()):
            self._look_at(trial)
        self._fill()

    def _fill(self) -> None:
        while len(self.under_way) < self.count and self.study.begun < self.total:
            if self.interrupt.requested:
                return
            self._start(self.study.ask(self.search.settings, self.search.seeds[0]))

    def _start(self, found: Any) -> None:
        texts = values_of(found, self.search.settings)
        values = [(setting, texts[setting.name]) for setting in self.search.settings]
        trial = self.under_way[found.number] = Trial(found.number, values)
        self._open(trial, self.search.seeds[:1])
        self._look_at(trial)  # all of it may be there already

    def _open(self, trial: Trial, seeds: tuple[int, ...]) -> None:
        """Put the stages of a trial's seeds into the plan, those that no other trial has put."""
        try:
            for seed in seeds:
                cell = self.search.cell(trial.number, seed, trial.values)
                trial.cells.append(describe_cell(cell, open_cell(cell)))
        except UserError as error:
            self._give_up(trial, str(error))
            return
        except Exception as error:  # a network's or a method's own; other trials go on
            first = (str(error).splitlines() or ["no message"])[0]
            self._give_up(trial, f"{type(error).__name__}: {first}")
            return
        names = {name for cell in trial.cells for name in cell.artefacts.values()}
        there = {name for name in names if read_artefact(self.artefacts, name)}
        jobs = jobs_of(trial.cells, self.schedule.known)
        self.schedule.add(by_urgency(unfinished(jobs, there)), there)
        self.study.note(trial.number, STAGES, sorted(names))

    def _look_at(self, trial: Trial) -> None:
        """End a trial whose cells are done, or one of them has failed; a full disk ends all."""
        if trial.number not in self.under_way:
            return
        if why := next(filter(None, map(self.schedule.error, trial.cells)), ""):
            if why.startswith(
                NO_SPACE
            ):  # no fault of the trial's, which waits for the same command
                raise UserError(why)
            self._give_up(trial, why)
            return
        if any(self.schedule.state(cell) != "done" for cell in trial.cells):
            return
        values = [self._value(cell) for cell in trial.cells]
        if not all(map(math.isfinite, values)):
            self._give_up(trial, f"{self.metric.title} is undefined on validation")
        elif rest := self.search.seeds[len(values) :]:
            self._open(trial, rest)
            self._look_at(trial)
        else:
            self.study.note(trial.number, VALUES, values)
            self.study.tell(trial.number, math.fsum(values) / len(values))
            self._end(trial)

    def _value(self, cell: OpenCell) -> float:
        artefact = read_artefact(self.artefacts, cell.result)
        assert artefact is not None
        value = artefact["validation"]["metrics"][cell.target][self.metric.name]
        return float(value)

    def _give_up(self, trial: Trial, why: str) -> None:
        self.study.give_up(trial.number, why)
        self._end(trial)

    def _end(self, trial: Trial) -> None:
        del self.under_way[trial.number]
        self.ended(trial.number)
