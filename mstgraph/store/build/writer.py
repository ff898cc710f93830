"""Writing ``data.mdb``: block by block, in one transaction each, with its checksums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from mstgraph.store.layout import (
    CHECKSUMS,
    CRCS,
    IDENTIFIER,
    OWN,
    PENDING,
    SPLITS,
    STATISTICS,
    Column,
    canonical,
    checksum_key,
    named_key,
    record_key,
)
from mstgraph.store.mapped.soundness import CHECKSUM_BYTES, checksum, crc
from mstgraph.store.moments import Statistics
from mstgraph.store.splits import Split
from mstgraph.support.errors import UserError

INITIAL_MAP = 64 * 1024 * 1024

Record = tuple[str, bytes, bytes | np.ndarray]


class Writer:
    """The writing side of a store's LMDB environment; a block is written whole or not at all."""

    def __init__(self, directory: Path, columns: Sequence[Column], block: int) -> None:
        self._columns = {column.name: column for column in columns}
        self._block = block
        self._directory = directory
        names = [*self._columns, IDENTIFIER, *OWN]
        # No lock file: the builder holds its own lock, and nobody reads a half-built store.
        self._environment = lmdb.open(
            str(directory), map_size=INITIAL_MAP, max_dbs=len(names), lock=False
        )
        try:
            self._databases = {name: self._environment.open_db(name.encode()) for name in names}
        except BaseException:
            self._environment.close()
            raise

    def close(self) -> None:
        """Close the environment; what was committed stays."""
        self._environment.close()

    @property
    def blocks(self) -> int:
        """Number of blocks committed so far."""
        with self._environment.begin() as transaction:
            return int(transaction.stat(self._databases[IDENTIFIER])["entries"])

    def write_block(
        self, number: int, arrays: Mapping[str, np.ndarray], identifiers: Sequence[str]
    ) -> None:
        """Commit block ``number``: arrays [samples, *shape] by column, and the samples' names."""
        records: list[Record] = [(IDENTIFIER, record_key(number), canonical(list(identifiers)))]
        joined: list[bytes] = []
        for name, array in arrays.items():
            column = self._columns[name]
            blocks = column.samples_per_record // self._block
            first = number - number % max(1, blocks)
            if blocks <= 1:
                records.extend(self._own_records(column, number, array))
            elif number + 1 == first + blocks or (number + 1) * self._block >= column.length:
                keys = [named_key(name, str(block)) for block in range(first, number)]
                record = record_key(first // blocks)
                records.append((name, record, self._join(keys, array)))
                joined.extend(keys)
            else:
                content = bytes(_bytes(array))
                pending = checksum(content) + content
                records.append((PENDING, named_key(name, str(number)), pending))
        self._put(records, joined)

    def _own_records(self, column: Column, number: int, array: np.ndarray) -> Iterator[Record]:
        size = column.samples_per_record
        first = number * self._block // size
        for offset in range(0, len(array), size):
            yield column.name, record_key(first + offset // size), array[offset : offset + size]

    def _join(self, keys: Sequence[bytes], last: np.ndarray) -> bytes:
        with self._environment.begin(db=self._databases[PENDING], buffers=True) as transaction:
            pending = [transaction.get(key, b"") for key in keys]
            for value in pending:
                if checksum(value[CHECKSUM_BYTES:]) != value[:CHECKSUM_BYTES]:
                    raise UserError(
                        f"{self._directory} is damaged: a block of samples does not match its "
                        "checksum; remove this folder to build the store from the beginning"
                    )
            return b"".join([*(value[CHECKSUM_BYTES:] for value in pending), _bytes(last)])

    def write_splits(self, splits: Mapping[str, Split]) -> None:
        """Commit every part of every split as little-endian int64."""
        self._put(
            [
                (SPLITS, named_key(name, part), ids.astype("<i8"))
                for name, split in splits.items()
                for part, ids in split.items()
            ]
        )

    def write_statistics(self, statistics: Mapping[tuple[str, str], Statistics]) -> None:
        """Commit the statistics of every (modality, split)."""
        self._put(
            [(STATISTICS, named_key(*names), found.packed()) for names, found in statistics.items()]
        )

    def records(self, column: Column) -> Iterator[tuple[range, np.ndarray]]:
        """Yield the samples of each record and their values, a view [samples, *shape]."""
        with self._environment.begin(buffers=True) as transaction:
            for record in range(column.records):
                value = transaction.get(record_key(record), db=self._databases[column.name])
                assert value is not None  # every block is committed by now
                yield column.samples(record), column.array(value, record)

    def checksums(self) -> list[tuple[bytes, bytes]]:
        """Return the key and checksum of every record, ordered by key."""
        with self._environment.begin() as transaction:
            return [(k, v) for k, v in transaction.cursor(self._databases[CHECKSUMS])]

    def _put(self, records: Sequence[Record], joined: Sequence[bytes] = ()) -> None:
        sums = [
            (checksum_key(name, key), checksum(_bytes(value)), crc(_bytes(value)))
            for name, key, value in records
            if name != PENDING
        ]
        while True:
            try:
                return self._put_once(records, sums, joined)
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])

    def _put_once(
        self,
        records: Sequence[Record],
        sums: Sequence[tuple[bytes, bytes, bytes]],
        joined: Sequence[bytes],
    ) -> None:
        with self._environment.begin(write=True) as transaction:
            for key in joined:
                transaction.delete(key, db=self._databases[PENDING])
            for name, key, value in records:
                transaction.put(key, _bytes(value), db=self._databases[name])
            for key, digest, short in sums:
                transaction.put(key, digest, db=self._databases[CHECKSUMS])
                transaction.put(key, short, db=self._databases[CRCS])


def _bytes(value: bytes | np.ndarray) -> Any:
    """Return a value as flat bytes, without a copy where it lies in one piece."""
    if isinstance(value, bytes):
        return value
    return np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
