"""What brings a modality's stored values to the size that networks like, per channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mstgraph.store.moments import Statistics
from mstgraph.store.recipe import Modality

Normalisation = Literal["standard", "minmax", "imagenet", "none"]
OTHERS = "others"  # in the place of a modality: all that are not named
MEAN = (
    0.485,
    0.456,
    0.406,
)  # of ImageNet's colours from 0 to 1, as torchvision's networks saw them
DEVIATION = (0.229, 0.224, 0.225)


def kind_for(modality: str, chosen: str | Mapping[str, str]) -> str:
    """Return a modality's normalisation: what is said of it, of the others, or ``standard``."""
    if isinstance(chosen, str):
        return chosen
    return chosen.get(modality, chosen.get(OTHERS, "standard"))


def has_imagenet_colours(spec: Modality) -> bool:
    """Say whether a modality may be in ImageNet's colours: three channels, uint8 or floating."""
    return len(spec.shape) == 3 and spec.shape[0] == 3 and spec.dtype[:5] in ("uint8", "float")


@dataclass(frozen=True)
class Normaliser:
    """(stored × scale − centre) / spread, per channel, as one multiplication and one addition.

    Attributes:
        factor: [channels, 1, ...] float.
        offset: [channels, 1, ...] float.
    """

    factor: Tensor
    offset: Tensor

    def __call__(self, values: Tensor) -> Tensor:
        """Return [batch, channels, ...] float of stored values as float."""
        return torch.addcmul(self.offset, values, self.factor)


def normaliser(
    spec: Modality, statistics: Statistics, kind: str, device: torch.device | str
) -> Normaliser:
    """Build the normaliser of a modality from statistics of the training split.

    Args:
        spec: the modality.
        statistics: of the training split.
        kind: ``standard``, ``minmax``, ``imagenet`` or ``none``; a channel that is constant in
            training is only centred.
        device: where the batches are.
    """
    centre, spread = {
        "standard": (statistics.mean, statistics.std),
        "minmax": (statistics.minimum, statistics.maximum - statistics.minimum),
        "imagenet": (np.array(MEAN), np.array(DEVIATION)),
        "none": (np.zeros(1), np.ones(1)),
    }[kind]
    if kind == "imagenet" and spec.dtype == "uint8":  # 0 to 255; floating values are 0 to 1
        centre, spread = centre * (255 * spec.scale), spread * (255 * spec.scale)
    spread = np.where(spread > 0, spread, 1.0)
    shape = (-1, *[1] * (len(spec.shape) - 1))

    def tensor(values: np.ndarray) -> Tensor:
        return torch.tensor(values, dtype=torch.get_default_dtype(), device=device).reshape(shape)

    return Normaliser(tensor(spec.scale / spread), tensor(-centre / spread))
