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

from mstgraph.store.layout import Column, record_key
from mstgraph.store.mapped.environment import Environment
from mstgraph.support.errors import UserError

PAGE = 4096  # records on pages of their own start at one offset modulo this
PIECES = 16  # a row is copied as at most this many pieces of one take
ROW_BYTES = 8192  # from here on copying row by row beats sorting by record
DAMAGED = "its file is damaged: copy it anew, or prepare the store again"

_NONE = np.empty(0, np.int64)


class Gather:
    """Reads rows of one column; keeps its environment alive for as long as it holds views."""

    def __init__(self, environment: Environment, column: Column, advice: str = DAMAGED) -> None:
        """Read rows of a column.

        Args:
            environment: the file.
            column: the column.
            advice: what to do about a damaged record, the end of a sentence.
        """
        self._environment = environment
        self._advice = advice
        self.column = column
        self._sound = np.zeros(column.records, bool)
        self._all_sound = False
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
        self._check(indices)
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
        unknown = self._unknown(indices)
        if len(unknown):
            keys = [record_key(record) for record in unknown.tolist()]
            self._environment.begin_checking(self.column.name, keys)
        if self._records:
            records, rows = np.divmod(indices, self.column.samples_per_record)
            starts = self._addresses[records] + rows * self.column.row_bytes
        else:
            starts = _addresses([self._rows(index) for index in indices.tolist()])
        self._environment.will_need(starts, self.column.row_bytes)

    def _unknown(self, indices: np.ndarray) -> np.ndarray:
        """Return the records of some rows that were not compared with their checksums yet."""
        if self._all_sound:
            return _NONE
        records = indices // self.column.samples_per_record
        return np.unique(records[~self._sound[records]])

    def _check(self, indices: np.ndarray) -> None:
        unknown = self._unknown(indices)
        if not len(unknown):
            return
        keys = [record_key(record) for record in unknown.tolist()]
        wrong = self._environment.damaged(self.column.name, keys)
        if wrong:
            samples = self.column.samples(int.from_bytes(wrong[0], "big"))
            raise UserError(
                f"the record of samples {samples.start} to {samples.stop - 1} of "
                f"'{self.column.name}' does not match its checksum; {self._advice}"
            )
        self._sound[unknown] = True
        self._all_sound = bool(self._sound.all())

    def _rows(self, record: int) -> np.ndarray:
        value = self._environment.value(self.column.name, record_key(record))
        samples = self.column.samples(record)
        if value is None or len(value) != len(samples) * self.column.row_bytes:
            raise UserError(
                f"the record of samples {samples.start} to {samples.stop - 1} of "
                f"'{self.column.name}' is {'missing' if value is None else 'of a wrong size'}; "
                f"{self._advice}"
            )
        return np.frombuffer(value, np.uint8).reshape(len(samples), -1)

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
