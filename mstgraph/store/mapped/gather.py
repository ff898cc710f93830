"""Gathering the samples of a batch from the map into one array, without a loop where possible.

Rows are copied straight from LMDB's pages. Which way is fastest depends on the size of a row; the
bounds below were measured, see ``tools/bench_store.py``.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mstgraph.store.layout import Column
from mstgraph.store.mapped.environment import Environment
from mstgraph.store.mapped.records import DAMAGED, Records

PAGE = 4096  # records on pages of their own start at one offset modulo this
PIECES = 16  # a row is copied as at most this many pieces of one take
ROW_BYTES = 8192  # from here on copying row by row beats sorting by record


class Gather:
    """Reads rows of one column; keeps its environment alive for as long as it holds views.

    Args:
        environment: the file.
        column: the column.
        advice: what to do about a damaged record, the end of a sentence.
    """

    def __init__(self, environment: Environment, column: Column, advice: str = DAMAGED) -> None:
        self.column = column
        self._checked = Records(environment, column, advice)
        self._records: list[np.ndarray] = []
        self._pieces: _Pieces | None = None
        self._addresses = np.empty(0, np.int64)
        if column.samples_per_record > 1:
            self._records = [self._rows(record) for record in range(column.records)]
            self._pieces = _Pieces.over(self._records, column.row_bytes)
            self._addresses = _addresses(self._records)

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Copy rows ``indices`` (int64 [batch]) to ``out``, uint8 [batch, row bytes].

        Raises:
            UserError: a record that is read for the first time does not match its checksum.
        """
        self._checked.check(indices)
        if self._pieces is not None and len(indices):
            self._pieces.read(*np.divmod(indices, self.column.samples_per_record), out)
        elif self.column.samples_per_record == 1:
            for row, index in enumerate(indices.tolist()):
                out[row] = self._rows(index)[0]
        elif self.column.row_bytes >= ROW_BYTES:
            self._read_rows(indices, out)
        else:
            self._read_by_record(indices, out)

    def will_need(self, indices: np.ndarray) -> None:
        """Have the pages of rows ``indices`` (int64 [batch]) fetched in the background.

        Records that were not read before are compared with their checksums on the way.
        """
        self._checked.begin_checking(indices)
        if self._records:
            records, rows = np.divmod(indices, self.column.samples_per_record)
            starts = self._addresses[records] + rows * self.column.row_bytes
        else:
            starts = _addresses([self._rows(index) for index in indices.tolist()])
        self._checked.environment.will_need(starts, self.column.row_bytes)

    def _rows(self, record: int) -> np.ndarray:
        value, samples = self._checked.value(record), len(self.column.samples(record))
        if len(value) != samples * self.column.row_bytes:
            raise self._checked.damaged(record, "is of a wrong size")
        return np.frombuffer(value, np.uint8).reshape(samples, -1)

    def _read_rows(self, indices: np.ndarray, out: np.ndarray) -> None:
        records, rows = np.divmod(indices, self.column.samples_per_record)
        views = self._records
        found = [views[r][i] for r, i in zip(records.tolist(), rows.tolist(), strict=True)]
        if found:
            np.concatenate(found, out=out.reshape(-1))

    def _read_by_record(self, indices: np.ndarray, out: np.ndarray) -> None:
        whole = f"V{self.column.row_bytes}"
        target = out.view(whole).reshape(-1)
        records, rows = np.divmod(indices, self.column.samples_per_record)
        order = np.argsort(records, kind="stable")
        records, rows = records[order], rows[order]
        cuts = [0, *(np.flatnonzero(np.diff(records)) + 1).tolist(), len(order)]
        for first, last in pairwise(cuts):
            if first < last:
                view = self._records[records[first]].view(whole).reshape(-1)
                target[order[first:last]] = np.take(view, rows[first:last])


def _addresses(views: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([view.ctypes.data for view in views], np.int64)


class _Pieces:
    """All records of a column seen as one array of equal pieces, so that one take reads a batch.

    Records lie anywhere in the map but start at one offset modulo the page size: with a piece that
    divides both page and row, every row is a run of pieces, whichever record it is in.
    """

    def __init__(self, pieces: np.ndarray, starts: np.ndarray, per_row: int) -> None:
        self._pieces = pieces
        self._starts = starts
        self._run = np.arange(per_row)

    @classmethod
    def over(cls, records: list[np.ndarray], row_bytes: int) -> _Pieces | None:
        """Return the view over ``records``, or None where a row would be too many pieces."""
        size = row_bytes if len(records) == 1 else math.gcd(row_bytes, PAGE)
        addresses = _addresses(records)
        first = int(addresses.min())
        if row_bytes // size > PIECES or ((addresses - first) % size).any():
            return None
        end = max(record.ctypes.data + record.nbytes for record in records)
        # The records are views on one map, whose pages between them are readable too.
        memory = (ctypes.c_char * ((end - first) // size * size)).from_address(first)
        pieces = np.frombuffer(memoryview(memory), f"V{size}")
        return cls(pieces, (addresses - first) // size, row_bytes // size)

    def read(self, records: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
        """Copy row ``rows[i]`` of record ``records[i]`` to ``out[i]``."""
        first = self._starts[records] + rows * len(self._run)
        pieces = first if len(self._run) == 1 else (first[:, None] + self._run).reshape(-1)
        target = out.reshape(-1).view(self._pieces.dtype)
        # "clip" because "raise" would copy to a buffer first; the indices are checked already.
        np.take(self._pieces, pieces, out=target, mode="clip")
