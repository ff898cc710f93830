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
        numbers = self._numbers(indices)
        ordered = bool((numbers[1:] >= numbers[:-1]).all())
        order = slice(None) if ordered else np.argsort(numbers, kind="stable")
        found = out if ordered else np.empty_like(out)
        for file, own, rows in self._divided(indices[order], numbers[order]):
            file.read(own, found[rows])
        if not ordered:
            whole = f"V{out.shape[1]}"
            out.view(whole)[order] = found.view(whole)

    def will_need(self, indices: np.ndarray) -> None:
        """Have the pages of rows ``indices`` (int64 [batch]) fetched in the background."""
        numbers = self._numbers(indices)
        order = np.argsort(numbers, kind="stable")
        for file, own, _ in self._divided(indices[order], numbers[order]):
            file.will_need(own)

    def _numbers(self, indices: np.ndarray) -> np.ndarray:
        """Return which file holds each row."""
        return np.searchsorted(self._ends, indices, side="right")

    def _divided(
        self, indices: np.ndarray, numbers: np.ndarray
    ) -> Iterator[tuple[Rows, np.ndarray, slice]]:
        """Yield each file that holds some rows, their numbers in it, their places.

        Args:
            indices: the rows, those of each file together.
            numbers: which file each is of, ascending.
        """
        own = indices - self._firsts[numbers]
        first = 0
        for number, count in enumerate(np.bincount(numbers).tolist()):
            if count:
                rows = slice(first, first + count)
                yield self._files[number](), own[rows], rows
                first += count
