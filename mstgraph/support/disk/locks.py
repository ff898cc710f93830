"""A lock on a folder, which its process gives back however it ends."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from mstgraph.support.errors import UserError

_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}


class InUse(UserError):
    """Another process holds the lock."""


@contextmanager
def held(path: Path, sentence: str) -> Iterator[None]:
    """Hold a lock file for as long as the context lasts.

    The system drops the lock of a process that ends. A file system without locks (some network
    file systems) gets a marker file that names its process: one of a process that is gone is taken
    over by the next on the same machine.

    Args:
        path: the lock file, in a folder that is there.
        sentence: for the user if another process holds it.

    Raises:
        InUse: another process holds it.
        OSError: the file cannot be written.
    """
    lock = _acquired(path, sentence)
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Return whether a process holds a lock file; it is taken for an instant to find out."""
    try:
        with held(path, ""):
            return False
    except InUse:
        return True
    except OSError:  # what cannot be written is no place of a process at work
        return False


def _acquired(path: Path, sentence: str) -> BaseFileLock:
    marker = path.with_name(f"{path.name}.marker")
    try:
        try:
            return _at_once(FileLock(path))
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            return _at_once(SoftFileLock(marker))
    except Timeout as error:
        left = f"; if there is none, remove '{marker}'" if marker.exists() else ""
        raise InUse(sentence + left) from error


def _at_once(lock: BaseFileLock) -> BaseFileLock:
    try:
        lock.acquire(timeout=0)
    except Timeout:  # the first look removes the marker of a process that is gone
        lock.acquire(timeout=0)
    return lock
