"""Intervals of gains over seeds and test samples, from what stages left of their samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from torch import Tensor

from mstgraph.benchmark.plan.dag import OpenCell
from mstgraph.benchmark.results.results import GainInterval
from mstgraph.certainty.bootstrap import draws, over_seeds, percentile_interval, resampled
from mstgraph.certainty.samples import SAMPLES, load_samples


def gain_intervals(
    cells: Sequence[OpenCell], students: Sequence[str], artefacts: Path
) -> tuple[GainInterval, ...]:
    """Return the 95 % interval of the mean gain of each row, student and metric.

    A draw takes seeds, and of each the test samples of its split; a cell and its control are
    measured on the same ones.

    Args:
        cells: those that are finished.
        students: names of the columns.
        artefacts: folder of what stages left.
    """
    differences: dict[tuple[int, int, str], list[np.ndarray]] = {}
    drawn = _Drawn(artefacts)
    for cell in cells:
        one, other = drawn.metrics(cell, cell.result), drawn.metrics(cell, cell.control)
        for name in one.keys() & other.keys():
            place = (cell.cell.row, cell.cell.student, name)
            differences.setdefault(place, []).append((one[name] - other[name]).numpy())
    found = {place: percentile_interval(over_seeds(d)) for place, d in differences.items()}
    return tuple(
        GainInterval(row, students[student], metric, *interval)
        for (row, student, metric), interval in sorted(found.items())
        if interval is not None
    )


class _Drawn:
    """Metrics of artefacts under draws of test samples; cells share controls, and are few."""

    def __init__(self, artefacts: Path):
        self.artefacts = artefacts
        self._known: dict[str, Mapping[str, Tensor]] = {}

    def metrics(self, cell: OpenCell, artefact: str) -> Mapping[str, Tensor]:
        """Return name → [resamples]; nothing where samples are not known one by one."""
        if artefact not in self._known:
            self._known[artefact] = self._measured(cell, artefact) if artefact else {}
        return self._known[artefact]

    def _measured(self, cell: OpenCell, artefact: str) -> Mapping[str, Tensor]:
        contributions = load_samples(self.artefacts / artefact / SAMPLES).get(cell.target)
        if contributions is None:
            return {}
        # The seed's own draws: networks of one split are drawn alike, splits are not.
        drawn = _draws(len(contributions), cell.cell.seed)
        return resampled(drawn, contributions, cell.task.metrics_of, cell.task.ranked)


@lru_cache(maxsize=1)  # cells come seed by seed
def _draws(samples: int, seed: int) -> np.ndarray:
    return draws(samples, seed=seed)
