"""The records of a column: each is compared with its checksum once, before it is used."""

from __future__ import annotations

import numpy as np

from mstgraph.store.layout import Column, record_key
from mstgraph.store.mapped.environment import Environment
from mstgraph.support.errors import UserError

DAMAGED = "its file is damaged: copy it anew, or prepare the store again"

_NONE = np.empty(0, np.int64)


class Records:
    """Finds the records of samples; keeps its environment alive for as long as it holds views.

    Args:
        environment: the file.
        column: the column.
        advice: what to do about a damaged record, the end of a sentence.
    """

    def __init__(self, environment: Environment, column: Column, advice: str = DAMAGED) -> None:
        self.environment = environment
        self.column = column
        self._advice = advice
        self._sound = np.zeros(column.records, bool)
        self._all_sound = False

    def begin_checking(self, indices: np.ndarray) -> None:
        """Compare the records of samples (int64 [batch]) in the background, if they are new."""
        unknown = self._unknown(indices)
        if len(unknown):
            keys = [record_key(record) for record in unknown.tolist()]
            self.environment.begin_checking(self.column.name, keys)

    def check(self, indices: np.ndarray) -> None:
        """Compare the records of samples (int64 [batch]) that are read for the first time.

        Raises:
            UserError: one does not match its checksum.
        """
        unknown = self._unknown(indices)
        if not len(unknown):
            return
        keys = [record_key(record) for record in unknown.tolist()]
        wrong = self.environment.damaged(self.column.name, keys)
        if wrong:
            raise self.damaged(int.from_bytes(wrong[0], "big"), "does not match its checksum")
        self._sound[unknown] = True
        self._all_sound = bool(self._sound.all())

    def value(self, record: int) -> memoryview:
        """Return the bytes of a record, a view on the map; UserError if it is missing."""
        found = self.environment.value(self.column.name, record_key(record))
        if found is None:
            raise self.damaged(record, "is missing")
        return found

    def damaged(self, record: int, how: str) -> UserError:
        """Return what to say of a damaged record."""
        samples = self.column.samples(record)
        return UserError(
            f"the record of samples {samples.start} to {samples.stop - 1} of "
            f"'{self.column.name}' {how}; {self._advice}"
        )

    def _unknown(self, indices: np.ndarray) -> np.ndarray:
        """Return the records of some rows that were not compared with their checksums yet."""
        if self._all_sound:
            return _NONE
        records = indices // self.column.samples_per_record
        return np.unique(records[~self._sound[records]])
