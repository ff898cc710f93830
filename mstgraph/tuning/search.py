"""What a search is: an experiment, the settings that are tuned, the seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mstgraph.benchmark.plan.cell import Cell
from mstgraph.tuning.space import Setting


@dataclass(frozen=True)
class Search:
    """A search for settings.

    Attributes:
        files: gin files, later ones win.
        given: bindings that win over them, the same in every trial.
        settings: what is tuned.
        seeds: a trial is run once with each; those after the first wait until it has survived.
        trials: how many there are in all.
        prune: whether hopeless trials are given up.
    """

    files: tuple[str, ...]
    given: tuple[str, ...]
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]
    trials: int
    prune: bool = True

    @property
    def name(self) -> str:
        """From the gin files' names, for the folder."""
        return "-".join(Path(file).stem for file in self.files)

    def cell(self, number: int, seed: int, values: Sequence[tuple[Setting, str]]) -> Cell:
        """Return a trial as a cell of a plan, whose bindings stand where ``-s`` does.

        Args:
            number: of the trial.
            seed: the seed.
            values: what each setting is.
        """
        own = {setting.binding(value): setting.place for setting, value in values}
        return Cell(
            row=number,
            student=0,
            seed=seed,
            files=self.files,
            bindings=(*self.given, *own, "graph.alone = False", f"graph.seed = {seed}"),
            places=own,
        )
