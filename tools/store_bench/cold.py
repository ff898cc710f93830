"""Batches from a store whose pages are not in memory, as an epoch of training asks for them."""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mstgraph.data.feed import Pool
from mstgraph.store import Store
from mstgraph.store.mapped.places import DATA_FILE

BLOCK_BYTES = 8 * 1024 * 1024  # of a block of samples that are shuffled together
CACHES = Path("/proc/sys/vm/drop_caches")


@dataclass(frozen=True)
class Way:
    """An order, and whether pages are asked for before they are read."""

    name: str
    blocks: bool
    ahead: bool


WAYS = (
    Way("random order, no read-ahead", blocks=False, ahead=False),
    Way("random order, read-ahead", blocks=False, ahead=True),
    Way("block order, no read-ahead", blocks=True, ahead=False),
    Way("block order, read-ahead", blocks=True, ahead=True),
)


@dataclass(frozen=True)
class Pass:
    """What one pass took.

    Attributes:
        rate: samples per second.
        first: seconds until the first batch.
        resident: share of the file that was in memory before.
        read: bytes that the disk delivered, of `wanted`.
        wanted: bytes of the samples.
    """

    rate: float
    first: float
    resident: float
    read: int
    wanted: int


class BeyondMemory(Store):
    """Opened as a store is that does not fit into memory."""

    def _readahead(self) -> bool:
        return False


def measure(
    path: Path, batch: int, batches: int, repeats: int, *, drop_caches: bool
) -> dict[str, Pass]:
    """Return the median pass of each way over the first batches of an epoch, taken in turns.

    Args:
        path: the store.
        batch: samples per batch.
        batches: number of batches.
        repeats: passes of each way.
        drop_caches: drop the caches of the whole machine too; for root alone.
    """
    passes: dict[str, list[Pass]] = {way.name: [] for way in WAYS}
    draw = np.random.default_rng(0)
    for repeat in range(repeats):
        for place in draw.permutation(len(WAYS)).tolist():
            make_cold(path / DATA_FILE, drop_caches=drop_caches)
            one = _one_pass(path, WAYS[place], batch, batches, repeat)
            passes[WAYS[place].name].append(one)
    return {name: _median(found) for name, found in passes.items()}


def _one_pass(path: Path, way: Way, batch: int, batches: int, epoch: int) -> Pass:
    resident = resident_share(path / DATA_FILE)
    with _opened(path, way) as (pool, row):
        feed = pool.feed("train", list(pool.store.modalities))
        order = feed.order(0, epoch)[: batch * batches]
        before, started, first = bytes_read(), time.perf_counter(), 0.0
        for number, _ in enumerate(feed.epoch(batch, order)):
            if not number:
                first = time.perf_counter() - started
        seconds = time.perf_counter() - started
        read = bytes_read() - before
    return Pass(len(order) / seconds, first, resident, read, len(order) * row)


@contextmanager
def _opened(path: Path, way: Way) -> Iterator[tuple[Pool, int]]:
    """Open the store; afterwards let go of the map, or its pages would stay."""
    store = BeyondMemory(path)
    row = sum(column.row_bytes for column in store.columns.values())
    block = max(1, BLOCK_BYTES // row) if way.blocks else None
    if not way.ahead:
        store.will_need = lambda column, indices: None  # type: ignore[method-assign]
    try:
        yield Pool(store, "0", "cpu", "standard", 0, shuffle_block=block), row
    finally:
        store.close()
        gc.collect()


def make_cold(file: Path, *, drop_caches: bool) -> None:
    """Drop a file from the page cache; nobody may have it mapped."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    if drop_caches:
        CACHES.write_text("1")


def resident_share(file: Path) -> float:
    """Return the share of a file's pages that are in memory."""
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY) as view:
        pages = -(-len(view) // mmap.PAGESIZE)
        found = (ctypes.c_ubyte * pages)()
        held = ctypes.c_char.from_buffer(view)
        address, size = ctypes.c_void_p(ctypes.addressof(held)), ctypes.c_size_t(len(view))
        failed = ctypes.CDLL(None, use_errno=True).mincore(address, size, found)
        del held
    if failed:
        raise OSError(ctypes.get_errno(), "mincore failed")
    return float((np.frombuffer(bytes(found), np.uint8) & 1).mean())


def bytes_read() -> int:
    """Return the bytes that this process has had fetched from disks."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("read_bytes")))


def _median(passes: list[Pass]) -> Pass:
    return Pass(
        rate=statistics.median(one.rate for one in passes),
        first=statistics.median(one.first for one in passes),
        resident=max(one.resident for one in passes),
        read=int(statistics.median(one.read for one in passes)),
        wanted=passes[0].wanted,
    )
