"""Writing ``data.mdb``: block by block, in one transaction each, with its checksums."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lmdb
import numpy as np

from mstgraph.store.build.pending import Pending
from mstgraph.store.build.reading.blocks import Block
from mstgraph.store.encoded.records import joined
from mstgraph.store.layout import (
    IDENTIFIER,
    SPLITS,
    STATISTICS,
    Column,
    canonical,
    named_key,
    record_key,
    samples_together,
)
from mstgraph.store.mapped.soundness import CHECKSUMS, CRCS, checksum, checksum_key, crc
from mstgraph.store.moments import Statistics
from mstgraph.store.packed import packed_identifiers, packed_split
from mstgraph.store.splits import Split

OWN = (CHECKSUMS, CRCS, SPLITS, STATISTICS)  # databases without a column's records
INITIAL_MAP = 64 * 1024 * 1024


@dataclass(frozen=True)
class _Record:
    """A value and where it goes; ``content`` is what its checksum is of, if it is packed."""

    database: str
    key: bytes
    value: bytes | np.ndarray
    content: bytes | np.ndarray | None = None

    def sums(self) -> tuple[bytes, bytes]:
        """Return its checksum, and the CRC of what is stored."""
        stored = _bytes(self.value)
        content = stored if self.content is None else _bytes(self.content)
        return checksum(content), crc(stored)


class Writer:
    """The writing side of a store's LMDB environment; a block is written whole or not at all."""

    def __init__(self, directory: Path, columns: Sequence[Column], block: int) -> None:
        self._columns = {column.name: column for column in columns}
        self._block = block
        self._pending = Pending(directory)
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
        """Close the files; what was committed stays."""
        self._environment.close()
        self._pending.close()

    @property
    def blocks(self) -> int:
        """Number of blocks committed so far."""
        with self._environment.begin() as transaction:
            return int(transaction.stat(self._databases[IDENTIFIER])["entries"])

    def write_block(self, block: Block) -> None:
        """Commit a block: its samples as arrays or files, and their names."""
        number = block.samples.start // self._block
        records: list[_Record] = []
        for name, files in block.files.items():
            records.append(_Record(name, record_key(number), joined(files)))
            kept = np.zeros((self._block, *block.moments[name].shape[1:]))
            kept[: len(files)] = block.moments[name]
            self._pending.write(_moments(name), number, _bytes(kept))
        for name, array in block.arrays.items():
            column = self._columns[name]
            blocks = column.samples_per_record // self._block
            place = number % max(1, blocks)
            if blocks <= 1:
                records.extend(self._own_records(column, number, array))
            elif place + 1 == blocks or (number + 1) * self._block >= column.length:
                size = self._block * column.row_bytes
                content = b"".join([*self._pending.read(name, place, size), _bytes(array)])
                records.append(_Record(name, record_key(number // blocks), content))
            else:
                self._pending.write(name, place, _bytes(array))
        names = canonical(block.identifiers)
        packed = packed_identifiers(names, block.samples)
        records.append(_Record(IDENTIFIER, record_key(number), packed, names))
        self._put(records)

    def _own_records(self, column: Column, number: int, array: np.ndarray) -> Iterator[_Record]:
        size = column.samples_per_record
        first = number * self._block // size
        for offset in range(0, len(array), size):
            key = record_key(first + offset // size)
            yield _Record(column.name, key, array[offset : offset + size])

    def write_splits(self, splits: Mapping[str, Split], length: int) -> None:
        """Commit every part of every split; their checksums are of little-endian int64."""
        self._put(
            [
                _Record(SPLITS, named_key(name, part), packed_split(ids, length), ids.astype("<i8"))
                for name, split in splits.items()
                for part, ids in split.items()
            ]
        )

    def write_statistics(self, statistics: Mapping[tuple[str, str], Statistics]) -> None:
        """Commit the statistics of every (modality, split)."""
        self._put(
            [
                _Record(STATISTICS, named_key(*names), found.packed())
                for names, found in statistics.items()
            ]
        )

    def records(self, column: Column) -> Iterator[tuple[range, np.ndarray]]:
        """Yield the samples of each record and their values, a view [samples, *shape]."""
        with self._environment.begin(buffers=True) as transaction:
            for record in range(column.records):
                value = transaction.get(record_key(record), db=self._databases[column.name])
                assert value is not None  # every block is committed by now
                yield column.samples(record), column.array(value, record)

    def moments(self, column: Column) -> Iterator[tuple[range, np.ndarray]]:
        """Yield the moments of encoded samples, as many together as if they were arrays.

        Yields:
            Samples, and [samples, 4, channels] float64, see `Block.moments`.
        """
        together = samples_together(column.row_bytes, self._block, column.length)
        span, row = max(together, self._block), (4, column.shape[0])
        for first in range(0, column.length, span):
            samples = range(first, min(first + span, column.length))
            count, size = -(-len(samples) // self._block), 8 * self._block * math.prod(row)
            found = self._pending.read(_moments(column.name), count, size, first // self._block)
            values = np.frombuffer(b"".join(found)).reshape(-1, *row)[: len(samples)]
            for offset in range(0, len(samples), together):
                rows = slice(offset, offset + together)
                yield samples[rows], values[rows]

    def checksums(self) -> list[tuple[bytes, bytes]]:
        """Return the key and checksum of every record, ordered by key."""
        with self._environment.begin() as transaction:
            return [(k, v) for k, v in transaction.cursor(self._databases[CHECKSUMS])]

    def _put(self, records: Sequence[_Record]) -> None:
        sums = [record.sums() for record in records]
        while True:
            try:
                return self._put_once(records, sums)
            except lmdb.MapFullError:
                self._environment.set_mapsize(2 * self._environment.info()["map_size"])

    def _put_once(self, records: Sequence[_Record], sums: Sequence[tuple[bytes, bytes]]) -> None:
        with self._environment.begin(write=True) as transaction:
            for record, (digest, short) in zip(records, sums, strict=True):
                name = checksum_key(record.database, record.key)
                value = _bytes(record.value)
                transaction.put(record.key, value, db=self._databases[record.database])
                transaction.put(name, digest, db=self._databases[CHECKSUMS])
                transaction.put(name, short, db=self._databases[CRCS])


def _moments(column: str) -> str:
    """Return where moments wait that cannot be taken from what is stored."""
    return f"{column}.moments"


def _bytes(value: bytes | np.ndarray) -> Any:
    """Return a value as flat bytes, without a copy where it lies in one piece."""
    if isinstance(value, bytes):
        return value
    return np.ascontiguousarray(value).reshape(-1).view(np.uint8).data
