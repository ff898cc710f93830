"""The convolutions of VGG16 (Simonyan and Zisserman 2015), as FuseNet's encoders start from them.

Reads a state dict as torchvision writes it: ``features.0.weight``, ``features.0.bias``, ….
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mstgraph.support.errors import UserError

CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Output channels of the convolutions of each of the five stages."""

FEATURES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Positions of the thirteen convolutions in torchvision's ``features``."""


def read_state(source: str) -> Mapping[str, Any]:
    """Return the state dict in ``source``, a path or a URL.

    Raises:
        UserError: the file is missing, cannot be fetched, or is no state dict.
    """
    try:
        if "://" in source:
            state = torch.hub.load_state_dict_from_url(
                source, map_location="cpu", progress=False, weights_only=True
            )
        else:
            state = torch.load(Path(source).expanduser(), map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"initial weights '{source}' do not exist") from error
    except Exception as error:  # a file of another kind makes the unpickler raise almost anything
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"initial weights '{source}' cannot be read as a state dict: "
            f"{type(error).__name__}: {reason}"
        ) from error
    if not isinstance(state, Mapping):
        raise UserError(
            f"initial weights '{source}' hold a {type(state).__name__}, expected a state dict of "
            "torchvision's VGG16"
        )
    return state


def load_convolutions(
    convolutions: Sequence[nn.Conv2d], state: Mapping[str, Any], source: str
) -> None:
    """Copy the thirteen VGG16 convolutions of ``state`` into ``convolutions``, in place.

    A first convolution over other than three channels gives each channel the RGB filter averaged
    over its input channels.

    Args:
        convolutions: the encoder's convolutions in order.
        state: a torchvision VGG16 state dict.
        source: where ``state`` comes from, for messages.

    Raises:
        UserError: a key is missing, or its shape is not that of VGG16.
    """
    for position, convolution in zip(FEATURES, convolutions, strict=True):
        weight = convolution.weight
        channels = 3 if position == 0 else weight.shape[1]
        key = f"features.{position}"
        loaded = _entry(
            state, f"{key}.weight", (weight.shape[0], channels, *weight.shape[2:]), source
        )
        if channels != weight.shape[1]:
            loaded = loaded.mean(dim=1, keepdim=True).expand_as(weight)
        assert convolution.bias is not None
        with torch.no_grad():
            weight.copy_(loaded)
            convolution.bias.copy_(_entry(state, f"{key}.bias", (weight.shape[0],), source))


def _entry(state: Mapping[str, Any], key: str, shape: tuple[int, ...], source: str) -> Tensor:
    """Return one tensor of the state dict, its presence and shape checked."""
    value = state.get(key)
    if not isinstance(value, Tensor):
        raise UserError(
            f"initial weights '{source}' have no '{key}', expected a state dict of torchvision's "
            "VGG16 (without batch normalisation)"
        )
    if tuple(value.shape) != shape:
        raise UserError(
            f"initial weights '{source}': '{key}' has shape {tuple(value.shape)}, expected {shape}"
        )
    return value
