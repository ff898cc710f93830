"""A record of encoded samples: where each file ends, then the files, one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ENDS = np.dtype("<u8")


def joined(files: Sequence[bytes]) -> bytes:
    """Return a record of files; one that is empty stands for a sample without the modality."""
    ends = np.cumsum([len(file) for file in files]).astype(ENDS)
    return b"".join([ends.tobytes(), *files])


def place(record: memoryview, count: int, row: int) -> tuple[int, int]:
    """Return where in a record a file begins and ends.

    Args:
        record: see `joined`.
        count: number of files in it.
        row: which of them.

    Raises:
        ValueError: nothing was joined so.
    """
    head = count * ENDS.itemsize
    if len(record) < head:
        raise ValueError("a record without its head")
    ends = np.frombuffer(record, ENDS, count)
    first, last = head + (int(ends[row - 1]) if row else 0), head + int(ends[row])
    if not head <= first <= last <= len(record):
        raise ValueError("a file beyond the record")
    return first, last
