"""Verifying a store: every record against its checksum, and all of them against the fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from mstgraph.store.layout import (
    CHECKSUMS,
    IDENTIFIER,
    LABEL,
    LENGTHS,
    SPLITS,
    STATISTICS,
    checksum_key,
    fingerprint,
    named_key,
    record_key,
)
from mstgraph.store.reader import Store
from mstgraph.support.errors import UserError

Progress = Callable[[int, int], None]
Entry = tuple[str, bytes, str]


def verify(store: Store, progress: Progress | None = None) -> list[str]:
    """Return what is wrong with a store, one sentence each; an empty list for a sound one.

    Args:
        store: the store, opened.
        progress: called with (records done, records in all).
    """
    try:
        environment = store.opened()
        expected = dict(environment.items(CHECKSUMS))
    except UserError as error:
        return [str(error)]
    entries = list(_entries(store))
    problems: dict[str, None] = {}  # pages are damaged for many records at once
    for done, (database, key, name) in enumerate(entries, start=1):
        try:
            found = environment.checksum(database, key)
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


def _entries(store: Store) -> Iterator[Entry]:
    """Yield database, key and a name for a person of every record that a store must have."""
    words = {LABEL: "labels", LENGTHS: "lengths"}
    for column in store.columns.values():
        what = words.get(column.name, f"modality '{column.name}'")
        for record in range(column.records):
            yield column.name, record_key(record), _records(what, record, column.samples(record))
    block = store.metadata["samples_per_block"]
    for record, first in enumerate(range(0, store.length, block)):
        samples = range(first, min(first + block, store.length))
        yield IDENTIFIER, record_key(record), _records("identifiers", record, samples)
    yield from _named(store.metadata, list(store.modalities))


def _named(metadata: dict[str, Any], modalities: list[str]) -> Iterator[Entry]:
    for split, parts in metadata["splits"].items():
        for part in parts:
            yield SPLITS, named_key(split, part), f"split '{split}', part '{part}',"
        for modality in modalities:
            name = f"statistics of modality '{modality}' on split '{split}'"
            yield STATISTICS, named_key(modality, split), name


def _records(what: str, record: int, samples: range) -> str:
    return f"{what}, record {record} (samples {samples.start} to {samples.stop - 1})"
