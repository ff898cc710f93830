"""What can go wrong with the destination, in one sentence each."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import lmdb

from mstgraph.store.layout import DATA_FILE, LOCK_FILE
from mstgraph.support.errors import UserError

try:
    import fcntl
except ImportError:  # not on this platform: two builds at once are then not told apart
    fcntl = None  # type: ignore[assignment]

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# LMDB reports a write that was cut short as an input/output error.
FULL = {**dict.fromkeys(NO_SPACE, "the disk is full"), errno.EIO: "the disk is full or failing"}


@contextmanager
def partial_directory(path: Path) -> Iterator[None]:
    """Make the directory that a build writes to and hold its lock.

    Raises:
        UserError: it cannot be written, or another process is building there.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        file = (path / LOCK_FILE).open("w")
    except OSError as error:
        raise UserError(_unwritable(path, error)) from error
    with file:
        _lock(file, path)
        yield


def _lock(file: IO[str], path: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(
            f"another process is building {path}; wait for it or choose another --out"
        ) from error


def _unwritable(path: Path, error: OSError) -> str:
    if error.errno in NO_SPACE:
        return f"{path} cannot be made: the disk is full; make room and run the same command again"
    return (
        f"{path.parent} cannot be written ({error.strerror}); expected a directory that can be "
        "(choose another --out)"
    )


@contextmanager
def explained(partial: Path) -> Iterator[None]:
    """Turn a failed write into one sentence about what is kept and how to go on.

    Raises:
        UserError: the disk is full, failing or not writable.
    """
    try:
        yield
    except lmdb.Error as error:
        code = getattr(error, "code", None)
        full = isinstance(error, (lmdb.DiskError, lmdb.MapFullError))
        reason = FULL[errno.ENOSPC] if full else FULL.get(code or 0)
        raise UserError(_stopped(partial, reason or f"LMDB says {error}")) from error
    except OSError as error:
        reason = FULL.get(error.errno or 0, os.strerror(error.errno) if error.errno else str(error))
        raise UserError(_stopped(partial, reason)) from error


def _stopped(partial: Path, reason: str) -> str:
    data = partial / DATA_FILE
    written = data.stat().st_size / 1e6 if data.exists() else 0.0
    return (
        f"writing {partial} failed after {written:.1f} MB: {reason}; nothing half written will be "
        "taken for a whole store, and the same command continues once that is mended"
    )
