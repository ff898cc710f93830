"""How often test samples hit each class, have it as their label, and are taken for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

COLUMNS = 3  # of a class in what a sample contributes, see `mstgraph.tasks.confusion.class_counts`


@dataclass(frozen=True)
class Counts:
    """How often each class is hit, labelled and predicted, [samples, classes] each."""

    hit: np.ndarray
    labelled: np.ndarray
    predicted: np.ndarray

    @property
    def single(self) -> bool:
        """Whether each sample that is answered has one label and one prediction."""
        labelled, predicted = self.labelled.sum(1), self.predicted.sum(1)
        return bool(np.array_equal(labelled, predicted) and (labelled <= 1).all())


def counts_in(contributions: np.ndarray) -> Counts | None:
    """Return the counts of what each sample contributes; None of what counts no classes.

    Args:
        contributions: [samples, 3 × classes] int; anything else counts none.
    """
    whole = np.issubdtype(contributions.dtype, np.integer)
    if not whole or contributions.ndim != 2 or contributions.shape[1] % COLUMNS:
        return None
    return Counts(*(p.astype(np.int64) for p in np.split(contributions, COLUMNS, axis=1)))


def confusion(found: Counts) -> np.ndarray:
    """Return how often class i (row) was taken for class j, [classes, classes] int.

    Args:
        found: of single labels.
    """
    classes = found.hit.shape[1]
    _, labels = found.labelled.nonzero()  # one of each sample that is answered, as of the others
    _, said = found.predicted.nonzero()
    return np.bincount(labels * classes + said, minlength=classes**2).reshape(classes, classes)
