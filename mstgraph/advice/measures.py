"""What two networks' answers say of whether one can teach the other: numpy alone, no networks."""

from __future__ import annotations

import numpy as np

FOLDS = 5
PENALTIES = np.logspace(-4, 4, 17)  # times the mean square of the features


def told(right: np.ndarray, other: np.ndarray) -> float:
    """Return how often one is right where another is wrong, a share of the other's errors.

    Args:
        right: whether it is right, [samples] bool.
        other: whether the other is, [samples] bool.

    Returns:
        0 to 1; 0 if the other makes no error.
    """
    return float(right[~other].mean()) if not other.all() else 0.0


def visible(logits: np.ndarray, labels: np.ndarray, features: np.ndarray, seed: int = 0) -> float:
    """Return how much of what a teacher says beyond the label can be seen in a student's features.

    Of logits and features, each sample's class mean is taken away; what is left of the logits is
    fitted by ridge regression. All of it (means, penalty, fit) comes from four fifths of the
    samples and is judged on the fifth that is left, in turn.

    Args:
        logits: the teacher's, [samples, num_outputs] float; what all outputs of a sample share is
            taken away, as a softmax does.
        labels: class of each sample, [samples] int.
        features: the student's, [samples, features] float.
        seed: of the folds, in which the classes have equal shares.

    Returns:
        R² over all samples and outputs, at least 0; 1 if everything can be seen.
    """
    logits = logits - logits.mean(axis=1, keepdims=True)
    fold = _folds(labels, seed)
    unseen = total = 0.0
    for held_out in range(FOLDS):
        train = fold != held_out
        test = ~train & np.isin(labels, labels[train])
        target, given = (_within_classes(v, labels, train) for v in (logits, features))
        missed = target[test] - given[test] @ ridge(given[train], target[train])
        unseen += float((missed**2).sum())
        total += float((target[test] ** 2).sum())
    return max(0.0, 1 - unseen / total) if total > 0 else 0.0


def ridge(features: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the coefficients of ridge regression without intercept, [features, outputs].

    The penalty is the one of `PENALTIES` under which samples that are left out one at a time are
    predicted best (Hastie et al. 2009, "The Elements of Statistical Learning", Eq. 7.64).

    Args:
        features: [samples, features] float.
        target: [samples, outputs] float.
    """
    u, s, v = np.linalg.svd(features, full_matrices=False)
    penalties = PENALTIES * max(float((s**2).mean()), np.finfo(float).tiny)
    projected = u.T @ target

    def left_out(penalty: float) -> float:
        shrunk = s**2 / (s**2 + penalty)
        missed = target - u @ (shrunk[:, None] * projected)
        return float(((missed / (1 - (u**2 @ shrunk)[:, None])) ** 2).sum())

    best = min(penalties, key=left_out)
    coefficients: np.ndarray = v.T @ ((s / (s**2 + best))[:, None] * projected)
    return coefficients


def _folds(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return the fold of each sample, [samples] int; each class is spread over all of them."""
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    fold = np.empty(len(labels), int)
    fold[shuffled[np.argsort(labels[shuffled], kind="stable")]] = np.arange(len(labels)) % FOLDS
    return fold


def _within_classes(values: np.ndarray, labels: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return values minus the mean of their class among some samples ([samples] bool)."""
    result = values.astype(np.float64)
    for name in np.unique(labels[train]):
        result[labels == name] -= values[train & (labels == name)].mean(axis=0, dtype=np.float64)
    return result
