"""Augmentations of training batches. With one, no value of a training pass is constant."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import gin
import torch
from torch import Tensor

Inputs = Mapping[str, Tensor]


class Augmentation(ABC):
    """Changes a batch before normalisation; subclasses are dataclasses of their options."""

    @abstractmethod
    def __call__(
        self, inputs: Inputs, labels: Tensor, generator: torch.Generator
    ) -> tuple[Inputs, Tensor]:
        """Return the changed batch.

        Args:
            inputs: modality → [batch, *shape] float, in the units of the store.
            labels: [batch] or [batch, height, width] int64.
            generator: on the CPU; the only source of randomness.
        """


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class HorizontalFlip(Augmentation):
    """Mirrors all maps of a sample together, and its dense labels.

    Attributes:
        probability: of a sample to be mirrored.
        negated: modalities whose first channel changes its sign in a mirror (surface normals).
    """

    probability: float = 0.5
    negated: tuple[str, ...] = ("normals",)

    def __call__(
        self, inputs: Inputs, labels: Tensor, generator: torch.Generator
    ) -> tuple[Inputs, Tensor]:
        """Return the batch with some samples mirrored."""
        mirrored = torch.rand(len(labels), generator=generator) < self.probability
        mirrored = mirrored.to(labels.device)
        changed = {name: self._mirror(name, values, mirrored) for name, values in inputs.items()}
        return changed, _flip(labels, mirrored) if labels.dim() == 3 else labels

    def _mirror(self, name: str, values: Tensor, mirrored: Tensor) -> Tensor:
        if values.dim() < 4:
            return values
        values = _flip(values, mirrored)
        if name in self.negated:
            values = values.clone()
            values[:, 0] = torch.where(mirrored[:, None, None], -values[:, 0], values[:, 0])
        return values


def _flip(values: Tensor, mirrored: Tensor) -> Tensor:
    where = mirrored.reshape(-1, *[1] * (values.dim() - 1))
    return torch.where(where, values.flip(-1), values)
