"""Records against their checksums: each once in a process, before its first sample is used.

Records are read from the file, not from the map: the system then reads ahead, and a disk that
fails is an error and not the end of the process. Threads do it side by side, some time before a
record is needed where that is known (`Gather.will_need` is told of coming samples). A CRC, which is
several times as fast as the checksum, says that a record is sound; only where it does not, or where
there is none, does the checksum decide.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import BinaryIO

CHECKSUMS = ".checksums"  # databases of the store's own
CRCS = ".crc32"  # what a first read is compared with; stores of earlier versions have none
PIECE_BYTES = 1024 * 1024  # read at a time
CHECKSUM_BYTES = 32
THREADS = 4  # of which each keeps up with a disk of some 2 GB/s

Place = tuple[int, int]  # where a record begins in the file, and its bytes
File = tuple[int, int, int, int]  # device, inode, size, time of the last change


def checksum_key(database: str, key: bytes) -> bytes:
    """Return the key under which the checksum of a record of ``database`` is kept."""
    return database.encode() + b"\0" + key


def checksum(value: bytes | memoryview) -> bytes:
    """Return the checksum of a record: 32 bytes of BLAKE2b."""
    return hashlib.blake2b(value, digest_size=CHECKSUM_BYTES).digest()


def file_checksum(stream: BinaryIO, place: Place) -> bytes:
    """Return the checksum of a piece of a file."""
    start, size = place
    total = hashlib.blake2b(digest_size=CHECKSUM_BYTES)
    for offset in range(start, start + size, PIECE_BYTES):
        length = min(PIECE_BYTES, start + size - offset)
        total.update(os.pread(stream.fileno(), length, offset))
    return total.digest()


def crc(value: bytes | memoryview) -> bytes:
    """Return the CRC-32 of a record, 4 bytes."""
    return zlib.crc32(value).to_bytes(4, "big")


def file_crc(stream: BinaryIO, place: Place) -> bytes:
    """Return the CRC-32 of a piece of a file."""
    start, size = place
    found = 0
    for offset in range(start, start + size, PIECE_BYTES):
        length = min(PIECE_BYTES, start + size - offset)
        found = zlib.crc32(os.pread(stream.fileno(), length, offset), found)
    return found.to_bytes(4, "big")


@dataclass(frozen=True)
class Expected:
    """What a record must come to.

    Attributes:
        place: of the record in the file.
        crc: its CRC, or None if it has none.
        checksum: its checksum, or None if it has none.
    """

    place: Place
    crc: bytes | None
    checksum: bytes | None

    def holds(self, stream: BinaryIO) -> bool:
        """Read the record and say whether it is as it was written."""
        if self.crc is not None and file_crc(stream, self.place) == self.crc:
            return True
        return self.checksum is not None and file_checksum(stream, self.place) == self.checksum


_sound: dict[File, set[bytes]] = {}


def known_sound(stream: BinaryIO) -> set[bytes]:
    """Return what was found sound in a file since this process began, to be added to."""
    status = os.fstat(stream.fileno())
    file = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return _sound.setdefault(file, set())


def in_background(
    threads: Executor, stream: BinaryIO, records: Sequence[Expected]
) -> list[Future[bool]]:
    """Return whether records are as they were written, to come from threads."""
    return [threads.submit(record.holds, stream) for record in records]


def thread_count() -> int:
    """Return how many threads compare records."""
    return min(THREADS, os.cpu_count() or 1)
