from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_recipes import Maps, Vectors, column

from mstgraph.store import moments
from mstgraph.store.build.builder import build
from mstgraph.store.moments import RunningMoments, merged, sample_moments


@pytest.mark.parametrize("split", ["0", "4", "cv"])
def test_statistics_are_those_of_the_training_samples(
    tmp_path: Path, small_blocks: None, split: str
) -> None:
    """Against numpy over the training samples alone, in physical units, per channel or feature."""
    recipe = Vectors()
    recipe.splits = {"cv": {"train": range(5, 30), "test": range(5)}}
    store = build(recipe, tmp_path / "vectors")
    train = store.split(split, "train")
    physical = {
        "rgb": column(recipe, "rgb")[train].astype(np.float64).swapaxes(0, 1).reshape(3, -1) / 255,
        "audio": column(recipe, "audio")[train].astype(np.float64).T * 2,
    }
    for name, values in physical.items():
        found = store.statistics(name, split)
        np.testing.assert_allclose(found.mean, values.mean(axis=1), rtol=1e-12)
        np.testing.assert_allclose(found.std, values.std(axis=1), rtol=1e-12)
        np.testing.assert_allclose(found.minimum, values.min(axis=1), rtol=1e-15)
        np.testing.assert_allclose(found.maximum, values.max(axis=1), rtol=1e-15)


def test_test_samples_do_not_touch_the_statistics(tmp_path: Path) -> None:
    """Changing every sample outside the training part changes no statistic."""
    recipe = Vectors()
    recipe.splits = {"cv": {"train": range(30), "validation": [30], "test": range(31, 40)}}
    first = build(recipe, tmp_path / "first").statistics("audio", "cv")
    recipe.changes = {i: {"audio": np.full(7, 1e9, np.float32)} for i in range(30, 40)}
    second = build(recipe, tmp_path / "second").statistics("audio", "cv")
    np.testing.assert_array_equal(first.packed(), second.packed())


def test_large_maps_have_one_statistic_per_channel(tmp_path: Path) -> None:
    """Depth in metres from uint16 millimetres."""
    store = build(Maps(), tmp_path / "maps")
    values = column(Maps(), "depth")[store.split("1", "train")] * 0.001
    found = store.statistics("depth", "1")
    assert found.mean.shape == (1,)
    np.testing.assert_allclose(found.mean, values.mean(), rtol=1e-12)
    np.testing.assert_allclose(found.std, values.std(), rtol=1e-12)


@given(
    values=st.lists(st.floats(-1, 1), min_size=2, max_size=40),
    offset=st.sampled_from([0.0, 1e6]),
    cut=st.integers(1, 39),
)
def test_merging_groups_loses_no_precision(values: list[float], offset: float, cut: int) -> None:
    """However the samples are grouped, and far from zero, the deviation is numpy's."""
    samples = np.array(values).reshape(-1, 1) + offset
    running = RunningMoments(1)
    for piece in (samples[:cut], samples[cut:]):
        for _, found in sample_moments(piece, map):
            running.add(found, np.ones(len(found.mean), bool))
    statistics = running.statistics(1.0)
    np.testing.assert_allclose(statistics.mean, samples.mean(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(statistics.std, samples.std(), rtol=1e-7, atol=1e-9)


def test_statistics_of_several_sets_are_those_of_all() -> None:
    """In physical units, of sets of any size; of none they are zero."""
    values = np.random.default_rng(0).normal(1e3, 1, (30, 2))
    sets = []
    for piece in (values[:7], values[7:7], values[7:]):
        running = RunningMoments(2)
        for _, found in sample_moments(piece, map):
            running.add(found, np.ones(len(found.mean), bool))
        sets.append((len(piece), running.statistics(0.5)))
    found = merged(sets, 2)
    np.testing.assert_allclose(found.mean, values.mean(axis=0) / 2, rtol=1e-14)
    np.testing.assert_allclose(found.std, values.std(axis=0) / 2, rtol=1e-9)
    np.testing.assert_array_equal(found.minimum, values.min(axis=0) / 2)
    assert not merged([], 2).packed().any()


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound on memory changes nothing but the last bits."""
    samples = np.random.RandomState(0).standard_normal((50, 3, 6))
    results = []
    for bound in (1, 100, 10**9):
        monkeypatch.setattr(moments, "CHUNK_VALUES", bound)
        running = RunningMoments(3)
        for rows, found in sample_moments(samples, map):
            running.add(found, (np.arange(50) % 2 == 0)[rows])
        results.append(running.statistics(1.0).packed())
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-12)
    np.testing.assert_allclose(results[0][1], samples[::2].std(axis=(0, 2)), rtol=1e-12)
