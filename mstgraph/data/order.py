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
