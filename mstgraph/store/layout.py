"""The format of a store: its files, its databases, and how samples are grouped into records.

A store is a directory with ``data.mdb`` (an LMDB environment) and ``metadata.json``. Every
modality and the labels are a *column*: a named database of records, each holding the raw bytes of
consecutive samples, little-endian, in C order. The databases whose names begin with a dot are the
store's own. All of this is fixed by `FORMAT_VERSION`; what a store says, however it is packed, has
a version of its own, on which its fingerprint depends. A store of shards (`OF_SHARDS`) has
``metadata.json`` alone, and such stores in the folders ``shards/0000``, ``shards/0001``, …, each
with the samples that follow those of the one before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mstgraph.store.recipe import RAW, Labels, Modality

FORMAT_VERSION = 3
OF_SHARDS = 4
PLAIN = (1, 2)  # earlier stores, whose identifiers and splits are not packed; they are read as well
CONTENT_VERSION = 1
WITH_LENGTHS = 2  # of the content where samples lack something: it has a column more

METADATA_FILE = "metadata.json"
STATE_FILE = "build.json"
LOCK_FILE = "build.lock"
PARTIAL_SUFFIX = ".partial"
SHARDS = "shards"

LABEL = "label"
IDENTIFIER = "identifier"
LENGTHS = ".lengths"  # a column; only where samples may lack something
SPLITS = ".splits"
STATISTICS = ".statistics"
RESERVED = (LABEL, IDENTIFIER)

LARGE_SAMPLE = 512 * 1024  # bytes; from here on a sample is a record of its own
BLOCK_BYTES = 32 * 1024 * 1024  # of all columns together: what one commit writes
BLOCK_SAMPLES = 4_096
RECORD_BYTES = 64 * 1024 * 1024  # of one column: few large records are read fastest


@dataclass(frozen=True)
class Column:
    """One database of samples.

    Attributes:
        name: the modality's name, ``label``, or `LENGTHS`.
        dtype: numpy's name of the stored type.
        shape: shape of one sample.
        length: number of samples.
        samples_per_record: consecutive samples in one record (the last may hold fewer).
        encoding: how a sample is stored, see `mstgraph.store.recipe.Modality.encoding`.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    length: int
    samples_per_record: int
    encoding: str = RAW

    @cached_property
    def stored_dtype(self) -> np.dtype[Any]:
        """The stored type, little-endian on every machine."""
        return np.dtype(self.dtype).newbyteorder("<")

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of one sample as it is read."""
        return sample_bytes(self.dtype, self.shape)

    @property
    def records(self) -> int:
        """Number of records."""
        return -(-self.length // self.samples_per_record)

    def samples(self, record: int) -> range:
        """Return the samples that ``record`` holds."""
        first = record * self.samples_per_record
        return range(first, min(first + self.samples_per_record, self.length))

    def array(self, value: memoryview, record: int) -> np.ndarray:
        """Return the samples of ``record``, a view on ``value``: [samples, *shape]."""
        return np.frombuffer(value, self.stored_dtype).reshape(
            len(self.samples(record)), *self.shape
        )


def sample_bytes(dtype: str, shape: Sequence[int]) -> int:
    """Return the bytes of one sample of this type and shape."""
    return int(np.dtype(dtype).itemsize * np.prod(shape, dtype=np.int64))


def is_storable(dtype: str) -> bool:
    """Say whether values of a type can be stored: numpy's name of an integer, float or bool."""
    try:
        found = np.dtype(dtype)
    except TypeError:
        return False
    return found.kind in "iufb" and found.name == dtype and found.itemsize <= 8


def label_dtype(labels: Labels) -> str:
    """Return the type that labels are stored as.

    int64 for one label per sample (what losses take), float32 for numbers, else the narrowest of
    uint8, int16 and int32 that holds every class, the ignored and the unknown label.
    """
    if labels.task == "classification":
        return "int64"
    if labels.task == "regression":
        return "float32"
    values: list[float] = [0, 1 if labels.task == "multilabel" else len(labels.classes) - 1]
    values += [value for value in (labels.ignored, labels.unknown) if value is not None]
    for name in ("uint8", "int16"):
        limits = np.iinfo(name)
        if limits.min <= min(values) and max(values) <= limits.max:
            return name
    return "int32"


def make_columns(
    modalities: Sequence[Modality], labels: Labels, length: int
) -> tuple[tuple[Column, ...], int]:
    """Return the columns, labels last, and the number of samples that one commit writes.

    All columns share the block, so that what is committed is always a whole number of samples; a
    record is as many blocks as make it large, or a single sample that is large by itself. Samples
    that are encoded make a record of each block.
    """
    declared = [(item.name, item.dtype, item.shape, item.encoding) for item in modalities]
    if lacking := incomplete(modalities):
        declared.append((LENGTHS, "int32", (len(lacking),), RAW))
    declared.append((LABEL, label_dtype(labels), labels.shape, RAW))
    total = sum(sample_bytes(dtype, shape) for _, dtype, shape, _ in declared)
    block = max(1, min(BLOCK_SAMPLES, BLOCK_BYTES // total))
    columns = []
    for name, dtype, shape, encoding in declared:
        arrays = samples_together(sample_bytes(dtype, shape), block, length)
        together = arrays if encoding == RAW else block
        columns.append(Column(name, dtype, shape, length, together, encoding))
    return tuple(columns), block


def incomplete(modalities: Iterable[Modality]) -> tuple[str, ...]:
    """Return the names of the modalities that samples may lack, or have less of, in order.

    The column `LENGTHS` has a number for each: how many entries of its last axis a sample has, 0
    where it lacks the modality.
    """
    return tuple(item.name for item in modalities if not item.complete)


def samples_together(size: int, block: int, length: int) -> int:
    """Return how many samples of so many bytes make a record of arrays."""
    if size >= LARGE_SAMPLE:
        return 1
    blocks = max(1, RECORD_BYTES // (block * size))
    return block * min(blocks, -(-length // block))


def record_key(record: int) -> bytes:
    """Return the key of a record: big-endian, so that LMDB keeps them in order."""
    return record.to_bytes(8, "big")


def named_key(*names: str) -> bytes:
    """Return the key of a value that names identify (a split's part, a modality's statistics)."""
    return "/".join(names).encode()


def canonical(value: object) -> bytes:
    """Return ``value`` as JSON bytes that depend on the content alone."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def fingerprint(metadata: Mapping[str, Any], checksums: Iterator[tuple[bytes, bytes]]) -> str:
    """Return the hash of a store's content: declaration, samples, identifiers, splits.

    Statistics follow from the rest and may differ in the last bit between machines: left out, as
    are times, paths, the recipe's own text and how all of it is packed.
    """
    keys = ("synthetic", "modalities", "labels", "length", "splits")
    said = {key: metadata[key] for key in keys}
    said["format_version"] = metadata.get("content_version", metadata["format_version"])
    digest = hashlib.blake2b(canonical(said), digest_size=32)
    for key, value in checksums:
        if not key.startswith(STATISTICS.encode() + b"\0"):
            digest.update(key + value)
    return digest.hexdigest()
