"""Augmentations of training batches: what they touch is not constant, but in fixed views."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import gin
import torch
from torch import Tensor

from mstgraph.store.recipe import Modality
from mstgraph.support.errors import nearest
from mstgraph.support.seeds import derive_seed
from mstgraph.support.text import take_tuples_of_one

Inputs = Mapping[str, Tensor]


class Augmentation(ABC):
    """Changes a batch before normalisation; subclasses are dataclasses of their options.

    Attributes:
        views: how many fixed views of each sample there are; None draws a new one each time.
        together: modalities that it needs all of, if it is given one of them.
    """

    views: int | None = None
    together: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Take one name for a tuple of one."""
        take_tuples_of_one(self)

    def touches(self, modality: str, shape: tuple[int, ...]) -> bool:
        """Say whether it may change a modality whose samples are of a shape; else it is as ever."""
        return True

    def problem(self, modalities: Mapping[str, Modality]) -> tuple[str, str] | None:
        """Return (parameter, what is wrong and what was expected) if the options make no sense.

        Args:
            modalities: those of the store.
        """
        return None

    @abstractmethod
    def __call__(
        self, inputs: Inputs, labels: Tensor, generator: torch.Generator
    ) -> tuple[Inputs, Tensor]:
        """Return the changed batch.

        Args:
            inputs: modality → [batch, *shape] float, in the units of the store.
            labels: [batch] or [batch, height, width] int64.
            generator: on the CPU; the only source of randomness. What is drawn for one modality
                may not depend on which others are given, unless they are `together`.
        """


@dataclass(frozen=True)
class OfModalities(Augmentation):
    """Changes the modalities that it names.

    Attributes:
        modalities: which.
    """

    modalities: tuple[str, ...] = ()

    def touches(self, modality: str, shape: tuple[int, ...]) -> bool:
        """Those that it names."""
        return modality in self.modalities

    def problem(self, modalities: Mapping[str, Modality]) -> tuple[str, str] | None:
        """Refuse none, and names that the store does not have."""
        if not self.modalities:
            return "modalities", f"is empty, expected some of {', '.join(modalities)}"
        return unknown_names(self.modalities, modalities)


@dataclass(frozen=True)
class OfMaps(Augmentation):
    """Moves the pixels of maps, of a sample all alike.

    Attributes:
        modalities: which maps; () for all. Dense labels go along, so that they want all.
    """

    modalities: tuple[str, ...] = field(default=(), kw_only=True)

    def touches(self, modality: str, shape: tuple[int, ...]) -> bool:
        """Maps alone, those that it names."""
        return len(shape) == 3 and (not self.modalities or modality in self.modalities)

    def problem(self, modalities: Mapping[str, Modality]) -> tuple[str, str] | None:
        """Refuse names that the store does not have, and what is no map or is padded."""
        if wrong := unknown_names(self.modalities, modalities):
            return wrong
        for name in self.modalities:
            if len(modalities[name].shape) != 3:
                return "modalities", f"names '{name}', expected maps, channels×height×width"
        return padded(n for n, m in modalities.items() if m.varying and self.touches(n, m.shape))


def unknown_names(
    named: Iterable[str], modalities: Mapping[str, Modality]
) -> tuple[str, str] | None:
    """Refuse names of modalities that the store does not have."""
    for name in named:
        if name not in modalities:
            return "modalities", f"names '{name}'{nearest(name, modalities)}"
    return None


def padded(varying: Iterable[str]) -> tuple[str, str] | None:
    """Refuse to move the pixels of maps that are padded: what is not there would move along."""
    for name in varying:
        return "modalities", (
            f"include '{name}', whose samples differ in length, so that padding would move into "
            "them; expected the names of other maps"
        )
    return None


@gin.configurable("augmentation", module="mstgraph")
@dataclass(frozen=True)
class Augmentations(Augmentation):
    """Augmentations one after the other, anew for each batch or in fixed views.

    Bound in gin under the name ``augmentation``: ``data.augmentation = @augmentation()``.

    Attributes:
        of: the augmentations, ``(@HorizontalFlip(), @Crop())``.
        views: how many fixed views of each sample there are. What teachers answer to a view never
            changes, so that it is computed once and kept, for as many times the bytes. An epoch
            sees one view of each sample, the next epoch the next. None draws a new one each time.
    """

    of: tuple[Augmentation, ...] = ()
    views: int | None = None

    @property
    def together(self) -> tuple[str, ...]:  # type: ignore[override]
        """All that any of them needs."""
        return tuple(dict.fromkeys(name for each in self.of for name in each.together))

    def touches(self, modality: str, shape: tuple[int, ...]) -> bool:
        """Say whether any of them does."""
        return any(each.touches(modality, shape) for each in self.of)

    def problem(self, modalities: Mapping[str, Modality]) -> tuple[str, str] | None:
        """Refuse none, views that are none, and what one of them refuses."""
        if not self.of:
            return "of", "is empty, expected augmentations, (@HorizontalFlip(), @Crop())"
        if self.views is not None and self.views < 1:
            return "views", f"is {self.views}, expected at least 1, or None"
        for each in self.of:
            if each.views is not None:
                return "of", "holds augmentations with views of their own, expected views once"
            if wrong := each.problem(modalities):
                return "of", f"holds {type(each).__name__}, whose {wrong[0]} {wrong[1]}"
        return None

    def __call__(
        self, inputs: Inputs, labels: Tensor, generator: torch.Generator
    ) -> tuple[Inputs, Tensor]:
        """Return the batch after all of them, each with randomness of its own."""
        seed = drawn_seed(generator)
        for number, each in enumerate(self.of):
            own = torch.Generator().manual_seed(derive_seed(seed, number))
            inputs, labels = each(inputs, labels, own)
        return inputs, labels


def drawn_seed(generator: torch.Generator) -> int:
    """Return a seed that a generator draws, for generators of one's own."""
    return int(torch.randint(2**62, (), generator=generator))


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class HorizontalFlip(OfMaps):
    """Mirrors all maps of a sample together, and its dense labels.

    Attributes:
        probability: of a sample to be mirrored.
        negated: modalities whose first channel changes its sign in a mirror (surface normals).
        modalities: which maps, see `OfMaps`.
    """

    probability: float = 0.5
    negated: tuple[str, ...] = ("normals",)

    def problem(self, modalities: Mapping[str, Modality]) -> tuple[str, str] | None:
        """Refuse what is no probability."""
        if not 0 <= self.probability <= 1:
            return "probability", f"is {self.probability}, expected 0 to 1"
        return super().problem(modalities)

    def __call__(
        self, inputs: Inputs, labels: Tensor, generator: torch.Generator
    ) -> tuple[Inputs, Tensor]:
        """Return the batch with some samples mirrored."""
        mirrored = torch.rand(len(labels), generator=generator) < self.probability
        mirrored = mirrored.to(labels.device)
        changed = {name: self._mirror(name, values, mirrored) for name, values in inputs.items()}
        return changed, _flip(labels, mirrored) if labels.dim() == 3 else labels

    def _mirror(self, name: str, values: Tensor, mirrored: Tensor) -> Tensor:
        if not self.touches(name, tuple(values.shape[1:])):
            return values
        values = _flip(values, mirrored)
        if name in self.negated:
            values = values.clone()
            values[:, 0] = torch.where(mirrored[:, None, None], -values[:, 0], values[:, 0])
        return values


def _flip(values: Tensor, mirrored: Tensor) -> Tensor:
    where = mirrored.reshape(-1, *[1] * (values.dim() - 1))
    return torch.where(where, values.flip(-1), values)
