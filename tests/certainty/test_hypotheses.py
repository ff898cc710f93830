"""McNemar's test and the t-test for splits that share samples, against sums written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mstgraph.certainty.hypotheses import corrected_t_test, mcnemar


def rights(both: int, first: int, second: int, none: int) -> tuple[np.ndarray, np.ndarray]:
    """Two networks by the number of samples on which both, one, the other or neither is right."""
    numbers = (both, first, second, none)
    return np.repeat([1, 1, 0, 0], numbers) > 0, np.repeat([1, 0, 1, 0], numbers) > 0


@pytest.mark.parametrize(("first", "second"), [(1, 5), (5, 1), (3, 3), (0, 8), (10, 4)])
def test_only_samples_on_which_one_is_right_count(first: int, second: int) -> None:
    """Twice the smaller tail of a fair coin, whatever the others answer."""
    count, few = first + second, min(first, second)
    tail = sum(math.comb(count, k) for k in range(few + 1)) / 2**count
    for both, none in ((0, 0), (40, 7)):
        assert mcnemar(*rights(both, first, second, none)) == pytest.approx(min(1, 2 * tail))


def test_the_same_answers_are_no_difference() -> None:
    """There is nothing to test: p is 1."""
    one, _ = rights(5, 3, 0, 2)
    assert mcnemar(one, one) == 1


def test_the_corrected_test_by_hand() -> None:
    """Differences 1, 2, 3 and a third as many test as training samples: t = 2 / √(1/3 + 1/3)."""
    t = 2 / math.sqrt(2 / 3)
    # Two degrees of freedom: p = 1 − t / √(t² + 2).
    assert corrected_t_test([1, 2, 3], 1 / 3) == pytest.approx(1 - t / math.sqrt(t**2 + 2))


def test_without_shared_samples_it_is_the_t_test() -> None:
    """And shared ones make p larger."""
    differences = [0.3, 0.1, 0.25, -0.02, 0.2]
    plain = stats.ttest_1samp(differences, 0.0).pvalue
    assert corrected_t_test(differences, 0.0) == pytest.approx(plain)
    assert corrected_t_test(differences, 1 / 3) > plain


def test_splits_of_one_data_set_are_not_taken_for_independent_ones() -> None:
    """Two rules of equal worth over five random splits: the plain test errs far more often."""
    random, wrong = np.random.default_rng(0), np.zeros(2)
    for _ in range(400):
        data = random.normal(size=(2, 60))
        differences = []
        for _ in range(5):
            order = random.permutation(60)
            train, test = order[:45], order[45:]
            # Each rule predicts with the mean of its training part.
            errors = [np.mean((data[i, test] - data[i, train].mean()) ** 2) for i in (0, 1)]
            differences.append(errors[0] - errors[1])
        wrong += [corrected_t_test(differences, share) < 0.05 for share in (0.0, 1 / 3)]
    assert wrong[0] / 400 > 0.15
    assert wrong[1] / 400 < 0.1
