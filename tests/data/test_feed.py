"""Batches: resident or streamed, they are the same bits, in an order that names alone decide."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from by_name_worlds import captions

from mstgraph.data import feed as feed_module
from mstgraph.data import streaming
from mstgraph.data.augmentation import Augmentation, Augmentations, HorizontalFlip, Inputs
from mstgraph.data.feed import Pool, _moved, batch_positions
from mstgraph.data.order import WINDOW, epoch_order
from mstgraph.data.streaming import PREFETCHED, Buffer
from mstgraph.store import Store
from mstgraph.support.processes.group import Processes

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


VIEWS = Augmentations(of=(HorizontalFlip(),), views=2)


@pytest.mark.parametrize("augmentation", [None, HorizontalFlip(), VIEWS], ids=["", "new", "views"])
@pytest.mark.parametrize("budget", [10**9, 0])
def test_shares_put_together_are_the_batch(
    stores: Path, augmentation: Augmentation | None, budget: int
) -> None:
    """Whatever changes it: three processes see what one sees, each of its rows alone."""
    data = pool(stores, "rooms", budget)
    whole = data.feed("train", MODALITIES["rooms"], augmentation)
    order = whole.order(0, 1)[:10]
    feeds = [
        data.feed("train", MODALITIES["rooms"], augmentation, Processes(rank, 3, 3).rows)
        for rank in range(3)
    ]
    items = zip(whole.epoch(5, order), *(feed.epoch(5, order) for feed in feeds), strict=True)
    for (inputs, labels, places), *parts in items:
        assert [len(own) for _, own, _ in parts] == [2, 2, 1]
        assert torch.equal(torch.cat([own for _, own, _ in parts]), labels)
        for name, values in inputs.items():
            assert torch.equal(torch.cat([own[name] for own, _, _ in parts]), values)
        assert all(torch.equal(own, places) for _, _, own in parts)


@pytest.mark.parametrize("name", MODALITIES)
def test_an_epoch_of_labelled_samples_makes_as_many_steps(stores: Path, name: str) -> None:
    """It goes round those that keep their label, each as often as any other, in another order."""
    some = Pool(Store(stores / name), "0", "cpu", "standard", 10**9, labelled=0.3)
    feed = some.feed("train", MODALITIES[name])
    order = feed.order(0, 1, labelled=True)
    assert len(order) == len(feed)
    counts = order.bincount(minlength=len(feed))
    hidden = some.hidden("train")
    assert hidden is not None
    assert (counts[hidden] == 0).all()
    assert counts[~hidden].max() - counts[~hidden].min() <= 1
    assert not torch.equal(order, feed.order(0, 2, labelled=True))
    for _, labels, _ in feed.epoch(5, order):
        assert (labels >= 0).all()


def test_all_samples_are_labelled_where_none_is_hidden(stores: Path) -> None:
    """Then an epoch is the same, bit for bit; and if every label is hidden, there is no other."""
    for labelled in (None, 0.001):
        all_or_none = Pool(Store(stores / "rooms"), "0", "cpu", "none", 0, labelled=labelled)
        feed = all_or_none.feed("train", ("rgb",))
        assert torch.equal(feed.order(0, 1, labelled=True), feed.order(0, 1))


@pytest.mark.parametrize("budget", [10**9, 0])
@pytest.mark.parametrize("block", [None, 5])
def test_a_share_of_each_batch_is_labelled(stores: Path, budget: int, block: int | None) -> None:
    """From the device or streamed, in blocks too; a resumed epoch gets the rest of the same."""
    options = {"shuffle_block": block, "labelled": 0.05, "labelled_per_batch": 0.25}
    mixed = Pool(Store(stores / "mfeat"), "0", "cpu", "none", budget, **options)
    feed = mixed.feed("train", ("zer",))
    order = feed.order(3, 2, batch_size=64)
    batches = list(feed.epoch(64, order))
    assert len(batches) == feed.steps(64)
    for inputs, labels, places in batches[:-1]:
        assert (labels >= 0).sum() == 16
        assert torch.equal(
            inputs["zer"], torch.from_numpy(feed.pool.store.read("zer", feed.ids[places]))
        )
    for (_, labels, places), (_, again, same) in zip(
        batches[7:], feed.epoch(64, feed.order(3, 2, batch_size=64), 7), strict=True
    ):
        assert torch.equal(labels, again)
        assert torch.equal(places, same)
    plain = Pool(Store(stores / "mfeat"), "0", "cpu", "none", budget, shuffle_block=block)
    assert torch.equal(
        plain.feed("train", ("zer",)).order(3, 2, batch_size=64),
        epoch_order(len(feed), 3, 2, block),
    )


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

    def fail(ids: np.ndarray, *rest: object) -> torch.Tensor:
        if 17 in ids:
            raise OSError("the disk is gone")
        return read(ids, *rest)

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
    monkeypatch.setattr(shared, "read", lambda ids, *rest: seen.add(rest[0]) or read(ids, *rest))
    list(shared.feed("train", ("zer",)).epoch(500))
    assert seen == {"zer", "label"}


def test_statistics_of_another_split(stores: Path) -> None:
    """A run that is evaluated on another split keeps its own normalisation."""
    store = Store(stores / "mfeat")
    other = Pool(store, "3", "cpu", "standard", 0, trained_on="0")
    own = Pool(store, "0", "cpu", "standard", 0)
    assert torch.equal(other.normaliser("zer").factor, own.normaliser("zer").factor)


class _Keeping(Augmentation):
    """Holds on to what it is given, and hands it on as it is."""

    def __init__(self) -> None:
        self.given: list[torch.Tensor] = []

    def __call__(
        self, inputs: Inputs, labels: torch.Tensor, generator: torch.Generator
    ) -> tuple[Inputs, torch.Tensor]:
        self.given += [*inputs.values(), labels]
        return inputs, labels


@pytest.mark.parametrize("name", MODALITIES)
@pytest.mark.parametrize("budget", [0, 30_000])
def test_a_batch_that_was_handed_out_never_changes(
    stores: Path, monkeypatch: pytest.MonkeyPatch, name: str, budget: int
) -> None:
    """Not even if a buffer is overwritten the moment it is free: no batch is a view of one."""
    rooms = []

    class Spoilt(Buffer):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            rooms.append(self)

        def wait(self) -> None:
            for values in self.columns.values():
                values.view(torch.uint8).fill_(0x5A)

    monkeypatch.setattr(feed_module, "Buffer", Spoilt)
    keeping = _Keeping(), _Keeping()
    order = epoch_order(len(Store(stores / name).split("0", "train")), 0, 1)[:97]
    expected, found = (
        list(pool(stores, name, size).feed("train", MODALITIES[name], keeper).epoch(6, order))
        for size, keeper in zip((10**9, budget), keeping, strict=True)
    )
    assert len(rooms) == PREFETCHED + 2
    for room in rooms:  # and once more, now that nobody waits for anything
        room.wait()
    assert len(expected) == len(found) > (0 if name == "rooms" else 2 * len(rooms))
    for (inputs, labels, _), (ins, labs, _) in zip(expected, found, strict=True):
        assert all(torch.equal(values, ins[n]) for n, values in inputs.items())
        assert torch.equal(labels, labs)
    assert all(map(torch.equal, *(keeper.given for keeper in keeping)))


def test_buffers_go_round(stores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many batches there are, they are read into the same few arrays."""
    feed = pool(stores, "mfeat", 0).feed("train", ("zer",))
    read, places = feed.pool.read, []

    def note(ids: np.ndarray, column: str, out: torch.Tensor) -> torch.Tensor:
        if column == "zer":
            places.append(out.data_ptr())
        return read(ids, column, out)

    monkeypatch.setattr(feed.pool, "read", note)
    assert len(list(feed.epoch(8))) == len(places) == 150
    assert len(set(places)) == PREFETCHED + 2
    assert places == places[: PREFETCHED + 2] * 30


