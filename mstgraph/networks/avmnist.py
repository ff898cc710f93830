"""The networks of the paper's AV-MNIST experiments (Table 5): digits seen and spoken.

Image: LeNet-5 (LeCun et al. 1998) with ReLU in place of its sigmoids. Audio: a small convolution
network over spectrograms. Fused: both without a classifier, the audio branch two layers deeper.
"""

from __future__ import annotations

import gin
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.networks import inputs as check
from mstgraph.networks.mlp import Concatenation
from mstgraph.support.errors import UserError
from mstgraph.support.text import shape_in_words

AUDIO_CHANNELS = (32, 64, 128)
AUDIO_BRANCH_CHANNELS = (32, 64, 128, 256, 512)
HIDDEN = 84
FUSED_HIDDEN = 298


def _check_map(network: str, modality: str, shape: tuple[int, ...], smallest: int) -> None:
    """Raise UserError unless a sample is a map of sides that the layers can shrink."""
    if len(shape) != 3 or min(shape[1:]) < smallest:
        raise UserError(
            f"{network} takes maps, channels×height×width, of sides from {smallest}, but a sample "
            f"of modality '{modality}' is {shape_in_words(shape)}"
        )


def _pooled(size: int, times: int) -> int:
    """Return a side after so many 2×2 pools."""
    return size // 2**times


class LeNet5Branch(nn.Module):
    """LeNet-5 without its classifier: ``conv1``, ``conv2``, ``conv3``, ``hidden1``."""

    SMALLEST = 28

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        channels, height, width = shape
        self.conv1 = nn.Conv2d(channels, 6, 5, padding=2)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.conv3 = nn.Conv2d(16, 120, 5)
        sides = [_pooled(_pooled(side, 1) - 4, 1) - 4 for side in (height, width)]
        self.hidden1 = nn.Linear(120 * sides[0] * sides[1], HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, 84] float, after its ReLU."""
        x = F.avg_pool2d(F.relu(self.conv1(x)), 2)
        x = F.avg_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.conv3(x)).flatten(1)
        return F.relu(self.hidden1(x))


@gin.configurable
class LeNet5(LeNet5Branch):
    """LeNet-5 over one map, in the paper 1×28×28.

    Mask points: ``conv1``, ``conv2``, ``conv3``, ``hidden1`` (before their ReLU).

    Args:
        inputs: the one modality and its shape, ``{name: (channels, height, width)}``.
        num_outputs: number of classes.

    Raises:
        UserError: not exactly one modality, or no map of sides from 28.
    """

    def __init__(self, inputs: check.Shapes, num_outputs: int) -> None:
        check.check_count("LeNet5", inputs, 1, 1)
        ((modality, shape),) = inputs.items()
        _check_map("LeNet5", modality, shape, self.SMALLEST)
        super().__init__(shape)
        self.classifier = nn.Linear(HIDDEN, num_outputs)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs] float, of one map per sample."""
        return self.classifier(super().forward(inputs[0]))


def _add_convolutions(module: nn.Module, channels_in: int, channels: tuple[int, ...]) -> None:
    """Add 3×3 convolutions ``conv1``, ``conv2``, … to ``module``."""
    for number, width in enumerate(channels, start=1):
        module.add_module(f"conv{number}", nn.Conv2d(channels_in, width, 3, padding=1))
        channels_in = width


@gin.configurable
class ThreeLayerCNN(nn.Module):
    """Three convolutions and a classifier over one map, in the paper a spectrogram of 1×112×112.

    Mask points: ``conv1``, ``conv2``, ``conv3`` (before their ReLU), and ``pooled``, the map that
    the classifier sees.

    Args:
        inputs: the one modality and its shape, ``{name: (channels, height, width)}``.
        num_outputs: number of classes.

    Raises:
        UserError: not exactly one modality, or no map of sides from 8.
    """

    def __init__(self, inputs: check.Shapes, num_outputs: int) -> None:
        super().__init__()
        check.check_count("ThreeLayerCNN", inputs, 1, 1)
        ((modality, shape),) = inputs.items()
        self.depth = len(AUDIO_CHANNELS)
        _check_map("ThreeLayerCNN", modality, shape, 2**self.depth)
        _add_convolutions(self, shape[0], AUDIO_CHANNELS)
        height, width = (_pooled(side, self.depth) for side in shape[1:])
        self.pooled = nn.MaxPool2d(2)  # of the last convolution; a module, so that it has a name
        self.classifier = nn.Linear(AUDIO_CHANNELS[-1] * height * width, num_outputs)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs] float, of one map per sample."""
        x = inputs[0]
        for number in range(1, self.depth):
            x = F.max_pool2d(F.relu(self.get_submodule(f"conv{number}")(x)), 2)
        x = self.pooled(F.relu(self.get_submodule(f"conv{self.depth}")(x)))
        return self.classifier(x.flatten(1))


class AudioBranch(nn.Module):
    """Five convolutions, the first four pooled, and the average over the map: [batch, 512]."""

    def __init__(self, channels_in: int) -> None:
        super().__init__()
        self.depth = len(AUDIO_BRANCH_CHANNELS)
        _add_convolutions(self, channels_in, AUDIO_BRANCH_CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, 512] float."""
        for number in range(1, self.depth + 1):
            x = F.relu(self.get_submodule(f"conv{number}")(x))
            if number < self.depth:
                x = F.max_pool2d(x, 2)
        return x.mean((2, 3))


@gin.configurable
class FusedCNN(nn.Module):
    """An image and a spectrogram: both branches, concatenated, then two linear layers.

    The first modality goes through the LeNet-5, the second through the audio branch. As in the
    paper's released code, no ReLU follows ``hidden1``.

    Mask points: ``fusion`` (the concatenation, 596), ``hidden1`` (298), and inside the branches
    ``image.conv1`` … ``image.hidden1``, ``audio.conv1`` … ``audio.conv5`` (before their ReLU).

    Args:
        inputs: the two modalities and their shapes, ``{name: (channels, height, width)}``.
        num_outputs: number of classes.

    Raises:
        UserError: not exactly two modalities, or maps too small (sides of 28 and 16).
    """

    def __init__(self, inputs: check.Shapes, num_outputs: int) -> None:
        super().__init__()
        check.check_count("FusedCNN", inputs, 2)
        if len(inputs) > 2:
            given = ", ".join(map(repr, inputs))
            raise UserError(
                f"FusedCNN takes an image and a spectrogram, but its inputs are {given}"
            )
        (image, image_shape), (audio, audio_shape) = inputs.items()
        _check_map("FusedCNN", image, image_shape, LeNet5Branch.SMALLEST)
        _check_map("FusedCNN", audio, audio_shape, 2 ** (len(AUDIO_BRANCH_CHANNELS) - 1))
        self.image = LeNet5Branch(image_shape)
        self.audio = AudioBranch(audio_shape[0])
        self.fusion = Concatenation()
        self.hidden1 = nn.Linear(HIDDEN + AUDIO_BRANCH_CHANNELS[-1], FUSED_HIDDEN)
        self.classifier = nn.Linear(FUSED_HIDDEN, num_outputs)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs] float, of one image and one spectrogram each."""
        fused = self.fusion(self.image(inputs[0]), self.audio(inputs[1]))
        return self.classifier(self.hidden1(fused))
