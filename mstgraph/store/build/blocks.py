"""Samples on their way from a recipe to the store: checked, and put into the rows of a block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mstgraph.store.build.checks import SampleChecker
from mstgraph.store.declared import Declared
from mstgraph.store.layout import LENGTHS, Column
from mstgraph.store.recipe import Recipe


class Block:
    """Room for consecutive samples.

    Attributes:
        samples: which they are.
        arrays: column → [samples, *shape] as stored.
        identifiers: how messages name them.
    """

    def __init__(self, columns: Sequence[Column], samples: range) -> None:
        self.samples = samples
        self.arrays = {
            column.name: np.empty((len(samples), *column.shape), column.stored_dtype)
            for column in columns
        }
        self.identifiers = [""] * len(samples)

    def rows(self, samples: range) -> slice:
        """Return where some of its samples are."""
        return slice(samples.start - self.samples.start, samples.stop - self.samples.start)


class Samples:
    """The samples of a recipe, read one by one; who reads them makes no difference.

    Args:
        recipe: whose they are.
        declared: what it declares.
        columns: as they are stored.
    """

    def __init__(self, recipe: Recipe, declared: Declared, columns: Sequence[Column]) -> None:
        self.recipe = recipe
        self.declared = declared
        self.columns = columns
        self._checker = SampleChecker(recipe, declared)

    def put(self, index: int, block: Block) -> None:
        """Read sample ``index`` into its row; zeros in the place of what it lacks.

        Raises:
            UserError: see `SampleChecker.read`.
        """
        row, sample = index - block.samples.start, self._checker.read(index)
        lengths = []
        for item in self.declared.modalities:
            if not item.complete:
                length = sample[item.name].shape[-1] if item.name in sample else 0
                block.arrays[item.name][row] = 0
                lengths.append(length)
                if length:
                    block.arrays[item.name][row, ..., :length] = sample.pop(item.name)
        if lengths:
            block.arrays[LENGTHS][row] = lengths
        for name, value in sample.items():
            block.arrays[name][row] = value
        block.identifiers[row] = self._checker.identifier(index)
