"""Augmentations of sensors' readings and of spectrograms; each names the modalities it changes.

Jitter and scaling are those of Um et al. 2017 (https://doi.org/10.1145/3136755.3136817), the masks
those of SpecAugment (Park et al. 2019, https://doi.org/10.21437/Interspeech.2019-2680).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import gin
import torch
from torch import Tensor

from mstgraph.data.augmentation import Inputs, OfModalities, drawn_seed
from mstgraph.store.recipe import Modality
from mstgraph.support.seeds import derive_seed
from mstgraph.support.text import shape_in_words


@dataclass(frozen=True)
class OfEach(OfModalities):
    """Changes each of its modalities by itself; labels stay."""

    def __call__(
        self, inputs: Inputs, labels: Tensor, generator: torch.Generator
    ) -> tuple[Inputs, Tensor]:
        """Return the batch with its modalities changed, each with randomness of its own."""
        seed = drawn_seed(generator)
        changed = dict(inputs)
        for name in self.modalities:
            if name in inputs:
                own = torch.Generator().manual_seed(derive_seed(seed, name))
                changed[name] = self.change(inputs[name], own)
        return changed, labels

    @abstractmethod
    def change(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Return [batch, *shape] float, changed."""


@dataclass(frozen=True)
class Deviating(OfEach):
    """Changes values by normal noise.

    Attributes:
        deviation: of the noise.
    """

    deviation: float = 0.1

    def problem(self, modalities: Mapping[str, Modality]) -> tuple[str, str] | None:
        """Refuse a deviation that is none."""
        if not 0 <= self.deviation < math.inf:
            return "deviation", f"is {self.deviation}, expected at least 0"
        return super().problem(modalities)


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class Jitter(Deviating):
    """Adds normal noise to every value.

    Attributes:
        deviation: of the noise, as a share of that of each channel of each sample.
    """

    deviation: float = 0.05

    def change(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Return values + deviation × their own deviation × noise."""
        inside = tuple(range(min(2, values.dim() - 1), values.dim()))
        own = values.std(inside, correction=0, keepdim=True)
        noise = torch.randn(values.shape, generator=generator, dtype=values.dtype)
        return values + self.deviation * own * noise.to(values.device)


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class Scale(Deviating):
    """Multiplies each channel of each sample by a number near 1.

    Attributes:
        deviation: of that number, which is drawn from a normal distribution.
    """

    deviation: float = 0.1

    def change(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Return values × (1 + deviation × noise), one number per channel."""
        shape = (*values.shape[:2], *[1] * (values.dim() - 2))
        noise = torch.randn(shape, generator=generator, dtype=values.dtype)
        return values * (1 + self.deviation * noise.to(values.device))


@dataclass(frozen=True)
class Mask(OfEach):
    """Puts the sample's mean in the place of a run of times or bands.

    Attributes:
        axis: what is masked, of a batch.
        share: of the times or bands, the longest run.
    """

    axis: ClassVar[int]
    share: float = 0.2

    def problem(self, modalities: Mapping[str, Modality]) -> tuple[str, str] | None:
        """Refuse what is no share, and samples without such an axis."""
        if not 0 <= self.share <= 1:
            return "share", f"is {self.share}, expected a share of the times or bands, 0 to 1"
        if wrong := super().problem(modalities):
            return wrong
        for name in self.modalities:
            if len(shape := modalities[name].shape) < -self.axis:
                return "modalities", (
                    f"names '{name}', of which a sample is {shape_in_words(shape)}, expected bands "
                    "and times"
                )
        return None

    def change(self, values: Tensor, generator: torch.Generator) -> Tensor:
        """Return values with one run masked, of any length up to the longest, anywhere."""
        extent, batch = values.shape[self.axis], len(values)
        longest = self.share * extent
        length = (torch.rand(batch, generator=generator) * (longest + 1)).floor().clamp(max=longest)
        first = (torch.rand(batch, generator=generator) * (extent - length + 1)).floor()
        place = torch.arange(extent)
        masked = (place >= first[:, None]) & (place < (first + length)[:, None])
        shape = [batch, *[1] * (values.dim() - 1)]
        shape[self.axis] = extent
        mean = values.flatten(1).mean(1).reshape(batch, *[1] * (values.dim() - 1))
        return torch.where(masked.reshape(shape).to(values.device), mean, values)


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class TimeMask(Mask):
    """Masks times: the last axis of a sequence or a spectrogram."""

    axis: ClassVar[int] = -1


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class FrequencyMask(Mask):
    """Masks bands: the last axis but one of a spectrogram."""

    axis: ClassVar[int] = -2
