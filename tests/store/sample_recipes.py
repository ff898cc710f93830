"""Recipes that the store's tests build from."""

# ruff: noqa: D102
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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


class Clips(Recipe):
    """What recipes of 42 pictures declare, and of sounds that some lack and others have less of."""

    title, source, licence, synthetic = "drawn", "drawn at random", "none", "random numbers"

    def modalities(self) -> tuple[Modality, ...]:
        return (
            Modality("rgb", "uint8", (3, 4, 5)),
            Modality("audio", "float32", (2, 7), optional=True, varying=True),
        )

    def labels(self) -> Labels:
        return Labels("classification", ("cat", "dog"))

    def __len__(self) -> int:
        return 42

    def identifier(self, index: int) -> str:
        return f"clip{index}"


def column(recipe: Recipe, name: str) -> np.ndarray:
    """Return all samples of one modality, straight from the recipe."""
    return np.stack([recipe.sample(index)[name] for index in range(len(recipe))])


@dataclass
class Listed(Vectors):
    """Samples by the numbers in a file, one a line; a second word is its part of the split."""

    length: int = 0

    @cached_property
    def rows(self) -> list[list[str]]:
        assert self.raw is not None
        return [line.split() for line in self.raw.read_text().splitlines()]

    def labels(self) -> Labels:
        return Labels("classification", ("cat", "dog", "owl"), unknown=-1)

    def __len__(self) -> int:
        return len(self.rows)

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        number = int(self.rows[index][0])
        label = np.array(-1 if number % 5 == 4 else number % 3)
        return {**super().sample(number), "label": label}

    def identifier(self, index: int) -> str:
        return f"clip{self.rows[index][0]}"

    def official_splits(self) -> Mapping[str, Mapping[str, Sequence[int]]]:
        parts: dict[str, list[int]] = {}
        for place, row in enumerate(self.rows):
            for part in row[1:]:
                parts.setdefault(part, []).append(place)
        return {"own": parts} if parts else {}


def lines(numbers: Sequence[int], part: Callable[[int], str] = lambda number: "") -> str:
    """Return what `Listed` reads."""
    return "".join(f"{number} {part(number)}\n" for number in numbers)


def listed(raw: Path) -> Callable[[Mapping[str, object]], Listed]:
    """Return what loads a recipe for `append`."""
    return lambda options: Listed(raw=raw, seed=int(str(options["seed"])))
