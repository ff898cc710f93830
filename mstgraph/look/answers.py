"""What test samples were answered, class by class or number by number, from `samples.npz` alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from mstgraph.look.records import Records
from mstgraph.tasks.multilabel import BLOCKS, MultiLabel
from mstgraph.tasks.ranking import average_precision
from mstgraph.tasks.regression import Regression

SUMS = 11  # of a number in a contribution of `Regression`: known first, true fourth, said sixth


@dataclass(frozen=True)
class EachClass:
    """Whether each class applies by itself, and what was said: [samples, classes] each.

    Attributes:
        said: bool.
        applies: bool.
        known: whether it is known that the class applies or does not, bool.
        logits: float.
    """

    said: np.ndarray
    applies: np.ndarray
    known: np.ndarray
    logits: np.ndarray

    def average_precision(self) -> np.ndarray:
        """Return `mstgraph.tasks.ranking.average_precision` of each class, [classes] float.

        nan of a class that applies to no sample.
        """
        found = []
        for place in range(self.said.shape[1]):
            rows = torch.from_numpy(self.known[:, place])
            scores, applies = (
                torch.from_numpy(values[:, place])[rows] for values in (self.logits, self.applies)
            )
            once = torch.ones(1, len(scores), dtype=torch.float64)
            found.append(float(average_precision(scores, applies, once)))
        return np.array(found)


def each_class(records: Records, place: tuple[str, str]) -> EachClass | None:
    """Return what a response of several labels says of each class; None of another task."""
    blocks = _blocks(records, place, MultiLabel.kind, BLOCKS, beside=2)
    if blocks is None:
        return None
    _, said, applies, known, logits = blocks
    return EachClass(said > 0, applies > 0, known > 0, logits)


@dataclass(frozen=True)
class Numbers:
    """True and predicted numbers, [samples, numbers] float each; nan where the truth is unknown."""

    true: np.ndarray
    predicted: np.ndarray


def numbers(records: Records, place: tuple[str, str]) -> Numbers | None:
    """Return what a response of numbers says; None of another task."""
    blocks = _blocks(records, place, Regression.kind, SUMS)
    if blocks is None:
        return None
    known, true, predicted = blocks[0] > 0, blocks[3], blocks[5]
    return Numbers(*(np.where(known, values, np.nan) for values in (true, predicted)))


def _blocks(
    records: Records, place: tuple[str, str], kind: str, count: int, beside: int = 0
) -> list[np.ndarray] | None:
    """Split contributions into so many blocks as wide as a label; None if they are no such."""
    task, found = records.plan["task"], records.contributions(place)
    width = count * int(task["outputs"])
    if task["kind"] != kind or found.ndim != 2 or found.shape[1] != width + beside:
        return None
    return np.split(found[:, :width], count, axis=1)
