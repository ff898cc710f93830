"""The class of each sample, as far as somebody knows it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mstgraph.data.labelled import UNKNOWN
from mstgraph.store.recipe import Labels

PIECE = 256  # maps of labels that are looked at together


def classes_of(
    ids: np.ndarray, labels: Labels, read: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Return the class of samples, `UNKNOWN` of those without one: [samples] int64.

    Images with a label per pixel are all of one class, if a pixel of theirs is known.

    Args:
        ids: sample numbers, [samples].
        labels: what is to be predicted.
        read: returns the labels of some samples as stored.
    """
    if not labels.shape:
        values = read(ids)
        return np.where(_known(values, labels), values, UNKNOWN)
    if labels.unknown is None:
        return np.zeros(len(ids), np.int64)
    pieces = [ids[first : first + PIECE] for first in range(0, len(ids), PIECE)]
    known = [_known(read(piece), labels).any(axis=(1, 2)) for piece in pieces]
    return np.where(np.concatenate(known), 0, UNKNOWN)


def _known(values: np.ndarray, labels: Labels) -> np.ndarray:
    """Return which labels as stored are those of classes that count."""
    known = (values >= 0) & (values < len(labels.classes))
    return known if labels.ignored is None else known & (values != labels.ignored)
