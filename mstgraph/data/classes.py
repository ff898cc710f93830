"""The class of each sample, as far as somebody knows it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mstgraph.data.labelled import UNKNOWN
from mstgraph.store.recipe import Labels

PIECE = 256  # labels of more than one number that are looked at together


def classes_of(
    ids: np.ndarray, labels: Labels, read: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return the class of samples, `UNKNOWN` of those without one: [samples] int64.

    Images with a label per pixel are all of one class, if a pixel of theirs is known; so are
    samples whose label is a vector, if a place of it is.

    Args:
        ids: sample numbers, [samples].
        labels: what is to be predicted.
        read: returns the labels of some samples as stored.
    """
    if not labels.shape:
        values = read(ids)
        return np.where(labels.known(values), values, UNKNOWN)
    if labels.unknown is None:
        return np.zeros(len(ids), np.int64)
    pieces = [ids[first : first + PIECE] for first in range(0, len(ids), PIECE)]
    known = [labels.known(read(piece)).reshape(len(piece), -1).any(axis=1) for piece in pieces]
    return np.where(np.concatenate(known), 0, UNKNOWN)
