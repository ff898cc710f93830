"""The measures behind an advice, against plain numpy and what must hold of them."""

from __future__ import annotations

import numpy as np
import pytest

from mstgraph.advice.measures import FOLDS, PENALTIES, ridge, told, visible

SAMPLES, CLASSES, FEATURES = 400, 4, 6


@pytest.fixture
def random() -> np.random.Generator:
    """A source of synthetic answers."""
    return np.random.default_rng(0)


def test_told_counts_errors_of_the_other_alone() -> None:
    """Of three errors one is answered rightly; where the other is right does not matter."""
    right = np.array([True, False, False, True, False])
    other = np.array([False, False, False, True, True])
    assert told(right, other) == pytest.approx(1 / 3)
    assert told(other, right) == pytest.approx(1 / 3)
    assert told(other, other) == 0.0
    assert told(right, np.ones(5, bool)) == 0.0


@pytest.mark.parametrize("samples", [20, 200])
def test_ridge_solves_the_normal_equations_of_the_penalty_that_predicts_best(
    random: np.random.Generator, samples: int
) -> None:
    """Each sample is left out in turn and the rest solved anew, penalty by penalty."""
    features = random.normal(size=(samples, FEATURES))
    target = features @ random.normal(size=(FEATURES, 2)) + random.normal(size=(samples, 2))
    scale = np.linalg.eigvalsh(features.T @ features).mean()

    def solved(rows: np.ndarray, penalty: float) -> np.ndarray:
        gram = features[rows].T @ features[rows] + penalty * scale * np.eye(FEATURES)
        return np.linalg.solve(gram, features[rows].T @ target[rows])

    def missed(penalty: float) -> float:
        total = 0.0
        for i in range(samples):
            rows = np.arange(samples) != i
            total += ((target[i] - features[i] @ solved(rows, penalty)) ** 2).sum()
        return total

    best = min(PENALTIES, key=missed)
    np.testing.assert_allclose(ridge(features, target), solved(np.full(samples, True), best))


def test_visible_is_what_a_fit_given_the_class_explains(random: np.random.Generator) -> None:
    """A linear trace of the student's features beyond the class, beside noise of equal variance.

    The class itself, however large, and what all outputs share count for nothing.
    """
    labels = random.integers(CLASSES, size=SAMPLES)
    features = random.normal(size=(SAMPLES, FEATURES)) + 3 * np.eye(FEATURES)[labels]
    trace = features[:, :CLASSES] - 3 * np.eye(CLASSES)[labels]
    noise = random.normal(size=trace.shape)
    shared = random.normal(size=(SAMPLES, 1)) * 50
    by_class = random.normal(size=(CLASSES, CLASSES))[labels] * 20
    assert visible(trace + by_class + shared, labels, features) > 0.98
    assert visible(trace + noise + by_class, labels, features) == pytest.approx(0.5, abs=0.06)
    assert visible(noise + by_class, labels, features) < 0.03
    assert visible(by_class, labels, features) == pytest.approx(0.0, abs=1e-9)


def test_visible_is_judged_on_samples_that_the_fit_has_not_seen(
    random: np.random.Generator,
) -> None:
    """More features than samples explain noise perfectly, and are not believed."""
    labels = np.arange(40) % CLASSES
    features, noise = random.normal(size=(40, 100)), random.normal(size=(40, CLASSES))
    assert visible(noise, labels, features) < 0.1


def test_a_class_of_one_sample_is_left_out(random: np.random.Generator) -> None:
    """Its mean is unknown wherever it would be judged."""
    labels = np.r_[np.zeros(4 * FOLDS, int), 1]
    features = random.normal(size=(len(labels), 2))
    logits = np.c_[features[:, 0], -features[:, 0]]
    logits[-1] = 1e6
    assert visible(logits, labels, features) > 0.9
