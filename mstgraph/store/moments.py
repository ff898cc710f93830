"""Statistics for normalisation: mean, deviation and range of each channel over training samples.

Sums are taken in float64, per sample first, and merged by the pairwise update of Chan, Golub and
LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979): no
difference of large sums is ever formed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

CHUNK_VALUES = 1 << 20  # values that are held as float64 at once


@dataclass(frozen=True)
class Statistics:
    """Statistics of one modality over a training split, in physical units; float64 [channels].

    A channel is an entry of the first axis, for vectors a single feature. ``std`` is that of the
    population and is zero where a channel is constant.
    """

    mean: np.ndarray
    std: np.ndarray
    minimum: np.ndarray
    maximum: np.ndarray

    def packed(self) -> np.ndarray:
        """Return the four rows as they are stored: float64 [4, channels]."""
        return np.stack([self.mean, self.std, self.minimum, self.maximum]).astype("<f8")

    @classmethod
    def unpacked(cls, rows: np.ndarray) -> Statistics:
        """Return statistics from rows that `packed` made."""
        return cls(*np.array(rows, dtype=np.float64))


@dataclass
class SampleMoments:
    """Moments of a few samples, each float64 [samples, channels], of ``count`` values each."""

    count: int
    mean: np.ndarray
    squares: np.ndarray  # sum of squared differences from the sample's own mean
    minimum: np.ndarray
    maximum: np.ndarray

    def packed(self) -> np.ndarray:
        """Return all but the count, [samples, 4, channels] float64."""
        return np.stack([self.mean, self.squares, self.minimum, self.maximum], axis=1)


def merged(parts: Iterable[tuple[int, Statistics]], channels: int) -> Statistics:
    """Return the statistics of several sets of samples together; of nothing they are zero.

    Args:
        parts: how many values of a channel each set has, and its statistics.
        channels: of the modality.
    """
    running = RunningMoments(channels)
    for count, own in parts:
        if count:
            rows = (own.mean, np.square(own.std) * count, own.minimum, own.maximum)
            moments = SampleMoments(count, *(row[None] for row in rows))
            running.add(moments, np.ones(1, bool))
    return running.statistics(1.0)


def sample_moments(
    samples: np.ndarray, mapped: Callable[..., Iterable[SampleMoments]]
) -> Iterator[tuple[slice, SampleMoments]]:
    """Yield the moments of ``samples`` [samples, channels, ...] in chunks that bound the memory.

    Args:
        samples: as they are stored.
        mapped: `map`; that of a pool of threads computes chunks side by side, and nothing else
            changes.
    """
    pieces = chunks(len(samples), int(np.prod(samples.shape[1:])))
    yield from zip(pieces, mapped(moments_of, (samples[rows] for rows in pieces)), strict=True)


def chunks(count: int, size: int) -> list[slice]:
    """Return how so many samples of so many values each are taken together."""
    step = max(1, CHUNK_VALUES // size)
    return [slice(first, min(first + step, count)) for first in range(0, count, step)]


def moments_of(samples: np.ndarray) -> SampleMoments:
    """Return the moments of samples, [samples, channels, ...]."""
    values = samples.astype(np.float64).reshape(*samples.shape[:2], -1)
    mean = values.mean(axis=2)
    minimum, maximum = values.min(axis=2), values.max(axis=2)
    values -= mean[..., None]
    np.square(values, out=values)
    return SampleMoments(values.shape[2], mean, values.sum(axis=2), minimum, maximum)


class RunningMoments:
    """Moments of a growing set of samples, per channel."""

    def __init__(self, channels: int) -> None:
        self._count = 0
        self._mean = np.zeros(channels)
        self._squares = np.zeros(channels)
        self._minimum = np.full(channels, np.inf)
        self._maximum = np.full(channels, -np.inf)

    def add(self, moments: SampleMoments, chosen: np.ndarray) -> None:
        """Add the samples that ``chosen`` (bool [samples]) marks."""
        samples = int(chosen.sum())
        if not samples:
            return
        means = moments.mean[chosen]
        mean = means.mean(axis=0)
        squares = moments.squares[chosen].sum(axis=0)
        squares += moments.count * np.square(means - mean).sum(axis=0)
        self._merge(samples * moments.count, mean, squares)
        np.minimum(self._minimum, moments.minimum[chosen].min(axis=0), out=self._minimum)
        np.maximum(self._maximum, moments.maximum[chosen].max(axis=0), out=self._maximum)

    def _merge(self, count: int, mean: np.ndarray, squares: np.ndarray) -> None:
        total = self._count + count
        difference = mean - self._mean
        self._mean += difference * (count / total)
        self._squares += squares + np.square(difference) * (self._count * count / total)
        self._count = total

    def statistics(self, scale: float) -> Statistics:
        """Return the statistics of what was added, times ``scale``; of nothing they are zero."""
        if not self._count:
            return Statistics(*(np.zeros_like(self._mean) for _ in range(4)))
        return Statistics(
            self._mean * scale,
            np.sqrt(self._squares / self._count) * scale,
            self._minimum * scale,
            self._maximum * scale,
        )
