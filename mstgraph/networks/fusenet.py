"""FuseNet (Hazirbas et al. 2016) for any number of maps, and its single-modality branch.

Encoders and decoder mirror VGG16. Unlike the original, which sums the streams, the main stream
becomes the average of all streams, as in the released code of MST-Distill.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import gin
import torch
from torch import Tensor, fx, nn

from mstgraph.networks import inputs as check
from mstgraph.networks import vgg16
from mstgraph.support.errors import UserError

DECODER = ((64,), (128, 64), (256, 256, 128), (512, 512, 256), (512, 512, 512))
"""Output channels of the units of decoder stages 1 to 5; the fifth is the deepest and first."""

DROPPED = (3, 4, 5)
"""Stages after which, in encoder (past the pool) and decoder, features are dropped out."""


class Unit(nn.Sequential):
    """Convolution 3×3, batch normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, channels_out, 3, padding=1),
            nn.BatchNorm2d(channels_out),
            nn.ReLU(),
        )


def _units(channels_in: int, channels: Sequence[int]) -> nn.Sequential:
    """Return units one after the other."""
    widths = [channels_in, *channels]
    return nn.Sequential(*(Unit(*pair) for pair in itertools.pairwise(widths)))


class Encoder(nn.Module):
    """``stage1`` … ``stage5`` of one stream; pooling belongs to the network that fuses them."""

    def __init__(self, channels_in: int, stages: Sequence[Sequence[int]]) -> None:
        super().__init__()
        for level, channels in enumerate(stages, start=1):
            self.add_module(f"stage{level}", _units(channels_in, channels))
            channels_in = channels[-1]


def _stage(module: nn.Module, level: int) -> nn.Module:
    """Return stage ``level`` (1 to 5) of an encoder or decoder."""
    return module.get_submodule(f"stage{level}")


class Pool(nn.Module):
    """Max-pools 2×2 and says where each value came from.

    In training by torch's indices. In eval mode by the corner of its window, which takes an eighth
    of the memory: what a frozen network found at its pools can then be kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.MaxPool2d(2, return_indices=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return values and places, [batch, channels, height, width], of maps twice as large."""
        pooled, indices = self.pool(x)
        return pooled, indices if self.training else _corners(indices)


@fx.wrap
def _corners(indices: Tensor) -> Tensor:
    """Return 0 to 3, row by row, uint8, of indices into maps twice as high and wide."""
    height, width = indices.shape[-2:]
    lower = indices >= 2 * width * (2 * torch.arange(height, device=indices.device)[:, None] + 1)
    return (indices & 1).to(torch.uint8).add_(lower, alpha=2)


class Unpool(nn.Module):
    """Puts each value back where a 2×2 max-pool took it from, zeros elsewhere.

    Unlike torch's own module it also runs under ``torch.use_deterministic_algorithms``: pools that
    do not overlap have distinct indices.
    """

    def forward(self, x: Tensor, places: Tensor) -> Tensor:
        """Return [batch, channels, 2·height, 2·width] of two [batch, channels, height, width]."""
        return _unpooled(x, places)


@fx.wrap  # whole, so that nothing but values and places crosses a cut before it
def _unpooled(x: Tensor, places: Tensor) -> Tensor:
    batch, channels, height, width = x.shape
    # Channels last, as the convolutions around it compute where that is faster.
    rows = [t.permute(0, 2, 3, 1).flatten(1, 2) for t in (_indices(places), x)]
    flat = x.new_zeros(batch, 4 * height * width, channels).scatter_(1, *rows)
    return flat.view(batch, 2 * height, 2 * width, channels).permute(0, 3, 1, 2)


def _indices(places: Tensor) -> Tensor:
    """Return torch's indices of what `Pool` says."""
    if places.dtype != torch.uint8:
        return places
    rows, columns = (torch.arange(size, device=places.device) for size in places.shape[-2:])
    width = 2 * len(columns)
    first = 2 * width * rows[:, None] + 2 * columns
    return first + (places & 1) + (places >> 1).to(torch.int64) * width


