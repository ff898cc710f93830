"""Which training samples keep their label, where an experiment hides some.

A sample without a label takes part in no task loss, but in distillation.
"""

from __future__ import annotations

import numpy as np

UNKNOWN = -1  # the label of a sample or pixel whose class nobody knows, on the device


def keep_labels(classes: np.ndarray, labelled: float | int, seed: int) -> np.ndarray:
    """Choose the samples that keep their label, [samples] bool.

    Each class keeps the same share, and fewer labels are always some of more: under one seed the
    samples of 10 % lie within those of 25 %.

    Args:
        classes: class of each sample, [samples] int64; one below zero is unknown and stays so.
        labelled: a share of the samples whose label is known (float, up to 1.0), or their number.
        seed: which samples.
    """
    order = np.random.default_rng(seed).permutation(len(classes))
    known = order[classes[order] >= 0]
    places = np.empty(len(known))
    for name in np.unique(classes[known]):
        own = classes[known] == name
        places[own] = (np.arange(own.sum()) + 0.5) / own.sum()
    kept = known[np.argsort(places, kind="stable")[: kept_count(len(known), labelled)]]
    mask = np.zeros(len(classes), bool)
    mask[kept] = True
    return mask


def kept_count(known: int, labelled: float | int) -> int:
    """Return how many of so many known labels are kept."""
    return round(labelled * known) if isinstance(labelled, float) else min(labelled, known)
