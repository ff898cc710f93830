"""What networks of other libraries have in common: imports, input normalisation, roles, a head."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.networks import inputs as check
from mstgraph.networks.roles import Roles, last_blocks, layer_roles
from mstgraph.support.errors import UserError, nearest
from mstgraph.support.text import shape_in_words

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's red, green and blue, from 0 to 1."""


def library(network: str, name: str, extra: str) -> ModuleType:
    """Import a library that only some networks need.

    Raises:
        UserError: it is not installed; names the extra.
    """
    try:
        with torch.device("cpu"):  # what a module makes while it is imported outlives a meta device
            return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"{network} needs the package {name}, which cannot be imported ({error}); expected "
            f"pip install 'mstgraph[{extra}]'"
        ) from error


def check_name(network: str, name: str, known: Iterable[str]) -> None:
    """Raise UserError unless a model is known; names the nearest."""
    if not name:
        raise UserError(f"{network}.model is missing, expected the name of a model")
    known = list(known)
    if name not in known:
        raise UserError(f"{network}.model is '{name}', which does not exist{nearest(name, known)}")


def check_map(network: str, inputs: check.Shapes) -> tuple[int, int, int]:
    """Return channels, height and width of the one modality; UserError unless it is a map."""
    check.check_count(network, inputs, 1, 1)
    ((modality, shape),) = inputs.items()
    if len(shape) != 3:
        raise UserError(
            f"{network} takes maps, channels×height×width, but a sample of modality '{modality}' "
            f"is {shape_in_words(shape)}"
        )
    return shape[0], shape[1], shape[2]


class Standardise(nn.Module):
    """(x − mean) / std of each channel, constants of a library's weights.

    Args:
        mean: of red, green and blue; another number of channels takes their average.
        std: likewise.
        channels: of the input.
    """

    factor: Tensor
    offset: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], channels: int) -> None:
        super().__init__()
        if len(mean) != channels:
            mean, std = ([sum(values) / len(values)] * channels for values in (mean, std))
        factor = [1 / value for value in std]
        offset = [-m / s for m, s in zip(mean, std, strict=True)]
        for name, values in (("factor", factor), ("offset", offset)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, channels, height, width] float."""
        return x * self.factor + self.offset


def _over_channels(weight: Tensor, own: nn.Conv2d) -> Tensor:
    """Return a convolution's weight over as many channels as ours, if that is all that differs."""
    expected = own.weight.shape
    if weight.shape[:1] + weight.shape[2:] != expected[:1] + expected[2:]:
        return weight
    mean = weight.mean(1, keepdim=True) * (weight.shape[1] / expected[1])
    return mean.expand(expected)


class Headed(nn.Module):
    """A backbone of another library with a classifier of ours.

    ``backbone`` holds the library's own modules under its own names; ``features`` is what comes out
    of it, a module so that it has a name; ``classifier`` follows.

    Args:
        backbone: from an input to features, [batch, width], or maps, [batch, width, h, w].
        width: of the features.
        num_outputs: number of outputs.
        dense: whether every pixel has an answer: a 1×1 convolution, interpolated to the input.
        standardise: applied to the input first.
        head: the backbone's child that is what is left of its own classifier.
    """

    def __init__(
        self,
        backbone: nn.Module,
        width: int,
        num_outputs: int,
        dense: bool = False,
        standardise: nn.Module | None = None,
        head: str = "",
    ) -> None:
        super().__init__()
        self.head = head
        self.standardise = standardise or nn.Identity()
        self.backbone = backbone
        self.features = nn.Identity()
        self.dense = dense
        self.classifier = (
            nn.Conv2d(width, num_outputs, 1) if dense else nn.Linear(width, num_outputs)
        )

    @property
    def roles(self) -> Roles:
        """The backbone's last two blocks, and what comes out of it."""
        blocks = tuple(f"backbone.{name}" for name in last_blocks(self.backbone, self.head))
        return layer_roles(blocks, "features")

    def translated(self, states: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return states whose first convolution sees as many channels as ours.

        Weights are mostly of colours. Each channel gets the mean over the file's, times how many
        of them there were for each of ours: equal channels are answered as equal colours were.
        """
        found = (each for each in self.backbone.named_modules() if isinstance(each[1], nn.Conv2d))
        path, first = next(found, ("", None))
        ours = f".{path}.weight"
        names = [n for n in states if f".{n}".endswith(ours) or ours.endswith(f".{n}")]
        if not isinstance(first, nn.Conv2d) or not names:
            return states
        name = min(names, key=len)  # that of a block may end alike
        if states[name].dim() != 4 or states[name].shape[1] == first.in_channels:
            return states
        return {**states, name: _over_channels(states[name], first)}

    def answer(self, features: Tensor, size: Sequence[int]) -> Tensor:
        """Return logits of features; maps are interpolated to (height, width)."""
        logits = self.classifier(self.features(features))
        return F.interpolate(logits, size=size, mode="bilinear") if self.dense else logits

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs] or [batch, num_outputs, height, width] float."""
        x = inputs[0]
        return self.answer(self.backbone(self.standardise(x)), x.shape[2:])
