"""Reading a recipe block by block: in this process, or in several side by side."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future

from mstgraph.store.build.blocks import Block, Samples
from mstgraph.store.build.workers import Workers, are_possible
from mstgraph.support.machine.cores import cores

AHEAD = 2  # blocks that are read while one is written; more would only take memory
PARTS = 32  # of a block, each for one process
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
            saves time.
        told: called with the number of samples that are read, from the first on.

    Raises:
        UserError: the first sample in the order that is at fault.
    """
    pace = _Pace(samples, sum(map(len, ranges)), jobs)
    for number, wanted in enumerate(ranges):
        block = Block(samples.columns, wanted)
        for index in wanted:
            if pace.is_slow():
                left = range(index, wanted.stop)
                yield from _side_by_side(
                    samples, block, left, ranges[number + 1 :], jobs or cores(), told
                )
                return
            pace.time(samples, index, block)
            told(index + 1)
        yield block


class _Pace:
    """Whether reading in this process is too slow.

    Args:
        samples: to be read.
        left: number of them.
        jobs: what the user asks for.
    """

    def __init__(self, samples: Samples, left: int, jobs: int | None) -> None:
        self._always = jobs is not None and jobs > 1
        self._never = jobs == 1 or (jobs is None and not (cores() > 1 and are_possible(samples)))
        self._left = left
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
    samples: Samples, block: Block, left: range, ranges: Sequence[range], jobs: int, told: Told
) -> Generator[Block]:
    """Yield a block of which some samples are left, and those that follow."""
    waiting: deque[tuple[Block, list[Future[range]]]] = deque()
    at_once = (left, *ranges[:AHEAD])  # more processes than parts would have nothing to do
    with Workers(samples, min(jobs, sum(len(_parts(some)) for some in at_once))) as workers:
        for number in range(len(ranges) + 1):
            if number:
                left = ranges[number - 1]
                block = Block(samples.columns, left)
            waiting.append((block, [workers.read(part, block) for part in _parts(left)]))
            if len(waiting) > AHEAD:
                yield _whole(*waiting.popleft(), told)
        while waiting:
            yield _whole(*waiting.popleft(), told)


def _parts(samples: range) -> list[range]:
    size = max(1, len(samples) // PARTS)
    return [samples[first : first + size] for first in range(0, len(samples), size)]


def _whole(block: Block, parts: Sequence[Future[range]], told: Told) -> Block:
    """Wait for a block; of several mistakes the first in order is raised, whoever was faster."""
    for part in parts:
        told(part.result().stop)
    return block