class DecoderStage(nn.Module):
    """Unpooling by the encoder's indices, then units."""

    def __init__(self, channels_in: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.unpool = Unpool()
        self.units = _units(channels_in, channels)

    def forward(self, x: Tensor, indices: Tensor) -> Tensor:
        """Return [batch, channels, 2·height, 2·width] of [batch, …, height, width]."""
        return self.units(self.unpool(x, indices))


class Decoder(nn.Module):
    """``stage5`` (deepest, first) … ``stage1``; dropout follows the stages in `DROPPED`."""

    def __init__(self, channels_in: int, stages: Sequence[Sequence[int]], dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        for level in range(len(stages), 0, -1):
            channels = stages[level - 1]
            self.add_module(f"stage{level}", DecoderStage(channels_in, channels))
            channels_in = channels[-1]

    def forward(self, x: Tensor, indices: Sequence[Tensor]) -> Tensor:
        """Return [batch, channels, 32·height, 32·width]; ``indices`` are those of pools 1 to 5."""
        for level in range(len(indices), 0, -1):
            x = _stage(self, level)(x, indices[level - 1])
            if level in DROPPED:
                x = self.dropout(x)
        return x


def _scaled(
    stages: Sequence[Sequence[int]], width: float, units: int | None
) -> tuple[tuple[int, ...], ...]:
    """Return channel counts of each stage's last ``units`` times ``width``, at least 1 each."""
    last = None if units is None else -units
    return tuple(tuple(max(1, round(count * width)) for count in stage[last:]) for stage in stages)


def _check_options(
    network: str, width: float, units: int | None, dropout: float, weights: str | None
) -> None:
    """Raise UserError for options that no FuseNet can have."""
    if units is not None and units < 1:
        raise UserError(f"{network}.units is {units!r}, expected at least 1, or None")
    if weights is not None and units is not None:
        raise UserError(
            f"{network}.initial_weights needs {network}.units = None, VGG16's own convolutions, "
            f"but units is {units!r}"
        )
    if not (math.isfinite(width) and width > 0):
        raise UserError(f"{network}.width is {width!r}, expected a positive number")
    if not 0 <= dropout < 1:
        raise UserError(f"{network}.dropout is {dropout!r}, expected a number in [0, 1)")
    if weights is not None and width != 1:
        raise UserError(
            f"{network}.initial_weights needs {network}.width = 1, VGG16's own channels, "
            f"but width is {width!r}"
        )


def _initialise(
    encoders: Sequence[Encoder], decoder: Sequence[nn.Module], weights: str | None
) -> str:
    """Set the weights of all convolutions and return a sentence that says how."""
    for part in (*encoders, *decoder):
        for module in part.modules():
            if isinstance(module, nn.Conv2d):
                if isinstance(part, Encoder):
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                else:
                    nn.init.xavier_normal_(module.weight)
                assert module.bias is not None
                nn.init.zeros_(module.bias)
    return f"encoders Kaiming, decoder Xavier{'' if weights else ', no pretrained weights'}"


@gin.configurable
class FuseNet(nn.Module):
    """Segmentation over two or more aligned maps, fused in the encoder.

    The first modality is the main stream, the others are auxiliary: after every stage the main
    stream becomes the average of all streams, before it is pooled; the auxiliary streams stay as
    they are and skip the fifth pool. The main stream's pools give the decoder its indices.

    Mask points, each one float map: ``encoders.<modality>.stage1`` … ``stage5`` (before averaging
    and pooling), ``fusion`` (the bottleneck, after the fifth pool and dropout),
    ``decoder.stage5`` … ``decoder.stage1`` (before dropout).

    Args:
        inputs: modality to shape of a sample, ``{name: (channels, height, width)}``.
        num_outputs: number of classes.
        width: factor on all channel counts.
        units: convolutions of a stage at most, the last ones; None takes VGG16's two or three. A
            shallow network learns in far fewer steps.
        dropout: probability after pools 3 to 5 and decoder stages 5 to 3.
        initial_weights: file or URL of a torchvision VGG16 state dict that every encoder starts
            from, as ``Member.weights`` says it, too; None starts them from Kaiming's
            initialisation. Nothing is read here.

    Attributes:
        initialisation: which initialisation was used, for the log.

    Raises:
        UserError: the modalities are not two or more maps of one size divisible by 32, an option
            is out of range.
    """

    def __init__(
        self,
        inputs: check.Shapes,
        num_outputs: int,
        width: float = 1.0,
        units: int | None = None,
        dropout: float = 0.4,
        initial_weights: str | None = None,
    ) -> None:
        super().__init__()
        check.check_count("FuseNet", inputs, 2)
        check.check_maps("FuseNet", inputs, divisor=32)
        _check_options("FuseNet", width, units, dropout, initial_weights)
        channels, mirrored = (_scaled(s, width, units) for s in (vgg16.CHANNELS, DECODER))
        encoders = {name: Encoder(shape[0], channels) for name, shape in inputs.items()}
        self.encoders = check.by_modality("FuseNet", encoders)
        self.pool = Pool()
        self.auxiliary_pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(dropout)
        # The last dropout has a name of its own: its output is the bottleneck, a mask point.
        self.fusion = nn.Dropout(dropout)
        self.decoder = Decoder(channels[-1][-1], mirrored, dropout)
        self.classifier = nn.Conv2d(mirrored[0][-1], num_outputs, 3, padding=1)
        self.initial_weights = initial_weights
        self.initialisation = _initialise(
            list(encoders.values()), [self.decoder, self.classifier], initial_weights
        )

    def translated(self, states: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return VGG16's states under this network's names; those of others as they are."""
        encoders = {f"encoders.{name}": part for name, part in self.encoders.named_children()}
        return vgg16.translated(states, encoders)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs, height, width] float, of one map per modality."""
        encoders = list(self.encoders.values())
        # Indexed, not unpacked: under torch.fx ``inputs`` is one proxy that cannot be iterated.
        streams = [inputs[index] for index in range(len(encoders))]
        pool_indices = []
        last = len(vgg16.CHANNELS)
        for level in range(1, last + 1):
            streams = [
                _stage(encoder, level)(stream)
                for encoder, stream in zip(encoders, streams, strict=True)
            ]
            fused, indices = self.pool(_average(streams))
            pool_indices.append(indices)
            if level < last:
                streams = [fused, *(self.auxiliary_pool(stream) for stream in streams[1:])]
                if level in DROPPED:
                    streams = [self.dropout(stream) for stream in streams]
        return self.classifier(self.decoder(self.fusion(fused), pool_indices))


def _average(streams: Sequence[Tensor]) -> Tensor:
    """Return the mean of maps of one shape, added in order."""
    total = streams[0]
    for stream in streams[1:]:
        total = total + stream
    return total / len(streams)


@gin.configurable
class FuseNetBranch(nn.Module):
    """One encoder of `FuseNet` and its decoder: segmentation over a single map.

    Mask points, each one float map: ``encoder.stage1`` … ``encoder.stage5`` (before pooling),
    ``decoder.stage5`` … ``decoder.stage1`` (before dropout).

    Args:
        inputs: the one modality and its shape, ``{name: (channels, height, width)}``.
        num_outputs: number of classes.
        width: factor on all channel counts.
        units: convolutions of a stage at most, the last ones; None takes VGG16's two or three. A
            shallow network learns in far fewer steps.
        dropout: probability after pools 3 to 5 and decoder stages 5 to 3.
        initial_weights: file or URL of a torchvision VGG16 state dict that the encoder starts
            from, as ``Member.weights`` says it, too; None starts it from Kaiming's
            initialisation. Nothing is read here.

    Attributes:
        initialisation: which initialisation was used, for the log.

    Raises:
        UserError: not one map of a size divisible by 32, or an option is out of range.
    """

    def __init__(
        self,
        inputs: check.Shapes,
        num_outputs: int,
        width: float = 1.0,
        units: int | None = None,
        dropout: float = 0.4,
        initial_weights: str | None = None,
    ) -> None:
        super().__init__()
        check.check_count("FuseNetBranch", inputs, 1, 1)
        check.check_maps("FuseNetBranch", inputs, divisor=32)
        _check_options("FuseNetBranch", width, units, dropout, initial_weights)
        channels, mirrored = (_scaled(s, width, units) for s in (vgg16.CHANNELS, DECODER))
        ((channels_in, *_),) = inputs.values()
        self.encoder = Encoder(channels_in, channels)
        self.pool = Pool()
        self.dropout = nn.Dropout(dropout)
        self.decoder = Decoder(channels[-1][-1], mirrored, dropout)
        self.classifier = nn.Conv2d(mirrored[0][-1], num_outputs, 3, padding=1)
        self.initial_weights = initial_weights
        self.initialisation = _initialise(
            [self.encoder], [self.decoder, self.classifier], initial_weights
        )

    def translated(self, states: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return VGG16's states under this network's names; those of others as they are."""
        return vgg16.translated(states, {"encoder": self.encoder})

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs, height, width] float, of one map."""
        x = inputs[0]
        pool_indices = []
        for level in range(1, len(vgg16.CHANNELS) + 1):
            x, indices = self.pool(_stage(self.encoder, level)(x))
            pool_indices.append(indices)
            if level in DROPPED:
                x = self.dropout(x)
        return self.classifier(self.decoder(x, pool_indices))
