"""Samples of a recipe that is read in chunks: each opened once, and gone through in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mstgraph.store.recipe import Recipe
from mstgraph.support.seeds import derive_seed, seed_python

_END = object()

Sample = Mapping[str, Any]


class InOrder:
    """Reads samples by their numbers, as long as each is a later one.

    What lies between two of them is passed over, whole chunks without being opened.

    Args:
        recipe: whose chunks they are.
    """

    def __init__(self, recipe: Recipe) -> None:
        self._chunks = recipe.chunks()
        self._bounds = Bounds([chunk.samples for chunk in self._chunks])
        self._number = -1
        self._samples: Iterator[Sample] = iter(())
        self._next = 0

    def sample(self, index: int) -> Sample:
        """Return sample ``index``.

        Raises:
            ValueError: its chunk holds less, or more, than it should.
        """
        number = self._bounds.chunk_of(index)
        if number != self._number:
            self._number, self._next = number, self._bounds.starts[number]
            _seed(self._next)
            self._samples = iter(self._chunks[number].read())
        found: Any = _END
        while self._next <= index:
            _seed(self._next)
            found = next(self._samples, _END)
            if found is _END:
                raise ValueError(
                    f"chunk {number} ends after {self._next - self._bounds.starts[number]} "
                    f"samples; expected {self._chunks[number].samples}"
                )
            self._next += 1
        if found is _END:
            raise ValueError(f"chunk {number} was read beyond sample {index} already")
        if self._next == self._bounds.stops[number] and next(self._samples, _END) is not _END:
            raise ValueError(
                f"chunk {number} goes on after {self._chunks[number].samples} samples; expected "
                "no more"
            )
        sample: Sample = found
        return sample


def _seed(index: int) -> None:
    """What is drawn for a sample depends on its number, whether or not it was passed over to."""
    seed_python(derive_seed(0, "sample", index))


class Bounds:
    """Where chunks of some sizes begin and end.

    Attributes:
        starts: number of the first sample of each.
        stops: number of the sample behind its last.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        self._stops = np.cumsum(sizes)
        self.stops: list[int] = self._stops.tolist()
        self.starts = [0, *self.stops[:-1]]

    def chunk_of(self, index: int) -> int:
        """Return which chunk holds a sample."""
        return int(np.searchsorted(self._stops, index, side="right"))

    def cut(self, samples: range) -> list[range]:
        """Return samples in pieces of one chunk each."""
        found = []
        while samples:
            stop = min(samples.stop, self.stops[self.chunk_of(samples.start)])
            found.append(range(samples.start, stop))
            samples = range(stop, samples.stop)
        return found
