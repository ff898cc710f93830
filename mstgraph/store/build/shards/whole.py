"""What a store of shards says of itself: all that a store in one file would say of the samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from mstgraph.store.build.description import described, lengths_column
from mstgraph.store.build.job import Job
from mstgraph.store.layout import (
    IDENTIFIER,
    LENGTHS,
    LOCK_FILE,
    METADATA_FILE,
    OF_SHARDS,
    SPLITS,
    STATE_FILE,
    Column,
    fingerprint,
    named_key,
    record_key,
)
from mstgraph.store.mapped.places import DATA_FILE
from mstgraph.store.mapped.soundness import CHECKSUMS, checksum, checksum_key
from mstgraph.store.reader import Store
from mstgraph.store.recipe import RAW
from mstgraph.support.disk.descriptions import DIGEST, content_digest
from mstgraph.support.errors import UserError
from mstgraph.support.files import json_text, write_json_durably

Checksums = Iterator[tuple[bytes, bytes]]
Content = Callable[["Whole", Job], Checksums]


class Whole:
    """Several stores whose samples follow one another.

    Args:
        shards: the stores.
        appended: which of them were appended, bool each; None for none.
    """

    def __init__(self, shards: Sequence[Store], appended: Sequence[bool] | None = None) -> None:
        self.shards = shards
        self.appended = appended or [False] * len(shards)
        self.firsts = np.cumsum([0, *map(len, shards)])[:-1].tolist()

    def rows(self, column: str, samples: range) -> np.ndarray:
        """Return some samples of a column as stored, [samples, *shape]."""
        found = [
            shard.read_column(column, np.arange(samples.start - first, samples.stop - first)[own])
            for shard, first in zip(self.shards, self.firsts, strict=True)
            if (own := self._own(shard, first, samples)).stop > own.start
        ]
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _own(self, shard: Store, first: int, samples: range) -> slice:
        """Return which of some samples a shard has."""
        start = min(max(first - samples.start, 0), len(samples))
        return slice(start, max(start, min(first + len(shard) - samples.start, len(samples))))

    def records(self, column: Column) -> Iterator[tuple[range, np.ndarray]]:
        """Yield the samples of each record of a store in one file, and their values."""
        for record in range(column.records):
            samples = column.samples(record)
            yield samples, self.rows(column.name, samples)


def write_whole(directory: Path, job: Job, whole: Whole, content: Content) -> None:
    """Write what makes one store of several: ``metadata.json``, at once and for good.

    Args:
        directory: the folder whose ``shards`` they are.
        job: what the store holds.
        whole: the shards.
        content: gives the checksums that the store's fingerprint is of, ordered by key.
    """
    lengths = None
    if lengths_column(job) is not None:
        lengths = whole.rows(LENGTHS, range(job.length))
    size = sum(shard.metadata["data_bytes"] for shard in whole.shards)
    metadata = described(job, lambda: whole.records(job.columns[-1]), lengths, size)
    metadata["format_version"] = OF_SHARDS
    metadata["fingerprint"] = fingerprint(metadata, content(whole, job))
    metadata["shards"] = [
        {
            "samples": len(shard),
            "fingerprint": shard.fingerprint,
            **({"appended": True} if appended else {}),
        }
        for shard, appended in zip(whole.shards, whole.appended, strict=True)
    ]
    plain = json.loads(json_text(metadata))
    write_json_durably(directory / METADATA_FILE, {**plain, DIGEST: content_digest(plain)})


def remove_shard(folder: Path) -> None:
    """Remove a shard that is of no use, as far as it is one.

    Raises:
        UserError: something else lies there.
    """
    names = sorted(path.name for path in folder.iterdir())
    own = (DATA_FILE, METADATA_FILE, STATE_FILE)
    foreign = [name for name in names if name not in own and not name.startswith(LOCK_FILE)]
    if foreign:
        raise UserError(
            f"{folder} holds '{foreign[0]}', and a shard is to be written there; expected that you "
            "move it"
        )
    for name in reversed(names):  # without metadata it is no store
        (folder / name).unlink()
    folder.rmdir()


def content_of_one_file(whole: Whole, job: Job) -> Checksums:
    """Yield what a store of the same samples in one file has as checksums, ordered by key.

    So the two have one fingerprint. What lies in a record of a shard as it would there is not read
    again.
    """
    found = [*_of_splits(job), *_of_blocks(whole, IDENTIFIER, job.block)]
    for column in job.columns:
        if column.encoding == RAW:
            found += _of_arrays(whole, column)
        else:
            found += _of_blocks(whole, column.name, column.samples_per_record)
    yield from sorted(found)


def content_of_growth(before: Store) -> Content:
    """Return what gives a fingerprint to a store that has grown by its last shard, ordered by key.

    A store in one file would be split in another way. It is the same however many shards there
    were.
    """

    def content(whole: Whole, job: Job) -> Checksums:
        both = (before.fingerprint, whole.shards[-1].fingerprint)
        pieces = [(record_key(n), bytes.fromhex(found)) for n, found in enumerate(both)]
        yield from sorted([*pieces, *_of_splits(job)])

    return content


def _of_splits(job: Job) -> Checksums:
    for name, split in job.splits.items():
        for part, ids in split.items():
            yield checksum_key(SPLITS, named_key(name, part)), checksum(ids.astype("<i8").tobytes())


def _of_blocks(whole: Whole, database: str, size: int) -> Checksums:
    """Yield the checksums of records that are never cut in two."""
    for shard, first in zip(whole.shards, whole.firsts, strict=True):
        for record in range(-(-len(shard) // size)):
            key = checksum_key(database, record_key(first // size + record))
            yield key, _kept(shard, database, record)


def _of_arrays(whole: Whole, column: Column) -> Checksums:
    for record in range(column.records):
        samples = column.samples(record)
        key = checksum_key(column.name, record_key(record))
        yield key, _as_it_lies(whole, column, samples) or _read(whole, column, samples)


def _as_it_lies(whole: Whole, column: Column, samples: range) -> bytes | None:
    """Return the checksum of a record that one of the shards has; None if none has it."""
    number = int(np.searchsorted(whole.firsts, samples.start, side="right")) - 1
    shard, first = whole.shards[number], whole.firsts[number]
    own = shard.columns[column.name]
    record, beside = divmod(samples.start - first, own.samples_per_record)
    if beside or own.samples(record) != range(samples.start - first, samples.stop - first):
        return None
    return _kept(shard, column.name, record)


def _kept(shard: Store, database: str, record: int) -> bytes:
    value = shard.environment.value(CHECKSUMS, checksum_key(database, record_key(record)))
    assert value is not None  # the store is whole
    return bytes(value)


def _read(whole: Whole, column: Column, samples: range) -> bytes:
    return checksum(whole.rows(column.name, samples).reshape(-1).view(np.uint8).data)
