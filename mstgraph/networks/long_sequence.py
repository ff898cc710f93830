"""A network over long sequences, such as a sensor at 100 Hz or a waveform, also of unequal length.

A block is a convolution, batch normalisation, ReLU and a maximum, each of which may shorten the
sequence. The mean over the times that are there follows, a hidden layer and a classifier, so that
the number of weights does not depend on the length.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import gin
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.networks import inputs as check
from mstgraph.networks.roles import Roles, layer_roles, numbered
from mstgraph.support.errors import UserError
from mstgraph.support.numerics import masked
from mstgraph.support.text import shape_in_words


class MaskedBatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation (Ioffe and Szegedy 2015, Algorithm 1) over the times that are there.

    Padding is in neither mean nor variance, so that statistics do not depend on how much of it
    there is. Without lengths, and in evaluation, it is torch's.
    """

    def forward(self, input: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return [batch, channels, time] float; behind a sequence's end, values of no meaning.

        Args:
            input: of the same shape.
            lengths: how many times of each are there, [batch] int64; None: all.
        """
        if lengths is None or not self.training:
            return super().forward(input)
        values, count = input.to(self.weight), lengths.sum().clamp(min=1)
        mean = masked(values, lengths).sum((0, 2)) / count
        centred = values - mean[:, None]
        variance = masked(centred, lengths).square().sum((0, 2)) / count
        self._follow(mean.detach(), variance.detach() * count / (count - 1).clamp(min=1))
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None] + self.bias[:, None]).to(input)

    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Let the running statistics follow those of a batch, the variance without bias."""
        for running, found in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None
            running.lerp_(found, self.momentum or 0.0)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)


class LongBlock(nn.Module):
    """Convolution, batch normalisation, ReLU and a maximum over windows of times.

    Args:
        before: channels that come in.
        channels: channels that go out.
        kernel: times that the convolution sees, an odd number.
        stride: of the convolution.
        pool: times that a maximum is taken over; 1 leaves all.
    """

    def __init__(self, before: int, channels: int, kernel: int, stride: int, pool: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(before, channels, kernel, stride, padding=kernel // 2)
        self.norm = MaskedBatchNorm1d(channels)
        self.pool = pool

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return [batch, channels, ⌈⌈time / stride⌉ / pool⌉] float, zero behind a sequence's end.

        Args:
            x: [batch, before, time] float, zero behind each sequence's end.
            lengths: how many times of each are there, [batch] int64; None: all.
        """
        x, there = self.conv(x), _shorter(lengths, self.conv.stride[0])
        x = F.relu(self.norm(x, there))
        # A window that is not full is one of a sequence that stands alone, too; zeros never win.
        return F.max_pool1d(x if there is None else masked(x, there), self.pool, ceil_mode=True)

    def left(self, lengths: Tensor | None) -> Tensor | None:
        """Return how many times are left of each sequence, [batch] int64."""
        return _shorter(_shorter(lengths, self.conv.stride[0]), self.pool)


def _shorter(lengths: Tensor | None, step: int) -> Tensor | None:
    """Return ⌈length / step⌉."""
    return None if lengths is None else (lengths + step - 1) // step


@gin.configurable
class LongSequence1d(nn.Module):
    """Blocks that shorten one sequence, its mean over time, a hidden layer and a classifier.

    A padded sequence is answered as it would be alone, and what is padded moves no statistics.
    Mask points: ``block1``, ``block2``, … (each with its maximum) and ``hidden`` (before its
    ReLU).

    Args:
        inputs: the one modality and its shape, ``{name: (channels, time)}``.
        num_outputs: number of classes.
        channels: widths of the blocks.
        kernel: times that a convolution sees, an odd number.
        stride: of each convolution.
        pool: times that each block's maximum is taken over; 1 for none.
        hidden: width of the hidden layer.

    Raises:
        UserError: not exactly one modality, no sequence, or an even kernel.
    """

    takes_lengths: ClassVar[bool] = True

    def __init__(
        self,
        inputs: check.Shapes,
        num_outputs: int,
        channels: Sequence[int] = (16, 32, 64),
        kernel: int = 9,
        stride: int = 2,
        pool: int = 2,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        check.check_count("LongSequence1d", inputs, 1, 1)
        check.check_widths("LongSequence1d", "channels", channels)
        counts = {"kernel": kernel, "stride": stride, "pool": pool, "hidden": hidden}
        for option, value in counts.items():
            check.check_widths("LongSequence1d", option, (value,))
        ((modality, shape),) = inputs.items()
        if len(shape) != 2:
            raise UserError(
                "LongSequence1d takes a sequence, channels×time, but a sample of modality "
                f"'{modality}' is {shape_in_words(shape)}"
            )
        if not channels:
            raise UserError("LongSequence1d.channels is empty, expected the width of one block")
        if kernel % 2 == 0:
            raise UserError(f"LongSequence1d.kernel is {kernel}, expected an odd number")
        before, self.depth = shape[0], len(channels)
        for number, width in enumerate(channels, start=1):
            self.add_module(f"block{number}", LongBlock(before, width, kernel, stride, pool))
            before = width
        self.hidden = nn.Linear(before, hidden)
        self.classifier = nn.Linear(hidden, num_outputs)

    @property
    def roles(self) -> Roles:
        """The hidden layer, and the last two blocks; masks go to the last block and behind it."""
        hints = numbered("block", self.depth)
        return layer_roles(hints, "hidden", masks=(hints[-1], "hidden"))

    def forward(self, *inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return logits, [batch, num_outputs] float.

        Args:
            inputs: one tensor, [batch, channels, time] float, zero behind each sequence's end.
            lengths: how many times of it are there, [batch, 1] int64; None: all.
        """
        x = inputs[0]
        there = None if lengths is None else lengths[:, 0]
        for number in range(1, self.depth + 1):
            block = self.get_submodule(f"block{number}")
            assert isinstance(block, LongBlock)
            x, there = block(x, there), block.left(there)
        x = x if there is None else masked(x, there)  # a mask point's output may be another
        count = x.shape[2] if there is None else there.clamp(min=1).unsqueeze(1)
        return self.classifier(F.relu(self.hidden(x.sum(2) / count)))
