"""Something is killed, or its disk is full: the same command then comes to the same bits."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tools.fault_check.flips import fault_of
from tools.fault_check.trial import forked
from tools.fault_check.world import World, same_benches, same_runs

Act = Callable[[str], str]
LONG = 300  # seconds


@dataclass(frozen=True)
class Work:
    """Something that takes its time.

    Attributes:
        name: what it is.
        act: does it in a folder.
        compare: what the results in two folders do not have in common, or the result itself.
        seconds: it takes.
        largest: bytes of the largest file that it writes.
    """

    name: str
    act: Act
    compare: Callable[[str, str], str]
    seconds: float
    largest: int


def works(world: World) -> list[Work]:
    """Do everything once without being stopped, and return it."""
    prepared = forked(partial(world.prepare, "whole-prepare"), Path("said"), seconds=LONG).said

    def same_store(one: str, other: str) -> str:
        found = forked(partial(world.prepare, one), Path("said"), seconds=LONG)
        return "" if found.said == prepared else f"the store differs: {found.said}"

    return [
        _timed("prepare", world.prepare, same_store),
        _timed("run", world.run, same_runs),
        _timed("bench", world.bench, same_benches),
    ]


def _timed(name: str, act: Act, compare: Callable[[str, str], str]) -> Work:
    folder = Path(f"whole-{name}")
    shutil.rmtree(folder, ignore_errors=True)
    started = time.monotonic()
    outcome = forked(partial(act, str(folder)), Path("said"), seconds=LONG)
    seconds = time.monotonic() - started
    if outcome.kind != "done":
        raise RuntimeError(f"without any stop: {outcome.said}")
    largest = max(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return Work(name, act, compare, seconds, largest)


def kills(works: list[Work], moments: random.Random) -> Iterator[tuple[str, str]]:
    """Kill one after the other at random moments; yield (what, what is wrong with the end)."""
    while True:
        for work in works:
            folder = f"killed-{work.name}"
            _remove(folder)
            # Two kills of three hit the same folder again, under way as it is.
            for delay in (moments.uniform(0, work.seconds) for _ in range(3)):
                outcome = forked(partial(work.act, folder), Path("said"), kill_after=delay)
                if outcome.kind != "killed":
                    yield f"{work.name}, not killed", fault_of(outcome, outcome.said)
                    break
                what = f"{work.name}, killed after {delay:.2f} s"
                yield what, _finished(work, folder)


def full_disks(works: list[Work], moments: random.Random) -> Iterator[tuple[str, str]]:
    """Let no file grow beyond a random size; yield (what, what is wrong with the end)."""
    while True:
        for work in works:
            folder = f"full-{work.name}"
            _remove(folder)
            size = round(work.largest * 2 ** moments.uniform(-8, 0.5))
            outcome = forked(partial(work.act, folder), Path("said"), seconds=LONG, file_size=size)
            fault = fault_of(outcome, outcome.said) or _finished(work, folder)
            yield f"{work.name}, no file beyond {size} bytes", fault


def _finished(work: Work, folder: str) -> str:
    """Give the same command again, in a copy, and compare."""
    copy = f"{folder}-copy"
    _remove(copy)
    for name in (folder, f"{folder}.partial"):
        if Path(name).exists():
            shutil.copytree(name, name.replace(folder, copy))
    outcome = forked(partial(work.act, copy), Path("said"), seconds=LONG)
    if outcome.kind != "done":
        return f"the same command does not continue: {outcome.kind}: {outcome.said}"
    return work.compare(copy, f"whole-{work.name}")


def _remove(folder: str) -> None:
    for name in (folder, f"{folder}.partial"):
        shutil.rmtree(name, ignore_errors=True)
