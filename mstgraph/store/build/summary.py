"""What the finished records say about each split: statistics, counts of classes and labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from mstgraph.store.moments import RunningMoments, sample_moments
from mstgraph.store.recipe import Labels
from mstgraph.store.splits import Split
from mstgraph.support.machine.cores import cores

Records = Iterable[tuple[range, np.ndarray]]


def collect_statistics(
    records: Records, splits: Mapping[str, Split], lengths: np.ndarray | None = None
) -> dict[str, RunningMoments]:
    """Return the moments of one modality over the training part of every split, in one pass.

    Args:
        records: of the modality.
        splits: the splits.
        lengths: how many entries of the last axis each sample has, [samples] int, see
            `mstgraph.store.layout.incomplete`; None where all have all of it. What is not there
            counts in nothing.
    """
    found: dict[str, RunningMoments] = {}
    marks = _training_marks(splits)
    with ThreadPoolExecutor(cores(), "mstgraph-moments") as threads:
        for samples, values in records:
            for name in marks:
                found.setdefault(name, RunningMoments(values.shape[1]))
            for own, there in _there(values, None if lengths is None else lengths[samples]):
                for rows, moments in sample_moments(there, threads.map):
                    for name, mark in marks.items():
                        found[name].add(moments, mark[samples.start : samples.stop][own][rows])
    return found


def _there(
    values: np.ndarray, lengths: np.ndarray | None
) -> Iterator[tuple[slice | np.ndarray, np.ndarray]]:
    """Yield rows of one length, and what is there of them: [rows, ..., length]."""
    if lengths is None:
        yield slice(None), values
        return
    for length in np.unique(lengths[lengths > 0]).tolist():
        rows = np.flatnonzero(lengths == length)
        yield rows, values[rows][..., :length]


def class_counts(
    records: Records, labels: Labels, splits: Mapping[str, Split]
) -> dict[str, np.ndarray]:
    """Return, by split, how many training labels (pixels) each class has: int64 [classes].

    Numbers are of no class: {}.
    """
    if labels.task == "regression":
        return {}
    marks = _training_marks(splits)
    counts = {name: np.zeros(len(labels.classes), np.int64) for name in splits}
    for samples, values in records:
        for name, mark in marks.items():
            chosen = values[mark[samples.start : samples.stop]]
            if labels.task == "multilabel":
                counts[name] += (chosen == 1).sum(axis=0)
                continue
            valid = chosen[(chosen >= 0) & (chosen < len(labels.classes))]
            counts[name] += np.bincount(valid, minlength=len(labels.classes))
    return counts


def count_unlabelled(
    records: Records, labels: Labels, splits: Mapping[str, Split]
) -> dict[str, Any]:
    """Return how many samples have no label, of no pixel of theirs.

    Returns:
        ``{"samples": …, "pixels": share of unknown ones, "splits": {name: {part: …}}}``, pixels
        for maps alone; {} of maps and vectors of which no place is unknown.
    """
    if labels.shape and labels.unknown is None:
        return {}
    without, pixels, unknown = [], 0, 0
    for _, values in records:
        flat = values.reshape(len(values), -1)
        known = labels.known(flat)
        without.append(~known.any(axis=1))
        pixels, unknown = pixels + flat.size, unknown + int((flat == labels.unknown).sum())
    marks = np.concatenate(without)
    return {
        "samples": int(marks.sum()),
        **({"pixels": unknown / pixels} if labels.maps else {}),
        "splits": {
            name: {part: int(marks[ids].sum()) for part, ids in split.items()}
            for name, split in splits.items()
        },
    }


def _training_marks(splits: Mapping[str, Split]) -> dict[str, np.ndarray]:
    length = 1 + max(int(ids[-1]) for split in splits.values() for ids in split.values())
    marks = {name: np.zeros(length, bool) for name in splits}
    for name, split in splits.items():
        marks[name][split["train"]] = True
    return marks
