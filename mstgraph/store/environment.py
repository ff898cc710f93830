"""The reading side of LMDB: one environment and one read transaction per process and file.

LMDB allows a file to be opened once per process, so that all stores on one path share it. A forked
child drops what it inherited and opens the file anew.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import lmdb
import numpy as np

from mstgraph.store.pages import will_need
from mstgraph.store.places import DATA_FILE, Place, find_places
from mstgraph.support.errors import UserError

_Key = tuple[int, int]


class Environment:
    """A read-only LMDB environment that one read transaction holds open.

    Views that it hands out are valid as long as the environment lives: whoever keeps one keeps
    the environment too.
    """

    def __init__(self, directory: Path, databases: int, readahead: bool) -> None:
        self.process = os.getpid()
        self._directory = directory
        self._lock = threading.Lock()
        self._handles: dict[str, Any] = {}
        self._places: dict[str, dict[bytes, Place] | None] = {}
        self._map = _mapped(directory / DATA_FILE, readahead)
        self._memory = memoryview(self._map)
        self._address: int = np.frombuffer(self._memory, np.uint8).ctypes.data
        try:
            self._environment = lmdb.open(
                str(directory),
                readonly=True,
                lock=False,
                create=False,
                max_dbs=databases,
                readahead=readahead,
                max_spare_txns=0,
            )
            self._transaction = self._environment.begin(buffers=True)
        except lmdb.Error as error:
            raise UserError(f"{directory} cannot be opened as a store: {error}") from error

    def value(self, database: str, key: bytes) -> memoryview | None:
        """Return the bytes stored under ``key``, a view on the map, or None."""
        with self._lock:
            found: memoryview | None = self._transaction.get(key, db=self._handle(database))
        return found

    def view(self, database: str, key: bytes) -> memoryview | None:
        """Return the same as `value` without reading any of it from disk, where that is possible.

        It stays valid by itself, on a map of the file of its own.
        """
        with self._lock:
            if database not in self._places:
                self._places[database] = find_places(self._memory, database)
            places = self._places[database]
        if places is None:
            return self.value(database, key)
        if key not in places:
            return None
        offset, size = places[key]
        return self._memory[offset : offset + size]

    def will_need(self, addresses: np.ndarray, size: int) -> None:
        """Have rows of a `view` fetched in the background: int64 [rows], and bytes of a row."""
        starts = addresses - self._address
        ours = (starts >= 0) & (starts + size <= len(self._memory))  # others are on LMDB's own map
        will_need(self._map, starts[ours], size)

    def items(self, database: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield copies of all keys and values of a small database, ordered by key."""
        with self._lock:
            cursor = self._transaction.cursor(self._handle(database))
            found = [(bytes(key), bytes(value)) for key, value in cursor]
        yield from found

    def _handle(self, database: str) -> Any:
        if database not in self._handles:
            try:
                self._handles[database] = self._environment.open_db(
                    database.encode(), txn=self._transaction, create=False
                )
            except lmdb.Error as error:
                raise UserError(
                    f"{self._directory} lacks the database '{database}' ({error}); "
                    "the store is damaged: remove it and prepare it again"
                ) from error
        return self._handles[database]

    def close(self) -> None:
        """Close the environment; no view on it may be used any more."""
        self._environment.close()


def _mapped(file: Path, readahead: bool) -> mmap.mmap:
    try:
        with file.open("rb") as stream:
            found = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise UserError(f"{file.parent} cannot be opened as a store: {error}") from error
    if not readahead and hasattr(mmap, "MADV_RANDOM"):
        found.madvise(mmap.MADV_RANDOM)
    return found


_open: WeakValueDictionary[_Key, Environment] = WeakValueDictionary()
_opening = threading.Lock()


def shared_environment(directory: Path, databases: int, readahead: bool) -> Environment:
    """Return this process's environment of a store, opened on first use."""
    with _opening:
        status = (directory / DATA_FILE).stat()
        key = (status.st_dev, status.st_ino)
        found = _open.get(key)
        if found is None:
            found = Environment(directory, databases, readahead)
            _open[key] = found
        return found


def _after_fork() -> None:
    global _opening
    _opening = threading.Lock()
    for inherited in list(_open.values()):
        inherited.close()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