@pytest.mark.parametrize("block", [None, 4])
@pytest.mark.parametrize("start", [0, 13])
def test_every_sample_is_asked_for_before_it_is_read(
    stores: Path, monkeypatch: pytest.MonkeyPatch, block: int | None, start: int
) -> None:
    """Once, streamed columns alone, ahead of the batch, and of no more than two stretches."""
    row = 47 * 4 + 8
    monkeypatch.setattr(streaming, "AHEAD_BYTES", 2 * 90 * row)
    store = Store(stores / "mfeat")
    shared = Pool(store, "0", "cpu", "standard", 0, shuffle_block=block)
    feed = shared.feed("train", ("zer",))
    asked: dict[str, list[int]] = {"zer": [], "label": []}
    read, calls = 0, []
    really = shared.read

    def ask(column: str, indices: np.ndarray) -> None:
        asked[column] += indices.tolist()
        calls.append(indices)

    def check(ids: np.ndarray, column: str, out: torch.Tensor) -> torch.Tensor:
        nonlocal read
        assert set(ids.tolist()) <= set(asked[column])
        read += len(ids) * (column == "zer")
        stretch = 90 if block is None else WINDOW * block
        assert len(asked["zer"]) <= read + 2 * stretch
        return really(ids, column, out)

    monkeypatch.setattr(store, "will_need", ask)
    monkeypatch.setattr(shared, "read", check)
    order = feed.order(seed=3, epoch=2)
    list(feed.epoch(10, order, start))
    expected = sorted(feed.ids[order[start * 10 :].numpy()].tolist())
    assert sorted(asked["zer"]) == sorted(asked["label"]) == expected
    assert np.all(np.diff(calls[0][:10]) > 0)  # in the order in which they are stored


