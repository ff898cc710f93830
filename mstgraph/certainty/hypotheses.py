"""Tests of a difference: over the samples of one test split, and over splits that share samples."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def mcnemar(one: np.ndarray, other: np.ndarray) -> float:
    """Return the exact two-sided p-value of two networks being right equally often.

    Only samples on which exactly one of them is right say anything: of these each should be right
    on half (McNemar 1947, "Note on the sampling error of the difference between correlated
    proportions").

    Args:
        one: which samples a network is right on, [samples] bool.
        other: the same of another one.
    """
    from scipy import stats  # type: ignore[import-untyped, unused-ignore]

    first, second = int((one & ~other).sum()), int((other & ~one).sum())
    return float(stats.binomtest(first, first + second).pvalue) if first + second else 1.0


def corrected_t_test(differences: Sequence[float], test_share: float) -> float:
    """Return the two-sided p-value of a mean of zero over random splits of one data set.

    Splits share samples, so that differences vary less than those of independent data would: the
    variance of the mean is s² (1/n + n_test / n_train) in place of s² / n (Nadeau and Bengio 2003,
    "Inference for the generalization error", equation 8).

    Args:
        differences: of each split, two or more that are not all the same.
        test_share: n_test / n_train; 0 is the ordinary t-test.
    """
    from scipy import stats  # type: ignore[import-untyped, unused-ignore]

    count = len(differences)
    mean, spread = float(np.mean(differences)), float(np.std(differences, ddof=1))
    statistic = mean / (spread * math.sqrt(1 / count + test_share))
    return float(2 * stats.t.sf(abs(statistic), count - 1))
