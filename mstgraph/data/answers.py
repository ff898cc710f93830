"""A store with answers beside it: files of logits are read as further modalities."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mstgraph.store.layout import Column
from mstgraph.store.moments import Statistics
from mstgraph.store.reader import Indices, Store
from mstgraph.store.recipe import Modality

DTYPE = "float32"


class StoreWithAnswers(Store):
    """A store and, for some names beyond its modalities, a row of answers for each sample.

    Args:
        path: the store's directory.
        answers: name → [samples, num_outputs, ...] of any number type, as a rule mapped from disk.
    """

    def __init__(self, path: Path | str, answers: Mapping[str, np.ndarray]) -> None:
        super().__init__(path)
        self._answers = answers
        self.modalities = {**self.modalities, **answered(answers)}
        given = {
            name: Column(name, DTYPE, rows.shape[1:], len(rows), len(rows))
            for name, rows in answers.items()
        }
        self.columns = {**self.columns, **given}

    def __reduce__(self) -> tuple[type[Store], tuple[Path, Mapping[str, np.ndarray]]]:  # type: ignore[override]
        return StoreWithAnswers, (self.path, self._answers)

    def read(self, modality: str, indices: Indices, out: np.ndarray | None = None) -> np.ndarray:
        """Return the samples ``indices`` of a modality, or their answers; see `Store.read`."""
        if modality not in self._answers:
            return super().read(modality, indices, out)
        rows = self._answers[modality][self._checked(indices)].astype(DTYPE)
        if out is None:
            return rows
        out[:] = rows
        return out

    def will_need(self, column: str, indices: Indices) -> None:
        """Have pages fetched of what lies in the store; see `Store.will_need`."""
        if column not in self._answers:
            super().will_need(column, indices)

    def statistics(self, modality: str, split: str) -> Statistics:
        """Return the statistics of a modality; answers are never normalised, and have none."""
        if modality not in self._answers:
            return super().statistics(modality, split)
        zero, one = np.zeros(1), np.ones(1)
        return Statistics(zero, one, zero, one)


def answered(answers: Mapping[str, np.ndarray]) -> dict[str, Modality]:
    """Return the modalities that answers are."""
    return {name: Modality(name, DTYPE, rows.shape[1:]) for name, rows in answers.items()}
