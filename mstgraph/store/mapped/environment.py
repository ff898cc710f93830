"""The reading side of LMDB: one map per process and file, and the checksums of what is read.

All stores on one path share it. A forked child drops what it inherited and opens the file anew.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO
from weakref import WeakValueDictionary

import lmdb
import numpy as np

from mstgraph.store.mapped.pages import will_need
from mstgraph.store.mapped.places import DATA_FILE, DamagedPages, Place, find_places
from mstgraph.store.mapped.soundness import (
    CHECKSUMS,
    CRCS,
    Expected,
    checksum,
    checksum_key,
    crc,
    file_checksum,
    in_background,
    known_sound,
    thread_count,
)
from mstgraph.support.errors import UserError
from mstgraph.support.machine.threads import own_threads

_Key = tuple[int, int]


class Environment:
    """A store's data, mapped read-only.

    Views that it hands out are valid as long as somebody holds them. Nothing is read through LMDB
    unless the file is of a layout that only LMDB knows.

    Attributes:
        process: the process that opened it; another one must open its own.
    """

    def __init__(self, directory: Path, databases: int, readahead: bool) -> None:
        self.process = os.getpid()
        self._directory = directory
        self._lock = threading.Lock()
        self._places: dict[str, dict[bytes, Place]] = {}
        self._pending: dict[bytes, Future[bool]] = {}
        self._stream = _opened(directory / DATA_FILE)
        self._map = _mapped(self._stream, directory, readahead)
        self._memory = memoryview(self._map)
        self._address: int = np.frombuffer(self._memory, np.uint8).ctypes.data
        self._sound = known_sound(self._stream)
        self._databases = databases
        self._lacking: set[str] = set()
        self._lmdb: LMDB | None = None

    def value(self, database: str, key: bytes) -> memoryview | None:
        """Return the bytes stored under ``key``, a view on the map, or None; reads none of it.

        Raises:
            UserError: the pages of the file are damaged.
        """
        with self._lock:
            places = self._found(database)
            if places is None:
                return self._through_lmdb().value(database, key)
        if key not in places:
            return None
        offset, size = places[key]
        return self._memory[offset : offset + size]

    def will_need(self, addresses: np.ndarray, size: int | np.ndarray) -> None:
        """Have rows of a `value` fetched in the background: int64 [rows], and their bytes."""
        starts = addresses - self._address
        ours = (starts >= 0) & (starts + size <= len(self._memory))  # others are on LMDB's own map
        will_need(self._map, starts[ours], np.broadcast_to(size, starts.shape)[ours])

    def items(self, database: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield copies of all keys and values of a small database, ordered by key."""
        with self._lock:
            places = self._found(database)
            through = list(self._through_lmdb().items(database)) if places is None else ()
        yield from through
        for key, (offset, size) in (places or {}).items():
            yield key, bytes(self._memory[offset : offset + size])

    def keys(self, database: str) -> list[bytes]:
        """Return all keys of a database, ordered."""
        with self._lock:
            places = self._found(database)
            if places is None:
                return [key for key, _ in self._through_lmdb().items(database)]
        return list(places)

    def is_sound(self, databases: Iterable[str], own: Iterable[str] = ()) -> bool:
        """Say whether all pages and records of some databases are as they were written.

        Args:
            databases: whose records have checksums.
            own: databases without, of which the pages are walked, as far as they are there.
        """
        try:
            for name in own:
                with suppress(KeyError):
                    find_places(self._memory, name)
            return not any(self.damaged(name, self.keys(name)) for name in databases)
        except (UserError, DamagedPages):
            return False

    def begin_checking(self, database: str, keys: Sequence[bytes]) -> None:
        """Compare records in the background that will be used soon."""
        with self._lock:
            places = self._found(database)
            if places is None:
                return
            names = {checksum_key(database, key): key for key in keys if key in places}
            new = [name for name in names if name not in self._sound and name not in self._pending]
            records = [
                Expected(places[names[name]], self._own(CRCS, name), self._own(CHECKSUMS, name))
                for name in new
            ]
            threads = own_threads("mstgraph-checksums", thread_count)
            answers = in_background(threads, self._stream, records)
            self._pending |= dict(zip(new, answers, strict=True))

    def damaged(self, database: str, keys: Sequence[bytes]) -> list[bytes]:
        """Return which of some records do not match their checksums; each is read once.

        Raises:
            UserError: the pages of the file are damaged, or the disk fails.
        """
        names = {checksum_key(database, key): key for key in keys}
        if names.keys() <= self._sound:
            return []
        self.begin_checking(database, keys)
        wrong = []
        for name in names.keys() - self._sound:
            pending = self._pending.get(name)
            sound = self._matches(database, names[name]) if pending is None else _ended(pending)
            if sound:
                self._sound.add(name)
            else:
                wrong.append(names[name])
            self._pending.pop(name, None)
        return sorted(wrong)

    def _matches(self, database: str, key: bytes) -> bool:
        """Compare a record that is missing, or that only LMDB knows the place of."""
        value, name = self.value(database, key), checksum_key(database, key)
        if value is None:
            return False
        sums = ((CRCS, crc), (CHECKSUMS, checksum))
        return any(of(value) == self.value(kept, name) for kept, of in sums)

    def checksum(self, database: str, key: bytes) -> bytes | None:
        """Return the checksum that a record has now, read from the file; None if it is missing.

        Raises:
            UserError: the pages of the file are damaged, or the disk fails.
        """
        with self._lock:
            places = self._found(database)
        if places is not None:
            with _failing():
                return file_checksum(self._stream, places[key]) if key in places else None
        value = self.value(database, key)
        return None if value is None else checksum(value)

    def _own(self, database: str, name: bytes) -> bytes | None:
        """Return a value of the store's own about a record; None where it has none."""
        if database in self._lacking:
            return None
        try:
            place = (self._found(database) or {}).get(name)
        except UserError:  # files of earlier versions lack one, those of kept values another
            self._lacking.add(database)
            return None
        return None if place is None else bytes(self._memory[place[0] : sum(place)])

    def _found(self, database: str) -> dict[bytes, Place] | None:
        """Return key → place; None if only LMDB knows the file's layout."""
        if database not in self._places and self._lmdb is None:
            try:
                found = find_places(self._memory, database)
            except (DamagedPages, KeyError) as error:
                raise UserError(
                    f"{self._directory / DATA_FILE} is damaged: the pages of '{database}' make no "
                    "sense; copy the file anew, or prepare the store again"
                ) from error
            if found is None:
                return None
            self._places[database] = found
        return self._places.get(database)

    def _through_lmdb(self) -> LMDB:
        if self._lmdb is None:
            self._lmdb = LMDB(self._directory, self._databases)
        return self._lmdb

    def close(self) -> None:
        """Close the file; views that somebody holds stay valid."""
        self._stream.close()


