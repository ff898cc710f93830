"""Reading a recipe block by block: in this process, or in several side by side."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future

from mstgraph.store.build.reading.blocks import Block, Samples
from mstgraph.store.build.reading.chunks import Bounds
from mstgraph.store.build.reading.workers import Workers, are_possible
from mstgraph.support import memory
from mstgraph.support.machine.cores import cores

AHEAD = 2  # blocks that are read while one is written; more would only take memory
PARTS = 32  # of a block, each for one process
SHARE = 0.25  # of memory, for blocks of chunks that are read side by side
LOOK = 1.0  # seconds of reading after which the rest can be told
PAYS = 10.0  # seconds of reading left from which on processes are worth their start

Told = Callable[[int], None]


def read_blocks(
    samples: Samples, ranges: Sequence[range], jobs: int | None, told: Told
) -> Generator[Block]:
    """Yield the blocks of a recipe in their order; the same for any number of processes.

    Args:
        samples: of the recipe.
        ranges: which of them each block holds.
        jobs: processes that read; None for as many as there are cores, once it is seen that this
            saves time. A chunk is read by one process.
        told: called with the number of samples that are read, from the first on.

    Raises:
        UserError: the first sample in the order that is at fault.
    """
    parts = _Parts(samples, ranges)
    pace = _Pace(samples, parts, jobs)
    for number, wanted in enumerate(ranges):
        block = Block(samples.columns, wanted)
        for index in wanted:
            if parts.may_begin(index) and pace.is_slow():
                left = range(index, wanted.stop)
                yield from _side_by_side(
                    samples, block, (left, *ranges[number + 1 :]), parts, jobs or cores(), told
                )
                return
            pace.time(samples, index, block)
            told(index + 1)
        yield block


class _Parts:
    """What of the samples one process reads, and how far ahead.

    Args:
        samples: of the recipe.
        ranges: which of them each block holds.
    """

    def __init__(self, samples: Samples, ranges: Sequence[range]) -> None:
        self._columns = samples.columns
        self._bounds = Bounds(samples.declared.chunks) if samples.declared.chunks else None
        self._starts = frozenset(self._bounds.starts if self._bounds else ())
        self._ranges = ranges
        self.samples = sum(map(len, ranges))

    def may_begin(self, index: int) -> bool:
        """Say whether another process may go on with a sample: none goes on in another's chunk."""
        first = index == self._ranges[0].start
        return self._bounds is None or first or index in self._starts

    @property
    def are_several(self) -> bool:
        """Whether there is something for more processes than one."""
        return bool(self._ranges) and (self._bounds is None or self.at_once(self._ranges) > 1)

    def of(self, samples: range) -> list[range]:
        """Return samples of a block in parts, each for one process."""
        if self._bounds is not None:
            return self._bounds.cut(samples)
        size = max(1, len(samples) // PARTS)
        return [samples[first : first + size] for first in range(0, len(samples), size)]

    def at_once(self, ranges: Sequence[range]) -> int:
        """Return how many processes have something to do while such blocks are read."""
        if self._bounds is None:
            return sum(len(self.of(samples)) for samples in ranges)
        chunk_of = self._bounds.chunk_of
        return chunk_of(ranges[-1].stop - 1) - chunk_of(ranges[0].start) + 1

    def begin(self, workers: Workers, part: range, block: Block) -> Future[range]:
        """Have a part read."""
        if self._bounds is None:
            return workers.read(part, block)
        return workers.read_in_turn(self._bounds.chunk_of(part.start), part, block)

    def ahead(self, jobs: int) -> int:
        """Return how many blocks may be read while one is written.

        Of chunks so many that each process has one of its own, as far as memory goes.
        """
        if self._bounds is None:
            return AHEAD
        block = len(self._ranges[0])
        size = block * sum(column.row_bytes for column in self._columns)
        longest = max(b - a for a, b in zip(self._bounds.starts, self._bounds.stops, strict=True))
        wanted = jobs * -(-longest // block)
        return max(AHEAD, min(wanted, int(SHARE * memory.total()) // size))


class _Pace:
    """Whether reading in this process is too slow.

    Args:
        samples: to be read.
        parts: into which they can be divided.
        jobs: what the user asks for.
    """

    def __init__(self, samples: Samples, parts: _Parts, jobs: int | None) -> None:
        several = parts.are_several
        possible = jobs is not None or (cores() > 1 and are_possible(samples))
        self._always = several and jobs is not None and jobs > 1
        self._never = jobs == 1 or not (several and possible)
        self._left = parts.samples
        self._done = 0
        self._seconds = 0.0

    def is_slow(self) -> bool:
        """Say whether several processes should go on."""
        if self._always or self._never or self._seconds < LOOK:
            return self._always
        return self._seconds / self._done * self._left > PAYS

    def time(self, samples: Samples, index: int, block: Block) -> None:
        """Read a sample and look at the clock."""
        started = time.monotonic()
        samples.put(index, block)
        self._seconds += time.monotonic() - started
        self._done, self._left = self._done + 1, self._left - 1


def _side_by_side(
    samples: Samples,
    block: Block,
    ranges: Sequence[range],
    parts: _Parts,
    jobs: int,
    told: Told,
) -> Generator[Block]:
    """Yield a block of which some samples are left, the first of ``ranges``, and those after it."""
    waiting: deque[tuple[Block, list[Future[range]]]] = deque()
    ahead = parts.ahead(jobs)
    with Workers(samples, min(jobs, parts.at_once(ranges[: ahead + 1]))) as workers:
        for number, left in enumerate(ranges):
            if number:
                block = Block(samples.columns, left)
            begun = [parts.begin(workers, part, block) for part in parts.of(left)]
            waiting.append((block, begun))
            if len(waiting) > ahead:
                yield _whole(*waiting.popleft(), told)
        while waiting:
            yield _whole(*waiting.popleft(), told)


def _whole(block: Block, parts: Sequence[Future[range]], told: Told) -> Block:
    """Wait for a block; of several mistakes the first in order is raised, whoever was faster."""
    for part in parts:
        told(part.result().stop)
    return block
