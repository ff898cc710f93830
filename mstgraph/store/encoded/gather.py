"""Reading samples that are stored as files: those of a batch are decoded side by side.

The thread that reads batches ahead (`mstgraph.data.streaming`) waits here, and nobody else does.
"""

from __future__ import annotations

import numpy as np

from mstgraph.store.encoded.decoding import decoded
from mstgraph.store.encoded.records import place
from mstgraph.store.layout import Column
from mstgraph.store.mapped.environment import Environment
from mstgraph.store.mapped.records import Records
from mstgraph.store.recipe import Modality
from mstgraph.support.errors import UserError
from mstgraph.support.machine.cores import cores
from mstgraph.support.machine.threads import own_threads


class Decoding:
    """Reads rows of one column of encoded samples, as `mstgraph.store.mapped.gather.Gather` does.

    Args:
        environment: the file.
        column: the column.
        item: how the modality is declared.
    """

    def __init__(self, environment: Environment, column: Column, item: Modality) -> None:
        self.column = column
        self._item = item
        self._checked = Records(environment, column)

    def read(self, indices: np.ndarray, out: np.ndarray) -> None:
        """Decode rows ``indices`` (int64 [batch]) to ``out``, uint8 [batch, row bytes].

        Raises:
            UserError: a record does not match its checksum, or the library that decodes is missing.
        """
        self._checked.check(indices)
        rows = out.view(self.column.stored_dtype).reshape(len(indices), *self.column.shape)
        threads = own_threads("mstgraph-decoding", cores)
        list(threads.map(self._decode, indices.tolist(), rows))

    def will_need(self, indices: np.ndarray) -> None:
        """Have the pages of rows ``indices`` (int64 [batch]) fetched in the background."""
        self._checked.begin_checking(indices)
        files = [np.frombuffer(self._file(index), np.uint8) for index in indices.tolist()]
        starts = np.array([file.ctypes.data for file in files], np.int64)
        sizes = np.array([len(file) for file in files], np.int64)
        self._checked.environment.will_need(starts, sizes)

    def _decode(self, index: int, row: np.ndarray) -> None:
        _fill(self._item, f"sample {index} of '{self._item.name}'", self._file(index), row)

    def _file(self, index: int) -> memoryview:
        record, row = divmod(index, self.column.samples_per_record)
        value = self._checked.value(record)
        try:
            first, last = place(value, len(self.column.samples(record)), row)
        except ValueError as error:
            raise self._checked.damaged(record, "makes no sense") from error
        return value[first:last]


def _fill(item: Modality, where: str, content: bytes | memoryview, row: np.ndarray) -> None:
    """Put a decoded sample into its row, [*shape]; zeros in the place of what it lacks.

    Raises:
        UserError: it cannot be decoded, or comes out in another shape than when it was stored.
    """
    if not len(content):
        row[...] = 0
        return
    values = decoded(item, where, content)
    length = values.shape[-1]
    if values.shape[:-1] != row.shape[:-1] or not (
        length == row.shape[-1] or (item.varying and length < row.shape[-1])
    ):
        raise UserError(
            f"{where} is decoded to another shape than when it was stored; expected the library "
            "that it was prepared with"
        )
    row[..., :length] = values
    row[..., length:] = 0