@contextmanager
def _failing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"a store cannot be read ({error.strerror}): the disk fails") from error


def _ended(pending: Future[bool]) -> bool:
    with _failing():
        return pending.result()


class LMDB:
    """The same through LMDB itself, for files of another version or byte order."""

    def __init__(self, directory: Path, databases: int) -> None:
        self._directory = directory
        self._handles: dict[str, Any] = {}
        try:
            self._environment = lmdb.open(
                str(directory),
                readonly=True,
                lock=False,
                create=False,
                max_dbs=databases,
                max_spare_txns=0,
            )
            self._transaction = self._environment.begin(buffers=True)
        except lmdb.Error as error:
            raise UserError(f"{directory} cannot be opened as a store: {error}") from error

    def value(self, database: str, key: bytes) -> memoryview | None:
        """Return the bytes stored under ``key``, or None."""
        found: memoryview | None = self._transaction.get(key, db=self._handle(database))
        return found

    def items(self, database: str) -> Iterator[tuple[bytes, bytes]]:
        """Yield copies of all keys and values of a database, ordered by key."""
        cursor = self._transaction.cursor(self._handle(database))
        yield from ((bytes(key), bytes(value)) for key, value in cursor)

    def _handle(self, database: str) -> Any:
        if database not in self._handles:
            try:
                self._handles[database] = self._environment.open_db(
                    database.encode(), txn=self._transaction, create=False
                )
            except lmdb.Error as error:
                raise UserError(
                    f"{self._directory} lacks the database '{database}' ({error}); "
                    "copy the store anew, or prepare it again"
                ) from error
        return self._handles[database]


def _opened(file: Path) -> BinaryIO:
    try:
        return file.open("rb")
    except OSError as error:
        raise UserError(f"{file.parent} cannot be opened as a store: {error}") from error


def _mapped(stream: BinaryIO, directory: Path, readahead: bool) -> mmap.mmap:
    try:
        found = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise UserError(f"{directory} cannot be opened as a store: {error}") from error
    if not readahead and hasattr(mmap, "MADV_RANDOM"):
        found.madvise(mmap.MADV_RANDOM)
    return found


def is_sound(directory: Path, databases: Sequence[str], own: Sequence[str]) -> bool:
    """Say whether a data file that a stopped process left is as it was written.

    LMDB trusts its own pages: it must not open a file before that was looked through.

    Args:
        directory: where the file lies.
        databases: whose records have checksums.
        own: the others.
    """
    try:
        count = len(databases) + len(own)
        return Environment(directory, count, readahead=True).is_sound(databases, own)
    except UserError:
        return False


_open: WeakValueDictionary[_Key, Environment] = WeakValueDictionary()
_opening = threading.Lock()


def shared_environment(directory: Path, databases: int, readahead: bool) -> Environment:
    """Return this process's environment of a store, opened on first use."""
    with _opening:
        try:
            status = (directory / DATA_FILE).stat()
        except OSError as error:
            raise UserError(f"{directory} cannot be opened as a store: {error}") from error
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
