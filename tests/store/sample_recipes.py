"""Recipes that the store's tests build from."""

# ruff: noqa: D102
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mstgraph.store.recipe import Labels, Modality, Recipe


@dataclass
class Vectors(Recipe):
    """A map and a vector per sample, three classes; ``changes`` overwrites entries of a sample."""

    length: int = 40
    seed: int = 0
    raw: Path | None = None
    fail_at: int = field(default=-1, init=False)
    changes: dict[int, dict[str, object]] = field(default_factory=dict, init=False)
    splits: dict[str, dict[str, list[int]]] = field(default_factory=dict, init=False)

    title = "test vectors"
    source = "drawn at random"
    licence = "none"
    synthetic = "random numbers"

    def modalities(self) -> tuple[Modality, ...]:
        return (
            Modality("rgb", "uint8", (3, 4, 5), 1 / 255),
            Modality("audio", "float32", (7,), 2.0, "Pa"),
        )

    def labels(self) -> Labels:
        return Labels("classification", ("cat", "dog", "owl"), ignored=-1)

    def __len__(self) -> int:
        return self.length

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        if index == self.fail_at:
            raise KeyboardInterrupt
        draw = np.random.RandomState(1000 * self.seed + index)
        sample = {
            "rgb": draw.randint(0, 256, (3, 4, 5)).astype(np.uint8),
            "audio": draw.standard_normal(7).astype(np.float32) + 100,
            "label": np.array(index % 3),
        }
        sample.update(self.changes.get(index, {}))
        return {name: value for name, value in sample.items() if value is not None}

    def identifier(self, index: int) -> str:
        return f"clip{index:03d}"

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        return self.splits

    def raw_files(self) -> tuple[Path, ...]:
        return () if self.raw is None else (self.raw,)


@dataclass
class Maps(Recipe):
    """Segmentation with samples large enough for a record of their own; class 2 is never seen."""

    length: int = 6
    size: tuple[int, int] = (480, 640)

    title = "test maps"
    source = "drawn at random"
    licence = "none"
    synthetic = "random maps"

    def modalities(self) -> tuple[Modality, ...]:
        return (
            Modality("rgb", "uint8", (3, *self.size)),
            Modality("depth", "uint16", (1, *self.size), 0.001, "m"),
        )

    def labels(self) -> Labels:
        return Labels("segmentation", ("wall", "floor", "door"), ignored=255, shape=self.size)

    def __len__(self) -> int:
        return self.length

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        draw = np.random.RandomState(index)
        label = draw.randint(0, 2, self.size).astype(np.uint8)
        label[0] = 255
        return {
            "rgb": draw.randint(0, 256, (3, *self.size)).astype(np.uint8),
            "depth": draw.randint(0, 9000, (1, *self.size)).astype(np.uint16),
            "label": label,
        }


def column(recipe: Recipe, name: str) -> np.ndarray:
    """Return all samples of one modality, straight from the recipe."""
    return np.stack([recipe.sample(index)[name] for index in range(len(recipe))])
