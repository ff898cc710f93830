"""Percentile intervals from resampled test samples, and from resampled seeds on top of them.

Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13. Networks that saw the
same test samples are resampled with the same draws, so that what is hard for both cancels out. A
metric is a function of totals over samples (`mstgraph.tasks.task.Task.metrics_of`), which a matrix
product gives for all draws at once, or of the samples' ranks (`mstgraph.tasks.task.Task.ranked`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

RESAMPLES = 2000
LEVEL = 0.95
Metrics = Callable[[Tensor], Mapping[str, Tensor]]
Ranked = Callable[[Tensor, Tensor], Mapping[str, Tensor]]
Interval = tuple[float, float]


def draws(samples: int, resamples: int = RESAMPLES, seed: int = 0) -> np.ndarray:
    """Return how often each sample is drawn, [resamples, samples] float64; rows sum to samples."""
    generator = np.random.default_rng(seed)
    counts = np.empty((resamples, samples))
    for row in counts:  # one by one they stay in the processor's cache
        row[:] = np.bincount(generator.integers(samples, size=samples), minlength=samples)
    return counts


def resampled(
    drawn: np.ndarray, contributions: np.ndarray, metrics: Metrics, ranked: Ranked | None = None
) -> dict[str, Tensor]:
    """Return name → [resamples] float64, each metric under every draw.

    Args:
        drawn: [resamples, samples], see `draws`.
        contributions: [samples, statistics].
        metrics: computes them from totals, [resamples, statistics].
        ranked: computes those that no totals give from draws and contributions.
    """
    from scipy import sparse  # type: ignore[import-untyped, unused-ignore]

    # Of a sample's classes few occur in it: a sparse product takes a hundredth of a dense one.
    totals = sparse.csr_array(contributions.T.astype(float)) @ drawn.T
    found = dict(metrics(torch.from_numpy(np.ascontiguousarray(totals.T))))
    if ranked is None:
        return found
    return found | dict(ranked(torch.from_numpy(drawn), torch.from_numpy(contributions).double()))


def paired_differences(
    one: np.ndarray,
    other: np.ndarray,
    metrics: Metrics,
    seed: int = 0,
    ranked: Ranked | None = None,
) -> dict[str, np.ndarray]:
    """Return name → [resamples], differences of each metric under the same draws of samples.

    Args:
        one: contributions, [samples, statistics].
        other: those of another network, of the same samples in the same order.
        metrics: computes them from totals.
        seed: of the draws.
        ranked: computes those that no totals give, see `resampled`.
    """
    drawn = draws(len(one), seed=seed)
    first, second = (resampled(drawn, values, metrics, ranked) for values in (one, other))
    return {name: (first[name] - second[name]).numpy() for name in first}


def percentile_interval(values: np.ndarray, level: float = LEVEL) -> Interval | None:
    """Return the ends between which the middle ``level`` of the values lie.

    Args:
        values: [resamples]; draws under which a metric is undefined are nan and left out.
        level: share of the values.

    Returns:
        (low, high), or None if there is no value.
    """
    defined = values[np.isfinite(values)]
    if not len(defined):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def over_seeds(differences: Sequence[np.ndarray], seed: int = 0) -> np.ndarray:
    """Return the mean over seeds under draws of seeds and, within each, of samples: [resamples].

    The bootstrap of nested data (Davison and Hinkley 1997, section 3.8): as many seeds as there
    are, drawn with replacement, and of each one drawn another draw of its samples.

    Args:
        differences: for each seed, under draws of its samples, [resamples].
        seed: of the draws of seeds.
    """
    table = np.stack(differences)
    generator = np.random.default_rng(seed)
    size = (table.shape[1], len(table))
    return table[generator.integers(len(table), size=size), _shuffled(generator, size)].mean(1)


def _shuffled(generator: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Return draws of samples in another order for each place of a seed, [resamples, seeds]."""
    return np.stack([generator.permutation(size[0]) for _ in range(size[1])], axis=1)