def test_the_order_of_a_feed_is_that_of_the_pool(stores: Path) -> None:
    """Of blocks if it says so, resident or streamed."""
    for budget in (0, 10**9):
        for block in (None, 16):
            shared = Pool(Store(stores / "mfeat"), "0", "cpu", "none", budget, shuffle_block=block)
            order = shared.feed("train", ("zer",)).order(4, 7)
            assert torch.equal(order, epoch_order(1200, 4, 7, block))


def test_what_stays_is_read_piece_by_piece(stores: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every piece is asked for before it is read; the whole is what the store holds."""
    monkeypatch.setattr(feed_module, "PIECE_BYTES", 100 * 47 * 4)
    monkeypatch.setattr(streaming, "AHEAD_BYTES", 400 * 47 * 4)
    store = Store(stores / "mfeat")
    asked: list[int] = []
    monkeypatch.setattr(store, "will_need", lambda name, indices: asked.extend(indices.tolist()))
    shared = Pool(store, "0", "cpu", "none", 10**9)
    read, pieces = shared.read, []

    def check(ids: np.ndarray, column: str, out: torch.Tensor) -> torch.Tensor:
        assert set(ids.tolist()) <= set(asked)
        pieces.append(len(ids))
        return read(ids, column, out)

    monkeypatch.setattr(shared, "read", check)
    values = shared.resident("train", "zer")
    ids = store.split("0", "train")
    assert values is not None
    np.testing.assert_array_equal(values.numpy(), store.read("zer", ids))
    assert pieces == [100] * 12
    assert asked == ids.tolist()


def test_each_modality_may_have_a_normalisation_of_its_own(stores: Path) -> None:
    """Those that are not named are standard."""
    store = Store(stores / "mfeat")
    own = Pool(store, "0", "cpu", {"fou": "minmax", "kar": "none"}, 0)
    for name, kind in {"fou": "minmax", "kar": "none", "zer": "standard"}.items():
        expected = Pool(store, "0", "cpu", kind, 0).normaliser(name)
        assert torch.equal(own.normaliser(name).factor, expected.factor)
        assert torch.equal(own.normaliser(name).offset, expected.offset)
    most = Pool(store, "0", "cpu", {"fou": "minmax", "others": "none"}, 0)
    assert float(most.normaliser("zer").factor.min()) == float(most.normaliser("zer").factor.max())
    assert torch.equal(most.normaliser("fou").factor, own.normaliser("fou").factor)


@pytest.mark.parametrize("budget", [10**9, 0])
def test_integers_are_handed_out_as_they_are(tmp_path: Path, budget: int) -> None:
    """Token ids are neither normalised nor turned into floats, and are no view of a buffer."""
    captions(tmp_path)
    store = Store(tmp_path / "store")
    feed = Pool(store, "0", "cpu", "minmax", budget).feed("train", ("text", "picture"))
    batches = list(feed.epoch(4))
    ids = torch.cat([inputs["text"] for inputs, _, _ in batches])
    assert ids.dtype == torch.int64
    expected = store.read("text", store.split("0", "train"))
    np.testing.assert_array_equal(ids.numpy(), expected)
    assert batches[0][0]["picture"].dtype == torch.float32
    assert float(batches[0][0]["picture"].max()) <= 1


def test_a_store_says_which_of_its_modalities_are_integers(tmp_path: Path) -> None:
    """And nothing of the others, so that stores without any are what they were."""
    captions(tmp_path)
    store = Store(tmp_path / "store")
    said = {item["name"]: item.get("integers") for item in store.metadata["modalities"]}
    assert said == {"text": True, "picture": None, "sketch": None}
    assert [name for name, spec in store.modalities.items() if spec.integers] == ["text"]


def test_positions_of_a_pass_are_moved_at_once() -> None:
    """Each copy to a GPU waits for it; the batches are what they were."""
    batches = [torch.tensor([3, 1]), torch.tensor([2]), torch.tensor([0, 4])]
    moved = _moved(batches, torch.device("cpu"))
    assert all(map(torch.equal, moved, batches))
    assert len({batch.untyped_storage().data_ptr() for batch in moved}) == 1
    assert list(_moved([], torch.device("cpu"))) == []
