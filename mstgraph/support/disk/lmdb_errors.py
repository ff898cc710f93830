"""What LMDB meets when it writes, as the system's own errors."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import lmdb


@contextmanager
def as_system_errors() -> Iterator[None]:
    """Raise what LMDB reports as the `OSError` behind it.

    A full disk is ``ENOSPC``; a write that was cut short reaches us as ``EIO``, which may also be
    a disk that fails.
    """
    try:
        yield
    except (lmdb.DiskError, lmdb.MapFullError) as error:
        raise OSError(errno.ENOSPC, str(error)) from error
    except lmdb.Error as error:
        raise OSError(getattr(error, "code", None), f"LMDB says {error}") from error
