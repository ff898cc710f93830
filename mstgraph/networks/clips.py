"""The networks of the paper's RAVDESS and VGGSound experiments (Table 5): clips seen and heard.

Visual: three 3-D convolutions over frames. Audio: three 1-D convolutions over a sequence. Fused:
both without their linear layers, concatenated. An MLP of two hidden layers ends each of them. The
default widths are those of RAVDESS.
"""

from __future__ import annotations

from collections.abc import Sequence

import gin
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.networks import inputs as check
from mstgraph.networks.mlp import Concatenation
from mstgraph.support.errors import UserError
from mstgraph.support.text import shape_in_words

HIDDEN = (320, 160)
SEQUENCE, CLIP = 2, 4
"""Axes of a sample: [channels, length] and [channels, frames, height, width]."""


def _check_layers(network: str, option: str, channels: Sequence[int], pools: int) -> None:
    check.check_widths(network, option, channels)
    if not channels or not 0 <= pools <= len(channels):
        raise UserError(
            f"{network} pools after {pools} of the {len(channels)} layers that {option} lists; "
            "expected at least one layer and no more pools than layers"
        )


def _flat_size(
    network: str, modality: str, shape: tuple[int, ...], channels: int, window: int, pools: int
) -> int:
    """Return the features of a sample after so many pools; UserError if nothing is left."""
    size = channels
    for side in shape[1:]:
        size *= side // window**pools
    if not size:
        raise UserError(
            f"{network} halves or thirds its input until nothing is left of it: expected sides of "
            f"at least {window**pools}, but a sample of modality '{modality}' is "
            f"{shape_in_words(shape)}"
        )
    return size


class Convolutions(nn.Module):
    """Convolutions of width 3 with batch normalisation and ReLU, flattened at the end.

    ``conv1``, ``norm1``, ``conv2``, …; a pool of 2³ (clips) or 3 (sequences) follows the ReLU of
    each of the first ``pools``.

    Attributes:
        features: size of the vector that comes out.
    """

    def __init__(
        self,
        network: str,
        modality: str,
        shape: tuple[int, ...],
        channels: Sequence[int],
        pools: int,
    ) -> None:
        super().__init__()
        self.clip = len(shape) == CLIP
        self.depth, self.pools = len(channels), pools
        window = 2 if self.clip else 3
        self.features = _flat_size(network, modality, shape, channels[-1], window, pools)
        before = shape[0]
        for number, width in enumerate(channels, start=1):
            convolution = nn.Conv3d if self.clip else nn.Conv1d
            norm = nn.BatchNorm3d if self.clip else nn.BatchNorm1d
            self.add_module(f"conv{number}", convolution(before, width, 3, padding=1))
            self.add_module(f"norm{number}", norm(width))
            before = width

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, features] float."""
        for number in range(1, self.depth + 1):
            x = self.get_submodule(f"conv{number}")(x)
            x = F.relu(self.get_submodule(f"norm{number}")(x))
            if number <= self.pools:
                x = F.max_pool3d(x, 2) if self.clip else F.max_pool1d(x, 3)
        return x.flatten(1)


class _Classified(nn.Module):
    """What the three networks share: two hidden layers and the classifier."""

    def _add_layers(self, features: int, num_outputs: int) -> None:
        self.hidden1 = nn.Linear(features, HIDDEN[0])
        self.hidden2 = nn.Linear(HIDDEN[0], HIDDEN[1])
        self.classifier = nn.Linear(HIDDEN[1], num_outputs)

    def _logits(self, x: Tensor) -> Tensor:
        # The ReLU is outside the named layer: a mask point is the value before it.
        return self.classifier(F.relu(self.hidden2(F.relu(self.hidden1(x)))))


def _only(
    network: str, inputs: check.Shapes, axes: int, wanted: str
) -> tuple[str, tuple[int, ...]]:
    """Return the one modality and its shape, checked."""
    check.check_count(network, inputs, 1, 1)
    ((modality, shape),) = inputs.items()
    if len(shape) != axes:
        raise UserError(
            f"{network} takes {wanted}, but a sample of modality '{modality}' is "
            f"{shape_in_words(shape)}"
        )
    return modality, shape


@gin.configurable
class ThreeLayerCNN3d(_Classified):
    """Three 3-D convolutions and an MLP over a clip, in the paper 3×15×224×224 or 512×10×7×7.

    Mask points: ``hidden1`` (320), ``hidden2`` (160), before their ReLU.

    Args:
        inputs: the one modality and its shape, ``{name: (channels, frames, height, width)}``.
        num_outputs: number of classes.
        channels: of the convolutions.
        pools: number of convolutions, from the first, after which each side is halved.

    Raises:
        UserError: not exactly one modality, no clip, or one too small for the pools.
    """

    def __init__(
        self,
        inputs: check.Shapes,
        num_outputs: int,
        channels: Sequence[int] = (6, 12, 24),
        pools: int = 3,
    ) -> None:
        super().__init__()
        name = "ThreeLayerCNN3d"
        modality, shape = _only(name, inputs, CLIP, "clips, channels×frames×height×width")
        _check_layers(name, "channels", channels, pools)
        self.convolutions = Convolutions(name, modality, shape, channels, pools)
        self._add_layers(self.convolutions.features, num_outputs)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs] float, of one clip per sample."""
        return self._logits(self.convolutions(inputs[0]))


