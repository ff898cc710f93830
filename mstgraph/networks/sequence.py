"""Small convolution networks over sequences, such as the readings of a sensor: one, or several.

A block is a convolution, batch normalisation, ReLU and a pool that halves the time. What is left of
the time is flattened, so that a network knows when something happened; a hidden layer and the
classifier follow.
"""

from __future__ import annotations

from collections.abc import Sequence

import gin
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.networks import inputs as check
from mstgraph.networks.mlp import Concatenation
from mstgraph.networks.roles import Roles, layer_roles, numbered
from mstgraph.support.errors import UserError
from mstgraph.support.text import shape_in_words


class Block(nn.Module):
    """Convolution, batch normalisation, ReLU and a maximum over pairs of times.

    Args:
        before: channels that come in.
        channels: channels that go out.
        kernel: times that the convolution sees, an odd number.
    """

    def __init__(self, before: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(before, channels, kernel, padding=kernel // 2)
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, channels, time // 2] float of [batch, before, time]."""
        return F.max_pool1d(F.relu(self.norm(self.conv(x))), 2)


def _check_blocks(network: str, inputs: check.Shapes, channels: Sequence[int], kernel: int) -> None:
    """Raise UserError unless the blocks make sense and every sample can be halved as often."""
    check.check_widths(network, "channels", channels)
    check.check_widths(network, "kernel", (kernel,))
    if not channels:
        raise UserError(f"{network}.channels is empty, expected the width of at least one block")
    if kernel % 2 == 0:
        raise UserError(f"{network}.kernel is {kernel}, expected an odd number")
    shortest = 2 ** len(channels)
    for modality, shape in inputs.items():
        if len(shape) != 2 or shape[1] < shortest:
            raise UserError(
                f"{network} takes sequences, channels×time, of at least {shortest} times, but a "
                f"sample of modality '{modality}' is {shape_in_words(shape)}"
            )


class SequenceBranch(nn.Module):
    """Blocks and a hidden layer, without a classifier: ``block1``, ``block2``, …, ``hidden``."""

    def __init__(
        self, shape: tuple[int, ...], channels: Sequence[int], kernel: int, hidden: int
    ) -> None:
        super().__init__()
        before, time = shape
        self.depth = len(channels)
        for number, width in enumerate(channels, start=1):
            self.add_module(f"block{number}", Block(before, width, kernel))
            before = width
        self.hidden = nn.Linear(before * (time // 2**self.depth), hidden)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return [batch, hidden] float, after its ReLU, of one tensor [batch, channels, time]."""
        x = inputs[0]
        for number in range(1, self.depth + 1):
            x = self.get_submodule(f"block{number}")(x)
        # The ReLU is outside the named layer: a mask point is the value before it.
        return F.relu(self.hidden(x.flatten(1)))


@gin.configurable
class Sequence1d(SequenceBranch):
    """Blocks, a hidden layer and a classifier over one sequence.

    Mask points: ``block1``, ``block2``, … (each with its pool) and ``hidden`` (before its ReLU).

    Args:
        inputs: the one modality and its shape, ``{name: (channels, time)}``.
        num_outputs: number of classes.
        channels: widths of the blocks.
        kernel: times that a convolution sees, an odd number.
        hidden: width of the hidden layer.

    Raises:
        UserError: not exactly one modality, no sequence, or one too short for the blocks.
    """

    def __init__(
        self,
        inputs: check.Shapes,
        num_outputs: int,
        channels: Sequence[int] = (16, 32, 64),
        kernel: int = 7,
        hidden: int = 64,
    ) -> None:
        check.check_count("Sequence1d", inputs, 1, 1)
        _check_blocks("Sequence1d", inputs, channels, kernel)
        check.check_widths("Sequence1d", "hidden", (hidden,))
        (shape,) = inputs.values()
        super().__init__(shape, channels, kernel, hidden)
        self.classifier = nn.Linear(hidden, num_outputs)

    @property
    def roles(self) -> Roles:
        """The hidden layer, and the last two blocks; masks go to the last block and behind it."""
        hints = numbered("block", self.depth)
        return layer_roles(hints, "hidden", masks=(hints[-1], "hidden"))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs] float, of one tensor [batch, channels, time]."""
        return self.classifier(super().forward(inputs[0]))


@gin.configurable
class FusedSequence1d(nn.Module):
    """A branch per sequence, concatenated, then a hidden layer and a classifier.

    The sequences may differ in channels and in length. Mask points: ``fusion`` (the
    concatenation, after the branches' ReLU), ``hidden`` (before its ReLU), and inside the branches
    ``branches.<modality>.block1``, … and ``branches.<modality>.hidden``.

    Args:
        inputs: the modalities and their shapes, ``{name: (channels, time)}``, two or more.
        num_outputs: number of classes.
        channels: widths of each branch's blocks.
        kernel: times that a convolution sees, an odd number.
        branch: width of the hidden layer of each branch.
        hidden: width of the hidden layer after the concatenation.

    Raises:
        UserError: fewer than two modalities, or one that is no sequence or too short.
    """

    def __init__(
        self,
        inputs: check.Shapes,
        num_outputs: int,
        channels: Sequence[int] = (16, 32, 64),
        kernel: int = 7,
        branch: int = 32,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        check.check_count("FusedSequence1d", inputs, 2)
        _check_blocks("FusedSequence1d", inputs, channels, kernel)
        check.check_widths("FusedSequence1d", "branch", (branch,))
        check.check_widths("FusedSequence1d", "hidden", (hidden,))
        branches = {
            name: SequenceBranch(shape, channels, kernel, branch) for name, shape in inputs.items()
        }
        self.branches = check.by_modality("FusedSequence1d", branches)
        self.fusion = Concatenation()
        self.hidden = nn.Linear(len(inputs) * branch, hidden)
        self.classifier = nn.Linear(hidden, num_outputs)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs] float, of one [batch, channels, time] each."""
        # Indexed, not zipped: under torch.fx ``inputs`` is one proxy that cannot be iterated.
        streams = [part(inputs[index]) for index, part in enumerate(self.branches.values())]
        return self.classifier(F.relu(self.hidden(self.fusion(*streams))))
