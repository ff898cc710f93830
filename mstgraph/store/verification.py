"""Verifying a store: every record against its checksum, and all of them against the fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mstgraph.store.layout import (
    IDENTIFIER,
    LABEL,
    LENGTHS,
    SPLITS,
    STATISTICS,
    fingerprint,
    named_key,
    record_key,
)
from mstgraph.store.mapped.environment import Environment
from mstgraph.store.mapped.soundness import CHECKSUMS, checksum, checksum_key
from mstgraph.store.packed import PACKED
from mstgraph.store.reader import Store
from mstgraph.support.errors import UserError

Progress = Callable[[int, int], None]
Entry = tuple[str, bytes, str, range]


def verify(store: Store, progress: Progress | None = None) -> list[str]:
    """Return what is wrong with a store, one sentence each; an empty list for a sound one.

    Args:
        store: the store, opened; of one of shards each is verified, its samples counted from 0.
        progress: called with (records done, records in all).
    """
    if store.shards:
        return _verify_shards(store, progress)
    try:
        environment = store.opened()
        expected = dict(environment.items(CHECKSUMS))
    except UserError as error:
        return [str(error)]
    entries = list(_entries(store))
    problems: dict[str, None] = {}  # pages are damaged for many records at once
    for done, (database, key, name, samples) in enumerate(entries, start=1):
        try:
            found = _checksum(store, environment, database, key, samples)
            if found is None:
                problems[f"{name} is missing"] = None
            elif found != expected.get(checksum_key(database, key)):
                problems[f"{name} does not match its checksum"] = None
        except UserError as error:
            problems[str(error)] = None
        if progress:
            progress(done, len(entries))
    if fingerprint(store.metadata, iter(expected.items())) != store.fingerprint:
        problems["the metadata or the list of checksums does not match the fingerprint"] = None
    return list(problems)


def _verify_shards(store: Store, progress: Progress | None) -> list[str]:
    sizes = [sum(1 for _ in _entries(shard)) for shard in store.shards]
    found = []
    for number, shard in enumerate(store.shards):
        before = sum(sizes[:number])

        def told(done: int, total: int, before: int = before) -> None:
            if progress:
                progress(before + done, sum(sizes))

        found += [f"shard {shard.path.name}: {problem}" for problem in verify(shard, told)]
    return found


def _entries(store: Store) -> Iterator[Entry]:
    """Yield database, key and a name for a person of every record that a store must have."""
    words = {LABEL: "labels", LENGTHS: "lengths"}
    for column in store.columns.values():
        what = words.get(column.name, f"modality '{column.name}'")
        for record in range(column.records):
            samples = column.samples(record)
            yield column.name, record_key(record), _records(what, record, samples), samples
    block = store.metadata["samples_per_block"]
    for record, first in enumerate(range(0, store.length, block)):
        samples = range(first, min(first + block, store.length))
        yield IDENTIFIER, record_key(record), _records("identifiers", record, samples), samples
    everything = range(store.length)
    for split, parts in store.metadata["splits"].items():
        for part in parts:
            yield SPLITS, named_key(split, part), f"split '{split}', part '{part}',", everything
        for modality in store.modalities:
            name = f"statistics of modality '{modality}' on split '{split}'"
            yield STATISTICS, named_key(modality, split), name, everything


def _checksum(
    store: Store, environment: Environment, database: str, key: bytes, samples: range
) -> bytes | None:
    """Return the checksum that a record has now, of packed ones that of what they say."""
    if database not in PACKED:
        return environment.checksum(database, key)
    value = environment.value(database, key)
    if value is None:
        return None
    try:
        return checksum(store.unpacked(database, value, samples))
    except ValueError:
        return b""


def _records(what: str, record: int, samples: range) -> str:
    return f"{what}, record {record} (samples {samples.start} to {samples.stop - 1})"
