"""Which samples lose a modality: the same share of each class, fewer within more; the feed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mstgraph.data.feed import Pool
from mstgraph.data.presence import lose
from mstgraph.store.reader import Store
from mstgraph.support.errors import UserError


@settings(deadline=None, max_examples=50)
@given(
    classes=st.lists(st.integers(-1, 3), min_size=1, max_size=100).map(np.array),
    shares=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    seed=st.integers(0, 5),
)
def test_a_smaller_share_loses_some_of_those_of_a_larger(
    classes: np.ndarray, shares: tuple[float, float], seed: int
) -> None:
    """Of those that have it, of each class alike, the unknown among them."""
    there = np.random.default_rng(seed).random(len(classes)) < 0.8
    less, more = (lose(classes, there, share, seed) for share in sorted(shares))
    assert not (less & ~more).any()
    assert not (more & ~there).any()
    for name in range(-1, 4):
        own = there & (classes == name)
        assert abs((more & own).sum() - max(shares) * own.sum()) <= 1.5


def pool(store: Path, **options: object) -> Pool:
    """A pool over the tiny store, everything on the device or streamed."""
    return Pool(Store(store), "0", "cpu", "standard", **{"budget": 10**9, **options})


@pytest.mark.parametrize("budget", [0, 10**9])
def test_what_is_lost_is_zero_and_said(tiny_store: Path, budget: int) -> None:
    """After normalisation, in training alone; the rest is as it is without the setting."""
    lost = pool(tiny_store, absent={"rgb": 0.5}, budget=budget).feed("train", ("rgb", "depth"))
    whole = pool(tiny_store, budget=budget).feed("train", ("rgb", "depth"))
    found = []
    for (inputs, labels, places), (same, _, _) in zip(lost.epoch(5), whole.epoch(5), strict=True):
        lengths = lost.lengths(places)
        assert lengths.keys() == {"rgb"}
        gone = lengths["rgb"] == 0
        assert set(lengths["rgb"].tolist()) <= {0, 8}
        assert not inputs["rgb"][gone].any()
        assert torch.equal(inputs["rgb"][~gone], same["rgb"][~gone])
        assert torch.equal(inputs["depth"], same["depth"])
        found += list(zip(labels.tolist(), gone.tolist(), strict=True))
    assert sum(gone for _, gone in found) == 6
    assert whole.lengths(torch.arange(3)) == {}
    assert (
        pool(tiny_store, absent={"rgb": 0.5}).feed("test", ("rgb",)).lengths(torch.arange(3)) == {}
    )


def test_other_parts_lose_some_where_they_are_named(tiny_store: Path) -> None:
    """By the seed, each part by itself."""
    options = {"absent": {"rgb": 0.5}, "absent_in": ("validation", "test")}
    own = pool(tiny_store, **options)
    assert own.lengths("train") == {}
    assert (own.lengths("test")["rgb"] == 0).sum() == 2
    train = pool(tiny_store, absent={"rgb": 0.5}).lengths("train")["rgb"]
    assert torch.equal(train, pool(tiny_store, absent={"rgb": 0.5}).lengths("train")["rgb"])
    other = pool(tiny_store, absent={"rgb": 0.5}, seed=1).lengths("train")["rgb"]
    assert not torch.equal(train, other)


def test_a_class_that_would_lose_all_is_refused(tiny_store: Path) -> None:
    """Before anything is trained: one sentence."""
    with pytest.raises(UserError, match="leaves 'rgb' to no training sample of '"):
        pool(tiny_store, absent={"rgb": 0.99}).feed("train", ("rgb",))
