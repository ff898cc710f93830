"""Augmentations of maps: a window of them, and any transform of torchvision."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import gin
import torch
from torch import Tensor
from torch.nn import functional as F

from mstgraph.data.augmentation import Inputs, OfMaps, OfModalities, drawn_seed, padded
from mstgraph.store.recipe import Modality
from mstgraph.support.errors import UserError, nearest
from mstgraph.support.seeds import derive_seed, seed_torch

LIBRARY = "torchvision.transforms.v2"


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class Crop(OfMaps):
    """Takes a window of all maps of a sample, the same one, and enlarges it to their size.

    Dense labels are cropped along.

    Attributes:
        least: side of the smallest window, as a share of the map's; each is drawn evenly up to 1.
        nearest: modalities whose values may not be mixed (0 for missing), as labels may not.
        modalities: which maps, see `OfMaps`.
    """

    least: float = 0.7
    nearest: tuple[str, ...] = ("depth", "normals")

    def problem(self, modalities: Mapping[str, Modality]) -> tuple[str, str] | None:
        """Refuse a window that is none."""
        if not 0 < self.least <= 1:
            return "least", f"is {self.least}, expected a share of the side above 0 and up to 1"
        return super().problem(modalities)

    def __call__(
        self, inputs: Inputs, labels: Tensor, generator: torch.Generator
    ) -> tuple[Inputs, Tensor]:
        """Return the batch with a window of each sample in its place."""
        side = self.least + (1 - self.least) * torch.rand(len(labels), generator=generator)
        middle = (1 - side)[:, None] * (2 * torch.rand(len(labels), 2, generator=generator) - 1)
        # [x', y'] = side · [x, y] + middle, in coordinates from -1 to 1 between the outer edges.
        window = torch.cat([torch.diag_embed(side[:, None].expand(-1, 2)), middle[..., None]], 2)
        changed = {
            name: self._cropped(values, window, name in self.nearest)
            if self.touches(name, tuple(values.shape[1:]))
            else values
            for name, values in inputs.items()
        }
        if labels.dim() == 3:
            labels = self._cropped(labels[:, None].double(), window, True)[:, 0].to(labels.dtype)
        return changed, labels

    @staticmethod
    def _cropped(values: Tensor, window: Tensor, nearest: bool) -> Tensor:
        grid = F.affine_grid(window.to(values), list(values.shape), align_corners=False)
        mode = "nearest" if nearest else "bilinear"
        return F.grid_sample(values, grid, mode, padding_mode="border", align_corners=False)


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class Transforms(OfModalities):
    """Transforms of torchvision (``torchvision.transforms.v2``), one after the other.

    The maps of a sample, and its dense labels with ``labels``, go through them together: a window
    or a mirror is the same for all.

    Attributes:
        modalities: which maps.
        of: names with their options, ``(('RandomCrop', {'size': 32, 'padding': 4}),)``.
        largest: a map's values are divided by it on the way in, and multiplied on the way out, as
            the transforms of colours take values from 0 to 1: 255 for pictures of eight bits.
        labels: whether dense labels are transformed along: True for all that moves pixels.
    """

    of: tuple[tuple[str, Mapping[str, Any]], ...] = ()
    largest: float = 255.0
    labels: bool = False

    @property
    def together(self) -> tuple[str, ...]:  # type: ignore[override]
        """All its modalities: a transform may draw for one after the other."""
        return self.modalities

    def problem(self, modalities: Mapping[str, Modality]) -> tuple[str, str] | None:
        """Refuse names of modalities and transforms that do not exist, and maps that do not fit."""
        if wrong := super().problem(modalities):
            return wrong
        if wrong := padded(name for name in self.modalities if modalities[name].varying):
            return wrong
        if not self.of:
            return "of", "is empty, expected some"
        if not self.largest > 0:
            return "largest", f"is {self.largest}, expected more than 0"
        shapes = {name: (1, *modalities[name].shape) for name in self.modalities}
        try:
            inputs = {name: torch.zeros(shape) for name, shape in shapes.items()}
            self(inputs, torch.zeros(1), torch.Generator())
        except UserError:
            raise
        except Exception as error:  # whatever a transform raises on maps that do not fit it
            reason = str(error).partition("\n")[0]
            return "of", (
                f"cannot transform {', '.join(self.modalities)} together ({reason}); expected "
                "others, or a Transforms for each kind of maps, (@a/Transforms(), @b/Transforms())"
            )
        return None

    def __call__(
        self, inputs: Inputs, labels: Tensor, generator: torch.Generator
    ) -> tuple[Inputs, Tensor]:
        """Return the batch, each sample transformed with randomness of its own."""
        names, seed = [name for name in self.modalities if name in inputs], drawn_seed(generator)
        transforms, kinds = self._built, _import("torchvision.tv_tensors")
        dense = self.labels and labels.dim() == 3
        # A transform may draw where its maps are; what the run draws there goes on afterwards.
        places = [labels.device] if labels.is_cuda else []
        found = []
        for row in range(len(labels)):
            given = [kinds.Image(inputs[name][row] / self.largest) for name in names]
            if dense:
                given.append(kinds.Mask(labels[row]))
            with torch.random.fork_rng(devices=places):
                seed_torch(derive_seed(seed, row))
                for transform in transforms:
                    given = list(transform(*given)) if len(given) > 1 else [transform(*given)]
            found.append([values.as_subclass(Tensor) for values in given])
        stacked = [torch.stack(values) for values in zip(*found, strict=True)]
        changed = {n: v * self.largest for n, v in zip(names, stacked, strict=False)}
        return {**inputs, **changed}, stacked[-1] if dense else labels

    @cached_property
    def _built(self) -> list[Any]:
        """Return the transforms; UserError for a name or option that torchvision does not know."""
        library = _import(LIBRARY)
        known = [name for name in dir(library) if name[0].isupper()]
        built = []
        for name, options in self.of:
            if name not in known:
                raise UserError(
                    f"Transforms.of names '{name}', which {LIBRARY} does not have"
                    f"{nearest(name, known)}"
                )
            try:
                built.append(getattr(library, name)(**options))
            except (TypeError, ValueError) as error:
                reason = str(error).partition("\n")[0]
                raise UserError(f"torchvision's {name} refuses its options: {reason}") from error
        return built


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(
            "the augmentation Transforms needs torchvision: pip install torchvision, of the "
            "version that belongs to this torch"
        ) from error
