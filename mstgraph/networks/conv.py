"""A small convolution network over maps, such as spectrograms and small images.

A block is a convolution, batch normalisation, ReLU and a maximum over windows. What is left of the
map is averaged down to a few cells and flattened, so that a network of the same settings takes maps
of any size, and still knows where something was; a hidden layer and the classifier follow.
"""

from __future__ import annotations

from collections.abc import Sequence

import gin
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.networks import inputs as check
from mstgraph.networks.roles import Roles, layer_roles, numbered
from mstgraph.support.errors import UserError
from mstgraph.support.text import shape_in_words


class MapBlock(nn.Module):
    """Convolution, batch normalisation, ReLU and a maximum over windows.

    Args:
        before: channels that come in.
        channels: channels that go out.
        kernel: side of what the convolution sees, an odd number.
        stride: of the convolution.
        pool: side of the windows; 1 leaves the map as it is.
    """

    def __init__(self, before: int, channels: int, kernel: int, stride: int, pool: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, channels, kernel, stride, padding=kernel // 2)
        self.norm = nn.BatchNorm2d(channels)
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, channels, height', width'] float of [batch, before, height, width]."""
        return F.max_pool2d(F.relu(self.norm(self.conv(x))), self.pool)


def _left(side: int, blocks: int, stride: int, pool: int) -> int:
    """Return what the blocks leave of a side."""
    for _ in range(blocks):
        side = ((side - 1) // stride + 1) // pool
    return side


@gin.configurable
class Conv2d(nn.Module):
    """Blocks, a hidden layer and a classifier over one map.

    Mask points: ``block1``, ``block2``, … (each with its pool) and ``hidden`` (before its ReLU).

    Args:
        inputs: the one modality and its shape, ``{name: (channels, height, width)}``.
        num_outputs: number of outputs.
        channels: widths of the blocks.
        kernel: side of what a convolution sees, an odd number.
        stride: of each convolution.
        pool: side of the windows of each block's maximum; 1 for none.
        cells: rows and columns, at most, to which the last block's map is averaged.
        hidden: width of the hidden layer.

    Raises:
        UserError: not exactly one modality, no map, or one that the blocks leave nothing of.
    """

    def __init__(
        self,
        inputs: check.Shapes,
        num_outputs: int,
        channels: Sequence[int] = (16, 32, 64),
        kernel: int = 3,
        stride: int = 1,
        pool: int = 2,
        cells: int = 4,
        hidden: int = 64,
    ) -> None:
        super().__init__()
        check.check_count("Conv2d", inputs, 1, 1)
        counts = {"kernel": kernel, "stride": stride, "pool": pool, "cells": cells}
        check.check_widths("Conv2d", "channels", channels)
        for option, value in {**counts, "hidden": hidden}.items():
            check.check_widths("Conv2d", option, (value,))
        if not channels:
            raise UserError("Conv2d.channels is empty, expected the width of at least one block")
        if kernel % 2 == 0:
            raise UserError(f"Conv2d.kernel is {kernel}, expected an odd number")
        ((modality, shape),) = inputs.items()
        left = [_left(side, len(channels), stride, pool) for side in shape[1:]]
        if len(shape) != 3 or min(left) < 1:
            smallest = (stride * pool) ** len(channels)
            raise UserError(
                f"Conv2d takes maps, channels×height×width, of sides from about {smallest}, but a "
                f"sample of modality '{modality}' is {shape_in_words(shape)}"
            )
        self.depth, before = len(channels), shape[0]
        for number, width in enumerate(channels, start=1):
            self.add_module(f"block{number}", MapBlock(before, width, kernel, stride, pool))
            before = width
        self.window = tuple(-(-side // cells) for side in left)
        area = [side // window for side, window in zip(left, self.window, strict=True)]
        self.hidden = nn.Linear(before * area[0] * area[1], hidden)
        self.classifier = nn.Linear(hidden, num_outputs)

    @property
    def roles(self) -> Roles:
        """The hidden layer, and the last two blocks; masks go to the last block and behind it."""
        hints = numbered("block", self.depth)
        return layer_roles(hints, "hidden", masks=(hints[-1], "hidden"))

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs] float, of one [batch, channels, height, width]."""
        x = inputs[0]
        for number in range(1, self.depth + 1):
            x = self.get_submodule(f"block{number}")(x)
        x = F.avg_pool2d(x, self.window).flatten(1)
        # The ReLU is outside the named layer: a mask point is the value before it.
        return self.classifier(F.relu(self.hidden(x)))
