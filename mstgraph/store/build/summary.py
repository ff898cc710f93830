"""What the finished records say about each split: statistics, counts of classes and labels."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from mstgraph.store.moments import RunningMoments, SampleMoments, chunks, sample_moments
from mstgraph.store.recipe import Labels
from mstgraph.store.splits import Split
from mstgraph.support.machine.cores import cores

Records = Iterable[tuple[range, np.ndarray]]
Moments = Iterable[tuple[np.ndarray, SampleMoments]]


def collect_statistics(
    moments: Moments, splits: Mapping[str, Split], channels: int
) -> dict[str, RunningMoments]:
    """Return the moments of one modality over the training part of every split, in one pass.

    Args:
        moments: of all samples, some at a time.
        splits: the splits.
        channels: of the modality.
    """
    marks = _training_marks(splits)
    found = {name: RunningMoments(channels) for name in marks}
    for samples, own in moments:
        for name, mark in marks.items():
            found[name].add(own, mark[samples])
    return found


def moments_of_arrays(records: Records, lengths: np.ndarray | None = None) -> Moments:
    """Yield samples, [n] int64, and their moments.

    Args:
        records: of the modality.
        lengths: how many entries of the last axis each sample has, [samples] int, see
            `mstgraph.store.layout.incomplete`; None where all have all of it. What is not there
            counts in nothing.
    """
    with ThreadPoolExecutor(cores(), "mstgraph-moments") as threads:
        for samples, values in records:
            for numbers, length in _of_one_length(samples, values.shape[-1], lengths):
                there = values
                if lengths is not None:
                    there = values[numbers - samples.start][..., :length]
                for rows, moments in sample_moments(there, threads.map):
                    yield numbers[rows], moments


def moments_as_kept(
    records: Records, shape: Sequence[int], lengths: np.ndarray | None = None
) -> Moments:
    """Yield the same from the moments of each sample.

    Args:
        records: samples, and `SampleMoments.packed` of each, [n, 4, channels] float64.
        shape: of a sample.
        lengths: see `moments_of_arrays`.
    """
    for samples, packed in records:
        for numbers, length in _of_one_length(samples, shape[-1], lengths):
            count = math.prod((*shape[1:-1], length))
            for rows in chunks(len(numbers), shape[0] * count):
                own = packed[numbers[rows] - samples.start]
                yield numbers[rows], SampleMoments(count, *own.transpose(1, 0, 2))


def _of_one_length(
    samples: range, longest: int, lengths: np.ndarray | None
) -> Iterator[tuple[np.ndarray, int]]:
    """Yield those of some samples that have as much of a modality, and how much that is."""
    numbers = np.arange(samples.start, samples.stop)
    if lengths is None:
        yield numbers, longest
        return
    own = lengths[samples.start : samples.stop]
    for length in np.unique(own[own > 0]).tolist():
        yield numbers[own == length], length


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
    parts = [ids for split in splits.values() for ids in split.values()]
    length = 1 + max(int(ids[-1]) for ids in parts if len(ids))
    marks = {name: np.zeros(length, bool) for name in splits}
    for name, split in splits.items():
        marks[name][split["train"]] = True
    return marks
