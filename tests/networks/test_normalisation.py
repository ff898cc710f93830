"""Batch normalisation that takes a batch of one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mstgraph.distil.masknet import MaskNet
from mstgraph.networks.normalisation import BatchNorm

THEIRS = {0: nn.BatchNorm1d, 1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


@pytest.mark.parametrize("extents", THEIRS)
def test_it_is_torchs_own_where_there_is_a_variance(extents: int) -> None:
    """Same outputs and running statistics in training, same state, same outputs in eval mode."""
    ours, theirs = BatchNorm(4), THEIRS[extents](4)
    values = torch.randn(3, 4, *[2] * extents, generator=torch.Generator().manual_seed(0))
    for mode in (True, False):
        ours.train(mode)
        theirs.train(mode)
        assert torch.equal(ours(values), theirs(values))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], value)


@pytest.mark.parametrize("shape", [(1, 4), (1, 4, 1, 1)])
def test_one_value_of_a_channel_is_measured_by_what_was_seen_before(shape: tuple[int, ...]) -> None:
    """(x − running mean) / √(running variance + ε), and the statistics stay."""
    norm = BatchNorm(4)
    norm.running_mean.fill_(2.0)
    norm.running_var.fill_(4.0)
    values = torch.arange(4.0).view(shape)
    torch.testing.assert_close(norm(values), (values - 2) / (4 + norm.eps) ** 0.5)
    assert norm.running_mean.tolist() == [2.0] * 4
    assert int(norm.num_batches_tracked) == 0


def test_a_masknet_trains_on_a_last_batch_of_one() -> None:
    """Its reducer shrinks a small map to one pixel."""
    network = MaskNet((12, 2, 2)).train()
    network(torch.randn(1, 12, 2, 2)).sum().backward()
    assert network.projector.weight.grad.isfinite().all()
