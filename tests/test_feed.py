"""Batches: resident or streamed, they are the same bits, in an order that names alone decide."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from mstgraph.augmentation import HorizontalFlip
from mstgraph.feed import Pool, batch_positions
from mstgraph.store import Store
from mstgraph.train import epoch_order

pytest_plugins = ("training_fixtures",)
MODALITIES = {"mfeat": ("fou", "zer"), "rooms": ("rgb", "depth", "normals")}


def pool(stores: Path, name: str, budget: int = 10**9, normalisation: str = "standard") -> Pool:
    """A pool over one of the stores."""
    return Pool(Store(stores / name), "0", "cpu", normalisation, budget)


@pytest.mark.parametrize("name", MODALITIES)
@pytest.mark.parametrize("augmentation", [None, HorizontalFlip()])
@pytest.mark.parametrize("start", [0, 2])
def test_resident_and_streamed_batches_are_the_same_bits(
    stores: Path, name: str, augmentation: HorizontalFlip | None, start: int
) -> None:
    """uint8, uint16, int8 and float32; from the first batch or a later one."""
    order = epoch_order(len(Store(stores / name).split("0", "train")), 0, 1)
    found = []
    for budget in (10**9, 0, 30_000):  # all, nothing, and a part of it on the device
        feed = pool(stores, name, budget).feed("train", MODALITIES[name], augmentation)
        found.append(list(feed.epoch(5, order, start, seed=7)))
    assert len(found[0]) == len(batch_positions(order, 5)) - start
    for other in found[1:]:
        for (inputs, labels, places), (ins, labs, pls) in zip(found[0], other, strict=True):
            assert inputs.keys() == ins.keys()
            assert all(torch.equal(values, ins[n]) for n, values in inputs.items())
            assert torch.equal(labels, labs)
            assert torch.equal(places, pls)


@pytest.mark.parametrize("name", MODALITIES)
@pytest.mark.parametrize("kind", ["standard", "minmax", "none"])
def test_normalisation_against_numpy(stores: Path, name: str, kind: str) -> None:
    """Statistics come from the training part alone, per channel, of physical values."""
    store = Store(stores / name)
    ids = {part: store.split("0", part) for part in ("train", "test")}
    feed = pool(stores, name, normalisation=kind).feed("test", MODALITIES[name])
    batches = list(feed.epoch(7))
    for modality in MODALITIES[name]:
        spec = store.modalities[modality]
        train, test = (store.read(modality, ids[p]) * float(spec.scale) for p in ("train", "test"))
        axes = (0, *range(2, train.ndim))
        keep = {"axis": axes, "keepdims": True}
        if kind == "standard":
            centre, spread = train.mean(**keep), train.std(**keep)
        elif kind == "minmax":
            centre, spread = train.min(**keep), train.max(**keep) - train.min(**keep)
        else:
            centre, spread = 0.0, 1.0
        expected = (test - centre) / np.where(np.asarray(spread) > 0, spread, 1)
        got = torch.cat([inputs[modality] for inputs, _, _ in batches]).numpy()
        np.testing.assert_allclose(got, expected, rtol=2e-4, atol=2e-4)
    labels = torch.cat([labels for _, labels, _ in batches]).numpy()
    np.testing.assert_array_equal(labels, store.read_labels(ids["test"]))


def test_an_error_of_the_reading_thread_surfaces(
    stores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the batch is waited for; and no thread stays behind."""
    feed = pool(stores, "mfeat", 0).feed("train", ("zer",))
    read = feed.pool.read

    def fail(ids: np.ndarray, column: str) -> torch.Tensor:
        if 17 in ids:
            raise OSError("the disk is gone")
        return read(ids, column)

    feed.ids = np.arange(len(feed.ids))
    monkeypatch.setattr(feed.pool, "read", fail)
    seen = []
    with pytest.raises(OSError, match="the disk is gone"):
        seen.extend(labels for _, labels, _ in feed.epoch(8))
    assert len(seen) == 2
    assert not feed_threads()


def feed_threads() -> list[str]:
    """Names of the threads that read ahead."""
    return [t.name for t in threading.enumerate() if t.name == "mstgraph-feed"]


def test_leaving_in_the_middle_ends_the_reading_thread(stores: Path) -> None:
    """An interrupted epoch leaks neither thread nor batches."""
    batches = pool(stores, "mfeat", 0).feed("train", ("zer",)).epoch(8)
    next(batches)
    assert feed_threads()
    batches.close()
    assert not feed_threads()


def test_a_last_batch_of_one_sample_joins_the_one_before() -> None:
    """Batch normalisation has no variance over one sample."""
    assert [len(b) for b in batch_positions(torch.arange(9), 4)] == [4, 5]
    assert [len(b) for b in batch_positions(torch.arange(10), 4)] == [4, 4, 2]
    assert [len(b) for b in batch_positions(torch.arange(1), 4)] == [1]
    assert [len(b) for b in batch_positions(torch.arange(3), 1)] == [1, 1, 1]
    assert torch.equal(torch.cat(batch_positions(torch.arange(9), 4)), torch.arange(9))


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    """A permutation, the same whatever was drawn before."""
    first = epoch_order(50, 3, 2)
    torch.rand(17)
    assert torch.equal(first, epoch_order(50, 3, 2))
    assert sorted(first.tolist()) == list(range(50))
    assert not torch.equal(first, epoch_order(50, 3, 3))
    assert not torch.equal(first, epoch_order(50, 4, 2))


def test_columns_stay_on_the_device_as_long_as_they_fit(stores: Path) -> None:
    """And are read once for all stages."""
    shared = pool(stores, "mfeat", 1200 * 47 * 4 + 1200 * 8)
    shared.feed("train", ("zer",))
    assert shared.remaining == 0
    assert shared.resident("train", "zer") is shared.resident("train", "zer")
    assert shared.resident("train", "fou") is None


def test_only_wanted_modalities_are_read(stores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No page of another one is touched."""
    shared = pool(stores, "mfeat", 0)
    read, seen = shared.read, set()
    monkeypatch.setattr(shared, "read", lambda ids, column: seen.add(column) or read(ids, column))
    list(shared.feed("train", ("zer",)).epoch(500))
    assert seen == {"zer", "label"}


def test_statistics_of_another_split(stores: Path) -> None:
    """A run that is evaluated on another split keeps its own normalisation."""
    store = Store(stores / "mfeat")
    other = Pool(store, "3", "cpu", "standard", 0, trained_on="0")
    own = Pool(store, "0", "cpu", "standard", 0)
    assert torch.equal(other.normaliser("zer").factor, own.normaliser("zer").factor)
