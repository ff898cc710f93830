"""Identifiers and splits in fewer bytes; their checksums are of what they say.

A split is a bit for each sample, an identifier that is the sample's number is nothing at all. A
store's fingerprint does not depend on how they are packed.
"""

from __future__ import annotations

import zlib

import numpy as np

from mstgraph.store.layout import IDENTIFIER, SPLITS, canonical

PACKED = (IDENTIFIER, SPLITS)


def packed_identifiers(content: bytes, samples: range) -> bytes:
    """Return the identifiers of some samples, a JSON list, as they are stored."""
    return b"" if content == _numbers(samples) else zlib.compress(content)


def packed_split(ids: np.ndarray, length: int) -> bytes:
    """Return sample numbers, ascending int64, as they are stored: a bit for each of ``length``."""
    marks = np.zeros(length, bool)
    marks[ids] = True
    return np.packbits(marks).tobytes()


def unpacked(database: str, value: bytes | memoryview, samples: range) -> bytes:
    """Return what was packed: a JSON list of texts, or little-endian int64 sample numbers.

    Args:
        database: `IDENTIFIER` or `SPLITS`.
        value: as it is stored.
        samples: those of the record.

    Raises:
        ValueError: nothing was packed so.
    """
    if database == SPLITS:
        marks = np.unpackbits(np.frombuffer(value, np.uint8))
        return np.flatnonzero(marks).astype("<i8").tobytes()
    if not len(value):
        return _numbers(samples)
    try:
        return zlib.decompress(value)
    except zlib.error as error:
        raise ValueError(str(error)) from error


def _numbers(samples: range) -> bytes:
    return canonical([str(index) for index in samples])
