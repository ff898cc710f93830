"""Which samples keep their label: the same share of each class, fewer within more."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mstgraph.data.labelled import keep_labels


@settings(deadline=None)
@given(
    classes=st.lists(st.integers(-1, 4), min_size=1, max_size=200).map(np.array),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    seed=st.integers(0, 5),
)
def test_fewer_labels_are_some_of_more(
    classes: np.ndarray, shares: tuple[float, float], seed: int
) -> None:
    """Under one seed; none is invented, and each class keeps its share to one sample."""
    less, more = (keep_labels(classes, share, seed) for share in sorted(shares))
    assert not (less & ~more).any()
    assert not (more & (classes < 0)).any()
    assert more.sum() == round(max(shares) * (classes >= 0).sum())
    for name in range(5):
        own = classes == name
        assert abs((more & own).sum() - max(shares) * own.sum()) <= 1.5


def test_a_number_is_so_many_samples() -> None:
    """120 of 1,200 in ten classes are twelve of each; another seed takes others."""
    classes = np.repeat(np.arange(10), 120)
    kept = keep_labels(classes, 120, seed=0)
    assert np.bincount(classes[kept]).tolist() == [12] * 10
    assert (keep_labels(classes, 0.1, seed=0) == kept).all()
    assert (keep_labels(classes, 120, seed=1) != kept).any()
    assert keep_labels(classes, 1.0, seed=0).all()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_choice_depends_on_the_seed_alone(seed: int) -> None:
    """The same today and tomorrow, whatever numpy's global generator does."""
    classes = np.arange(50) % 3
    kept = keep_labels(classes, 0.3, seed)
    np.random.seed(7)
    assert (keep_labels(classes, 0.3, seed) == kept).all()
