"""One bit of a file turns: it is found before its numbers are used, or changes nothing."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from mstgraph.store import Store, verify
from tools.fault_check.trial import Outcome, forked
from tools.fault_check.world import World, read_all, same_runs

Act = Callable[[], str]


class Flips:
    """Flips bits of what one run and one store have left.

    Args:
        world: the world; its store is prepared.
        whole: folder of a run that nobody stopped.
    """

    def __init__(self, world: World, whole: str):
        self.world = world
        self.whole = whole
        self.read = self._expected(lambda: read_all(Store("stores/pairs")))
        self.answers = self._expected(partial(world.answers, whole))
        self._expected(partial(world.run_until_killed, "under-way", "dkd-left", 2))

    def trials(self, moments: random.Random) -> Iterator[tuple[str, str]]:
        """Yield (what was done, what is wrong with what came of it; empty for nothing)."""
        ways = [
            (5, self._store),
            (2, self._verified),
            (2, self._student),
            (1, self._resumed),
            (1, self._continued),
        ]
        while True:
            way = moments.choices([way for _, way in ways], [weight for weight, _ in ways])[0]
            yield way(moments)

    def _store(self, moments: random.Random) -> tuple[str, str]:
        """What a run reads of the store."""
        return self._flipped(
            "stores", ("pairs/*",), moments, lambda: read_all(Store("copy/pairs")), self.read
        )

    def _verified(self, moments: random.Random) -> tuple[str, str]:
        """`verify` may not say that all is well, unless all that is read is."""

        def act() -> str:
            store = Store("copy/pairs")
            return "damaged" if verify(store) else read_all(store)

        return self._flipped("stores", ("pairs/*",), moments, act, self.read, "damaged")

    def _student(self, moments: random.Random) -> tuple[str, str]:
        """A student and the plan that it comes from."""
        patterns = ("student-*", "config.gin", "plan.json")
        act = partial(self.world.answers, "copy")
        return self._flipped(self.whole, patterns, moments, act, self.answers)

    def _resumed(self, moments: random.Random) -> tuple[str, str]:
        """A finished run, of which all is used again."""
        patterns = ("stages/*/artefact.json", "stages/*/*.safetensors", "stages/*/samples.npz")
        return self._flipped(self.whole, patterns, moments, self._run_on)

    def _continued(self, moments: random.Random) -> tuple[str, str]:
        """A run that was killed in its last stage, with values kept on disk."""
        patterns = ("stages/*/*.safetensors", "stages/*/checkpoint.pt", ".kept/*/data.mdb")
        return self._flipped("under-way", patterns, moments, self._run_on)

    def _run_on(self) -> str:
        self.world.run("copy")
        return same_runs("copy", self.whole)

    def _flipped(
        self,
        folder: str,
        patterns: tuple[str, ...],
        moments: random.Random,
        act: Act,
        *allowed: str,
    ) -> tuple[str, str]:
        """Flip a bit in a copy of a folder, and do something with it."""
        shutil.rmtree("copy", ignore_errors=True)
        shutil.copytree(folder, "copy")
        files = sorted(file for p in patterns for file in Path("copy").glob(p) if file.is_file())
        file = moments.choice(files)
        place, bit = moments.randrange(file.stat().st_size), moments.randrange(8)
        with file.open("r+b") as stream:
            stream.seek(place)
            (byte,) = stream.read(1)
            stream.seek(place)
            stream.write(bytes([byte ^ 1 << bit]))
        what = f"bit {bit} of byte {place} of {folder}/{file.relative_to('copy')}"
        return what, fault_of(forked(act, Path("said")), *(allowed or ("",)))

    def _expected(self, act: Act) -> str:
        outcome = forked(act, Path("said"), seconds=300)
        if outcome.kind != "done":
            raise RuntimeError(f"without any damage: {outcome.said}")
        return outcome.said


def fault_of(outcome: Outcome, *allowed: str) -> str:
    """Return what is wrong with an outcome; empty for one that may be.

    Args:
        outcome: how a trial ended.
        allowed: what it may have said if it came to its end.
    """
    if not outcome.sound:
        return f"{outcome.kind}: {outcome.said}"
    if outcome.kind == "done" and outcome.said not in allowed:
        return f"came to its end with something else: {outcome.said}"
    return ""
