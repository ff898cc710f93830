"""Networks over sequences that are told how much of their inputs is there.

They take ``lengths``, see `mstgraph.networks.presence`: one reads sequences of unequal length as
though nothing had been padded, the other knows which of several sequences a sample lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import gin
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.networks import inputs as check
from mstgraph.networks.sequence import FusedSequence1d
from mstgraph.support.errors import UserError
from mstgraph.support.numerics import masked
from mstgraph.support.text import shape_in_words


@gin.configurable
class MeanSequence1d(nn.Module):
    """Convolutions over one sequence, the mean over the times that are there, and a classifier.

    What is padded changes nothing: zeros stand behind a sequence's end in every layer, as they do
    in a convolution's own margin, and they are not in the mean. No batch normalisation, whose
    statistics padding would enter. Mask points: ``conv1``, ``conv2``, … (before their ReLU),
    ``hidden`` (before its ReLU).

    Args:
        inputs: the one modality and its shape, ``{name: (channels, time)}``.
        num_outputs: number of classes.
        channels: widths of the convolutions.
        kernel: times that a convolution sees, an odd number.
        hidden: width of the hidden layer.

    Raises:
        UserError: not exactly one modality, no sequence, or an even kernel.
    """

    takes_lengths: ClassVar[bool] = True

    def __init__(
        self,
        inputs: check.Shapes,
        num_outputs: int,
        channels: Sequence[int] = (32, 64),
        kernel: int = 7,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        check.check_count("MeanSequence1d", inputs, 1, 1)
        check.check_widths("MeanSequence1d", "channels", channels)
        check.check_widths("MeanSequence1d", "hidden", (hidden,))
        ((modality, shape),) = inputs.items()
        if len(shape) != 2:
            raise UserError(
                "MeanSequence1d takes a sequence, channels×time, but a sample of modality "
                f"'{modality}' is {shape_in_words(shape)}"
            )
        if kernel < 1 or kernel % 2 == 0 or not channels:
            raise UserError(
                f"MeanSequence1d.kernel is {kernel} and MeanSequence1d.channels are {channels}, "
                "expected an odd number and one width at least"
            )
        before, self.depth = shape[0], len(channels)
        for number, width in enumerate(channels, start=1):
            self.add_module(f"conv{number}", nn.Conv1d(before, width, kernel, padding=kernel // 2))
            before = width
        self.hidden = nn.Linear(before, hidden)
        self.classifier = nn.Linear(hidden, num_outputs)

    def forward(self, *inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return logits, [batch, num_outputs] float.

        Args:
            inputs: one tensor, [batch, channels, time] float, zero behind each sequence's end.
            lengths: how many times of it are there, [batch, 1] int64; None: all.
        """
        x = inputs[0]
        own = None if lengths is None else lengths[:, 0]
        for number in range(1, self.depth + 1):
            x = F.relu(self.get_submodule(f"conv{number}")(x))
            x = x if own is None else masked(x, own)
        count = x.shape[2] if own is None else own.clamp(min=1).unsqueeze(1)
        return self.classifier(F.relu(self.hidden(x.sum(2) / count)))


@gin.configurable
class IncompleteSequence1d(FusedSequence1d):
    """A `FusedSequence1d` that is told which sequences a sample lacks.

    A vector that it learns stands in the place of what the branch of such a sequence would give,
    which is zero at first. Arguments, mask points and errors are those of `FusedSequence1d`.
    """

    takes_lengths: ClassVar[bool] = True

    def __init__(
        self,
        inputs: check.Shapes,
        num_outputs: int,
        channels: Sequence[int] = (16, 32, 64),
        kernel: int = 7,
        branch: int = 32,
        hidden: int = 64,
    ) -> None:
        super().__init__(inputs, num_outputs, channels, kernel, branch, hidden)
        self.instead = nn.Parameter(torch.zeros(len(inputs), branch))

    def forward(self, *inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return logits, [batch, num_outputs] float.

        Args:
            inputs: one [batch, channels, time] float each, zeros where a sample lacks it.
            lengths: how many times of each are there, [batch, inputs] int64; None: all.
        """
        streams = [
            part(values) for part, values in zip(self.branches.values(), inputs, strict=True)
        ]
        if lengths is not None:
            there = lengths.unsqueeze(2) > 0
            streams = [
                torch.where(there[:, place], stream, self.instead[place])
                for place, stream in enumerate(streams)
            ]
        return self.classifier(F.relu(self.hidden(self.fusion(*streams))))
