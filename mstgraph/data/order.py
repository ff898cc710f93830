"""The order in which an epoch goes through its samples."""

from __future__ import annotations

import torch
from torch import Tensor

from mstgraph.support.seeds import derive_seed

WINDOW = 8  # blocks whose samples are mixed; what a store on disk must read at a time


def epoch_order(length: int, seed: int, epoch: int, block: int | None = None) -> Tensor:
    """Return an epoch's order, a permutation [length] int64 of positions.

    It depends on the arguments alone, so that stages can share a pass over the data, and a
    resumed epoch goes on in the order in which it was left.

    Args:
        length: number of samples.
        seed: the run's seed.
        epoch: the epoch's number.
        block: None shuffles all samples. A number cuts them into blocks of as many neighbours,
            shuffles the blocks, and then shuffles the samples of each `WINDOW` blocks that follow
            each other: what lies together in a store is read together, at the price of batches
            that are less mixed.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    shuffled = torch.randperm(length, generator=generator)
    if block is None:
        return shuffled
    block = min(block, max(1, length))  # a larger one holds no more samples
    turns = torch.randperm(-(-length // block), generator=generator)
    windows = (turns // WINDOW).repeat_interleave(block)[:length]
    # No two keys are equal: by window, and inside one by the shuffled number.
    return (windows * length + shuffled).argsort()


def repeated(positions: Tensor, count: int) -> Tensor:
    """Return so many positions, all of them again and again: [count] int64."""
    return positions.repeat(-(-count // len(positions)))[:count]


def mixed_order(order: Tensor, labelled: Tensor, share: float, batch_size: int) -> Tensor:
    """Return an order of which every batch has its share of labelled samples, [n] int64.

    Either kind comes in the order that is given, from its beginning again when it is through: no
    sample is in a batch twice unless the batch has more places for its kind than there are.

    Args:
        order: permutation of the positions, [n] int64.
        labelled: which positions have a label, [n] bool.
        share: of a batch that is labelled; at least one sample of either kind.
        batch_size: samples per batch.
    """
    own, others = order[labelled[order]], order[~labelled[order]]
    if not len(own) or not len(others):
        return order
    batch_size = min(batch_size, len(order))
    count = max(1, min(round(share * batch_size), batch_size - 1))
    place = torch.arange(len(order)) % batch_size
    # Spread over a batch, so that a short last one has its share, too.
    chosen = (place + 1) * count // batch_size > place * count // batch_size
    mixed = torch.empty_like(order)
    for kind, where in ((own, chosen), (others, ~chosen)):
        mixed[where] = repeated(kind, int(where.sum()))
    return mixed


def balanced_order(order: Tensor, classes: Tensor, seed: int, epoch: int) -> Tensor:
    """Return an order whose places of labelled samples go to all classes alike, [n] int64.

    As many places in a row as there are classes hold one sample of each, in an order that is drawn
    anew. A class's samples come as in the order that is given, from its beginning again when they
    are through: small classes repeat within an epoch, of large ones the rest waits for another.
    Samples without a label stay where they are.

    Args:
        order: positions, [n] int64.
        classes: class of every position, below zero without a label, [samples] int64.
        seed: the run's seed.
        epoch: the epoch's number.
    """
    of_place = classes[order]
    labelled = of_place >= 0
    own, count = order[labelled], int(labelled.sum())
    members = [own[of_place[labelled] == name] for name in of_place[labelled].unique()]
    if len(members) < 2:
        return order
    rounds = -(-count // len(members))
    generator = torch.Generator().manual_seed(derive_seed(seed, "balanced", epoch))
    table = torch.stack([repeated(samples, rounds) for samples in members], dim=1)
    turns = torch.rand(table.shape, generator=generator).argsort(dim=1)
    balanced = order.clone()
    balanced[labelled] = table.gather(1, turns).flatten()[:count]
    return balanced
