"""The order of an epoch: a permutation that names alone decide, in blocks where it is asked for."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_graphs import TWO, Make, changed

from mstgraph.data.feed import batch_positions
from mstgraph.data.order import WINDOW, balanced_order, epoch_order, mixed_order
from mstgraph.support.errors import UserError

LENGTHS = st.integers(0, 400)
BLOCKS = st.none() | st.integers(1, 450)
SEEDS = st.integers(0, 2**31)


@given(LENGTHS, SEEDS, st.integers(1, 1000), BLOCKS)
def test_every_sample_comes_once(length: int, seed: int, epoch: int, block: int | None) -> None:
    """Whatever the length and the block."""
    order = epoch_order(length, seed, epoch, block)
    assert order.dtype == torch.int64
    assert sorted(order.tolist()) == list(range(length))


@given(st.integers(1, 2000), SEEDS, st.integers(1, 100))
def test_a_window_comes_from_few_blocks(length: int, seed: int, block: int) -> None:
    """Each block lies whole in one window of `WINDOW` blocks, and these follow each other."""
    blocks = (epoch_order(length, seed, 1, block) // block).tolist()
    count = -(-length // block)
    place = 0
    windows = []
    while place < length:
        # A window ends where as many blocks have begun as it has, and all of these are complete.
        window = list(dict.fromkeys(blocks[place:]))[:WINDOW]
        size = sum(min(block, length - b * block) for b in window)
        assert set(blocks[place : place + size]) == set(window)
        windows.append(len(window))
        place += size
    assert windows[:-1] == [WINDOW] * (len(windows) - 1)
    assert sum(windows) == count


def test_windows_and_blocks_are_shuffled() -> None:
    """Neither do blocks come in turn, nor do the samples of a window stay in their blocks."""
    length, block = 4000, 20
    blocks = epoch_order(length, 0, 1, block) // block
    first = blocks[: WINDOW * block]
    assert len(first.unique()) == WINDOW
    assert len(first[:block].unique()) > WINDOW // 2  # a batch holds samples of most blocks
    span = first.unique()
    assert span.max() - span.min() > length // block // 4  # from all over the store
    order = epoch_order(length, 0, 1, block)
    inside = order[blocks == 7] % block
    assert not torch.equal(inside, inside.sort().values)


@given(st.integers(200, 300), SEEDS, st.none() | st.integers(1, 10))
def test_it_depends_on_its_arguments_alone(length: int, seed: int, block: int | None) -> None:
    """The same whatever was drawn before; another one for another epoch, seed or block."""
    first = epoch_order(length, seed, 2, block)
    torch.rand(17)
    assert torch.equal(first, epoch_order(length, seed, 2, block))
    assert not torch.equal(first, epoch_order(length, seed, 3, block))
    assert not torch.equal(first, epoch_order(length, seed + 1, 2, block))
    assert not torch.equal(first, epoch_order(length, seed, 2, (block or 1) + 1))


def test_every_sample_is_equally_likely_in_every_place() -> None:
    """Over many epochs, with blocks that divide the samples."""
    length, epochs = 40, 4000
    counts = torch.zeros(length, length)
    for epoch in range(epochs):
        counts[torch.arange(length), epoch_order(length, 0, epoch, 4)] += 1
    expected = epochs / length
    assert (counts - expected).abs().max() < 6 * expected**0.5  # six standard deviations


@pytest.mark.parametrize("block", [None, 7])
def test_a_resumed_epoch_gets_the_rest_of_the_same_order(block: int | None) -> None:
    """Batches from the one where it was left, whatever came before in this process."""
    batches = batch_positions(epoch_order(101, 5, 3, block), 10)
    again = batch_positions(epoch_order(101, 5, 3, block), 10)[4:]
    assert all(map(torch.equal, batches[4:], again))
    assert len(torch.cat(again)) == 61


def test_blocks_are_part_of_a_stages_identity(experiment: Make) -> None:
    """Another order gives other weights; the setting is recorded with the run."""
    plain, blocks = experiment(), experiment(TWO, "data.shuffle_block = 16")
    assert changed(plain, blocks) == set(plain.plan.stages)
    assert plain.plan.stages["ci"].identity["shuffle_block"] is None
    assert blocks.plan.stages["ci"].identity["shuffle_block"] == 16
    assert "data.shuffle_block = 16" in blocks.gin_text


@pytest.mark.parametrize("value", ["0", "-4"])
def test_a_block_without_samples_is_refused(experiment: Make, value: str) -> None:
    """In one sentence with its place."""
    sentence = f"data.shuffle_block is {value}, expected at least 1, or None to shuffle all samples"
    with pytest.raises(UserError) as caught:
        experiment(TWO, f"data.shuffle_block = {value}")
    assert str(caught.value).endswith(sentence)
    assert "shuffle_block" in str(caught.value).split(": ")[0]


@pytest.mark.parametrize("block", [7, 10**9, 2**70])
def test_a_block_beyond_all_samples_is_all_of_them(block: int) -> None:
    """At once and without memory: the order is that of one block, as it always was."""
    assert torch.equal(epoch_order(7, 3, 1, block), epoch_order(7, 3, 1, 7))
    assert torch.equal(epoch_order(7, 3, 1, block), epoch_order(7, 3, 1).argsort())


def test_a_batch_beyond_all_samples_is_all_of_them() -> None:
    """Of however many it was asked for."""
    (batch,) = batch_positions(torch.arange(9), 2**70)
    assert torch.equal(batch, torch.arange(9))
    assert [len(batch) for batch in batch_positions(torch.arange(0), 2**70)] == [0]


@settings(deadline=None)
@given(
    st.lists(st.booleans(), min_size=2, max_size=300),
    SEEDS,
    st.floats(0.01, 0.99),
    st.integers(2, 40),
    BLOCKS,
)
def test_every_batch_has_its_share_of_labelled_samples(
    flags: list[bool], seed: int, share: float, batch_size: int, block: int | None
) -> None:
    """As many steps; either kind as often as any other of it, and in a batch once if it can be."""
    labelled = torch.tensor(flags)
    order = epoch_order(len(labelled), seed, 1, block)
    mixed = mixed_order(order, labelled, share, batch_size)
    if all(flags) or not any(flags):
        assert torch.equal(mixed, order)
        return
    assert len(mixed) == len(order)
    batch_size = min(batch_size, len(order))
    count = max(1, min(round(share * batch_size), batch_size - 1))
    for batch in mixed.split(batch_size):
        own = labelled[batch].sum().item()
        assert own == len(batch) * count // batch_size
        for kind, size in ((labelled, own), (~labelled, len(batch) - own)):
            if size <= kind.sum():
                assert batch[kind[batch]].unique().numel() == size
    for kind in (labelled, ~labelled):
        drawn = mixed.bincount(minlength=len(labelled))[kind]
        assert drawn.max() - drawn.min() <= 1
        first = mixed[kind[mixed]][: kind.sum()]
        assert torch.equal(first, order[kind[order]][: len(first)])


def test_a_share_of_a_batch_beyond_all_samples_is_one_of_all() -> None:
    """Of however many it was asked for."""
    order, labelled = torch.arange(20), torch.arange(20) < 2
    mixed = mixed_order(order, labelled, 0.5, 2**70)
    assert labelled[mixed].sum() == 10


def test_the_share_of_labelled_samples_is_part_of_an_identity(experiment: Make) -> None:
    """Of stages that go through all samples; where nobody asks, hashes are what they were."""
    plain = experiment(TWO, "CI.samples = 'labelled'")
    mixed = experiment(TWO, "CI.samples = 'labelled'", "data.labelled_per_batch = 0.5")
    assert changed(plain, mixed) == set(plain.plan.stages) - {"ci"}
    assert "labelled_per_batch" not in mixed.plan.stages["ci"].identity
    assert mixed.plan.stages["dkd-rgb"].identity["labelled_per_batch"] == 0.5
    assert not any("labelled_per_batch" in n.identity for n in plain.plan.stages.values())


@pytest.mark.parametrize("value", ["0.0", "1.0"])
def test_a_share_that_leaves_out_a_kind_is_refused(experiment: Make, value: str) -> None:
    """In one sentence, with what would do."""
    with pytest.raises(
        UserError, match=rf"labelled_per_batch is {value}, expected a share between"
    ):
        experiment(TWO, f"data.labelled_per_batch = {value}")


CLASSES = st.lists(st.sampled_from([-1, 0, 0, 0, 0, 1, 4]), min_size=1, max_size=200)


@given(CLASSES, SEEDS, st.integers(1, 100))
def test_a_balanced_order_takes_classes_alike(classes: list[int], seed: int, epoch: int) -> None:
    """As many labelled samples of each, to one; every one of a class before any comes again."""
    of = torch.tensor(classes)
    order = epoch_order(len(of), seed, epoch)
    found = balanced_order(order, of, seed, epoch)
    without = of[order] < 0
    assert torch.equal(found[without], order[without])
    own = of[found][~without]
    present = of[of >= 0].unique()
    if len(present) < 2:
        assert torch.equal(found, order)
        return
    counts = [int((own == name).sum()) for name in present]
    assert max(counts) - min(counts) <= 1
    for first in range(0, len(own) - len(present) + 1, len(present)):
        assert sorted(own[first : first + len(present)].tolist()) == present.tolist()
    for name in present:
        times = found[of[found] == name].bincount(minlength=len(of))[of == name]
        assert times.max() - times.min() <= 1


@given(st.integers(30, 200), SEEDS)
def test_a_balanced_order_depends_on_its_arguments_alone(length: int, seed: int) -> None:
    """So that a run that was stopped goes on in it; another epoch takes other samples."""
    of = (torch.arange(length) % 5 == 0).long()
    orders = [epoch_order(length, seed, epoch) for epoch in (1, 2)]
    first = balanced_order(orders[0], of, seed, 1)
    torch.rand(3)
    assert torch.equal(first, balanced_order(orders[0], of, seed, 1))
    assert not torch.equal(first, balanced_order(orders[1], of, seed, 2))
