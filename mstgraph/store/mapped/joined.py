"""Rows of a column that lie in several files, read as if they lay in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np


class Rows(Protocol):
    """Whatever reads the rows of a column in one file."""

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Copy rows ``indices`` (int64 [batch]) to ``out``, uint8 [batch, row bytes]."""

    def will_need(self, indices: np.ndarray) -> None:
        """Have the pages of rows ``indices`` (int64 [batch]) fetched in the background."""


class Joined:
    """Reads rows of one column, as `mstgraph.store.mapped.gather.Gather` does of one file.

    Args:
        lengths: how many rows each file has.
        files: opens the column of each, in this process; called whenever it is read.
    """

    def __init__(self, lengths: Sequence[int], files: Sequence[Callable[[], Rows]]) -> None:
        self._ends = np.cumsum(lengths)
        self._firsts = self._ends - lengths
        self._files = files

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Copy rows ``indices`` (int64 [batch]) to ``out``, uint8 [batch, row bytes].

        Raises:
            UserError: see `mstgraph.store.mapped.gather.Gather.read`.
        """
        for file, rows, own in self._divided(indices):
            if rows[-1] - rows[0] + 1 == len(rows):
                file.read(own, out[rows[0] : rows[-1] + 1])
                continue
            found = np.empty((len(rows), out.shape[1]), np.uint8)
            file.read(own, found)
            out[rows] = found

    def will_need(self, indices: np.ndarray) -> None:
        """Have the pages of rows ``indices`` (int64 [batch]) fetched in the background."""
        for file, _, own in self._divided(indices):
            file.will_need(own)

    def _divided(self, indices: np.ndarray) -> Iterator[tuple[Rows, np.ndarray, np.ndarray]]:
        """Yield each file that holds some rows, their places among ``indices``, their numbers."""
        numbers = np.searchsorted(self._ends, indices, side="right")
        for number in np.unique(numbers).tolist():
            places = np.flatnonzero(numbers == number)
            yield self._files[number](), places, indices[places] - self._firsts[number]
