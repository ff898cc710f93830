"""What networks are told of inputs that a sample lacks, or has less of, and modality dropout.

A network whose attribute ``takes_lengths`` is true is called with one more argument, ``lengths``:
how many entries of the last axis of each input are there, [batch, inputs] int64, 0 for an input
that is not. Everything else in an input is zero. None, the default that it must have, means that
all is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class InputRule:
    """What a member does without an input.

    Attributes:
        any_will_do: whether it takes part in samples that have one of its inputs; else in those
            that have them all.
        dropout: probability with which an input is taken away in training, see `drop_modalities`.
    """

    any_will_do: bool = False
    dropout: float = 0.0


def takes_lengths(network: nn.Module) -> bool:
    """Say whether a network wants to know how much of its inputs is there."""
    return bool(getattr(network, "takes_lengths", False))


def drop_modalities(lengths: Tensor, probability: float) -> Tensor:
    """Take inputs away at random, drawn from torch's global generator; one of a sample's stays.

    ModDrop (Neverova et al. 2016, https://arxiv.org/abs/1501.00102): each input is dropped by
    itself; where all would be, the one whose draw was highest stays.

    Args:
        lengths: how much of each input is there, [batch, inputs] int64.
        probability: of each input to be dropped.

    Returns:
        The same, 0 for what was dropped.
    """
    draw = torch.rand(lengths.shape, device=lengths.device)
    draw = torch.where(lengths > 0, draw, -1.0)
    kept = draw >= probability
    kept |= ~kept.any(1, keepdim=True) & (draw == draw.amax(1, keepdim=True))
    return torch.where(kept, lengths, 0)