@gin.configurable
class ThreeLayerCNN1d(_Classified):
    """Three 1-D convolutions and an MLP over a sequence, in the paper 15×156 or 10×128.

    Mask points: ``hidden1`` (320), ``hidden2`` (160), before their ReLU.

    Args:
        inputs: the one modality and its shape, ``{name: (channels, length)}``.
        num_outputs: number of classes.
        channels: of the convolutions; each is followed by a pool that thirds the length.

    Raises:
        UserError: not exactly one modality, no sequence, or one too short for the pools.
    """

    def __init__(
        self, inputs: check.Shapes, num_outputs: int, channels: Sequence[int] = (32, 128, 256)
    ) -> None:
        super().__init__()
        name = "ThreeLayerCNN1d"
        modality, shape = _only(name, inputs, SEQUENCE, "sequences, channels×length")
        _check_layers(name, "channels", channels, len(channels))
        self.convolutions = Convolutions(name, modality, shape, channels, len(channels))
        self._add_layers(self.convolutions.features, num_outputs)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs] float, of one sequence per sample."""
        return self._logits(self.convolutions(inputs[0]))


@gin.configurable
class FusedClips(_Classified):
    """Clips and sequences: their convolutions, concatenated (sequences first), and an MLP.

    Mask points: ``fusion`` (the concatenation), ``hidden1`` (320), ``hidden2`` (160), before their
    ReLU, and inside the branches ``branches.<modality>.conv1``, ….

    Args:
        inputs: two or more modalities and their shapes, ``{name: (channels, length)}`` or
            ``{name: (channels, frames, height, width)}``.
        num_outputs: number of classes.
        clip_channels: of the convolutions over a clip.
        clip_pools: as `ThreeLayerCNN3d.pools`.
        sequence_channels: of the convolutions over a sequence.

    Raises:
        UserError: fewer than two modalities, or one that is neither or too small for the pools.
    """

    def __init__(
        self,
        inputs: check.Shapes,
        num_outputs: int,
        clip_channels: Sequence[int] = (6, 12, 24),
        clip_pools: int = 3,
        sequence_channels: Sequence[int] = (32, 128, 256),
    ) -> None:
        super().__init__()
        name = "FusedClips"
        check.check_count(name, inputs, 2)
        _check_layers(name, "clip_channels", clip_channels, clip_pools)
        _check_layers(name, "sequence_channels", sequence_channels, len(sequence_channels))
        branches = {}
        for modality, shape in inputs.items():
            if len(shape) not in (SEQUENCE, CLIP):
                raise UserError(
                    f"{name} takes sequences, channels×length, and clips, "
                    f"channels×frames×height×width, but a sample of modality '{modality}' is "
                    f"{shape_in_words(shape)}"
                )
            clip = len(shape) == CLIP
            channels = clip_channels if clip else sequence_channels
            pools = clip_pools if clip else len(sequence_channels)
            branches[modality] = Convolutions(name, modality, shape, channels, pools)
        self.branches = check.by_modality(name, branches)
        clips = [branch.clip for branch in branches.values()]
        self.order = sorted(range(len(clips)), key=clips.__getitem__)
        self.fusion = Concatenation()
        self._add_layers(sum(branch.features for branch in branches.values()), num_outputs)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs] float, of one tensor per modality."""
        streams = [branch(inputs[i]) for i, branch in enumerate(self.branches.values())]
        return self._logits(self.fusion(*(streams[i] for i in self.order)))
