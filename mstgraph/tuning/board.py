"""What a person sees while trials run: what is searched, and a line for each that has ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from rich.console import Console

from mstgraph.benchmark.plan.dag import OpenCell
from mstgraph.tuning.search import Search
from mstgraph.tuning.study import WHY, Study, combinations, values_of


class Board:
    """Tells of trials.

    Args:
        console: where to.
        search: what is searched.
        study: where trials stand.
        base: the experiment as its gin files have it.
    """

    def __init__(self, console: Console, search: Search, study: Study, base: OpenCell):
        self.console, self.search, self.study, self.base = console, search, study, base
        self.total = search.trials

    def begin(
        self, total: int, changed: Mapping[str, Collection[str]], notice: Callable[[str], None]
    ) -> None:
        """Say what will be done.

        Args:
            total: how many trials there are.
            changed: setting → the stages that it changes.
            notice: is told what the user should know.
        """
        self.total, size = total, combinations(self.search.settings)
        if size <= self.search.trials:
            notice(f"there are {size:.0f} combinations of values: each is tried once")
        label = f" [{self.base.synthetic}]" if self.base.synthetic else ""
        seeds = f"seed {', '.join(map(str, self.search.seeds))}"
        self._say(f"{total} trials of {self.base.target}{label}, {seeds}")
        for setting in self.search.settings:
            stages = [name for name in self.base.artefacts if name in changed[setting.name]]
            count = f"{len(stages)} of {len(self.base.artefacts)} stages"
            self._say(f"  {setting.written}: changes {count}: {', '.join(stages)}")

    def ended(self, number: int) -> None:
        """Say how a trial ended."""
        trial = self.study.trial(number)
        chosen = values_of(trial, self.search.settings).items()
        settings = " · ".join(f"{name} = {value}" for name, value in chosen)
        came_to = trial.user_attrs.get(WHY) or self._value(trial.value)
        self._say(f"[{self.study.ended}/{self.total}] trial {number} · {settings}: {came_to}")

    def _value(self, value: float) -> str:
        metric = self.base.primary
        values = map(self.study.value, self.study.trials)
        known = [metric.merit(other) for other in values if other is not None]
        first = known.count(metric.merit(value)) == 1
        best = ", the best so far" if first and metric.merit(value) == max(known) else ""
        return f"{metric.title} {value:.4f} on validation{best}"

    def _say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
