"""The convolutions of VGG16 (Simonyan and Zisserman 2015), as FuseNet's encoders start from them.

Knows a state dict as torchvision writes it: ``features.0.weight``, ``features.0.bias``, ….
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

CHANNELS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
"""Output channels of the convolutions of each of the five stages."""

FEATURES = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
"""Positions of the thirteen convolutions in torchvision's ``features``."""


def translated(
    states: Mapping[str, Tensor], encoders: Mapping[str, nn.Module]
) -> Mapping[str, Tensor]:
    """Return VGG16's convolutions under the names that they have in each of some encoders.

    A first convolution over other than three channels gives each channel the RGB filter averaged
    over its input channels.

    Args:
        states: torchvision's VGG16; those of another network are returned as they are.
        encoders: dotted path in the network → encoder of thirteen convolutions in order.
    """
    if any(f"features.{position}.weight" not in states for position in FEATURES):
        return states
    found: dict[str, Tensor] = {}
    for path, encoder in encoders.items():
        own = {n: m for n, m in encoder.named_modules() if isinstance(m, nn.Conv2d)}
        for position, (name, convolution) in zip(FEATURES, own.items(), strict=False):
            weight = states[f"features.{position}.weight"]
            if position == 0 and convolution.in_channels != weight.shape[1]:
                mean = weight.mean(dim=1, keepdim=True)
                weight = mean.expand(-1, convolution.in_channels, -1, -1)
            found[f"{path}.{name}.weight"] = weight
            if f"features.{position}.bias" in states:
                found[f"{path}.{name}.bias"] = states[f"features.{position}.bias"]
    return found
