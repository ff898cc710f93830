"""Samples on their way from a recipe to the store: checked, and put into the rows of a block."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mstgraph.store.build.reading.checks import Encoded, SampleChecker
from mstgraph.store.declared import Declared
from mstgraph.store.layout import LABEL, LENGTHS, Column
from mstgraph.store.moments import moments_of
from mstgraph.store.recipe import RAW, Recipe


class Block:
    """Room for consecutive samples.

    Attributes:
        samples: which they are.
        arrays: column → [samples, *shape] as stored.
        files: column of encoded samples → the content of a file each, empty where there is none.
        moments: the same column → [samples, 4, channels] float64, see
            `mstgraph.store.moments.SampleMoments.packed`; zeros where there is no file.
        identifiers: how messages name them.
    """

    def __init__(self, columns: Sequence[Column], samples: range) -> None:
        self.samples = samples
        self.arrays = {
            column.name: np.empty((len(samples), *column.shape), column.stored_dtype)
            for column in columns
            if column.encoding == RAW
        }
        encoded = [column for column in columns if column.encoding != RAW]
        self.files = {column.name: [b""] * len(samples) for column in encoded}
        self.moments = {
            column.name: np.zeros((len(samples), 4, column.shape[0])) for column in encoded
        }
        self.identifiers = [""] * len(samples)

    def filled(self) -> list[np.ndarray]:
        """Return all arrays that its samples fill, [samples, ...] each."""
        return [*self.arrays.values(), *self.moments.values()]

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
            given = sample.pop(item.name, None)
            values = given.array if isinstance(given, Encoded) else given
            if not item.complete:
                lengths.append(0 if values is None else values.shape[-1])
            if isinstance(given, Encoded):
                block.files[item.name][row] = given.content
                block.moments[item.name][row] = moments_of(given.array[None]).packed()[0]
            elif item.encoding == RAW:
                _fill(block.arrays[item.name][row], values)
        if lengths:
            block.arrays[LENGTHS][row] = lengths
        block.arrays[LABEL][row] = sample[LABEL]
        block.identifiers[row] = self._checker.identifier(index)


def _fill(row: np.ndarray, values: np.ndarray | None) -> None:
    if values is not None and values.shape == row.shape:
        row[...] = values
        return
    row[...] = 0
    if values is not None:
        row[..., : values.shape[-1]] = values
