"""One trial: something is done in a process of its own, and ends well, in words, or badly."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mstgraph.support.errors import RunError, UserError
from mstgraph.support.interrupt import Interrupted

Kind = Literal["done", "refused", "traceback", "crash", "hang", "killed"]
_CODES: dict[int, Kind] = {0: "done", 2: "refused", 3: "traceback"}


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Attributes:
        kind: ``done``, or ``refused`` with one sentence, or ``killed`` as it was meant to be; all
            else is a fault.
        said: what it returned, the sentence, or the traceback.
    """

    kind: Kind
    said: str

    @property
    def sound(self) -> bool:
        """Whether it came to its end, or was refused in one sentence."""
        return self.kind == "done" or (self.kind == "refused" and len(self.said.splitlines()) == 1)


def forked(
    act: Callable[[], str],
    said: Path,
    *,
    seconds: float = 300,
    kill_after: float | None = None,
    file_size: int | None = None,
) -> Outcome:
    """Do something in a forked process, which has all modules loaded already.

    Args:
        act: what; what it returns is told.
        said: file for what it says, and for what comes of it.
        seconds: after which it counts as hanging.
        kill_after: seconds after which it is killed on purpose.
        file_size: bytes that no file may exceed, as on a disk that is full.
    """
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os._exit(_be(act, said, file_size))
    deadline = time.monotonic() + (seconds if kill_after is None else kill_after)
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Outcome("hang" if kill_after is None else "killed", "")
        time.sleep(0.002)
    code = os.waitstatus_to_exitcode(ended[1])
    text = said.read_text(encoding="utf-8", errors="replace") if said.exists() else ""
    ended_itself = "\0" in text
    return Outcome(
        _CODES.get(code, "crash") if ended_itself else "crash",
        text.rpartition("\0")[2] if ended_itself else f"exit code {code}: {text}",
    )


def _be(act: Callable[[], str], said: Path, file_size: int | None) -> int:
    stream = os.open(said, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    for standard in (1, 2):
        os.dup2(stream, standard)
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, resource.RLIM_INFINITY))
    code, text = _result(act)
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    sys.stdout.flush()
    os.write(stream, f"\0{text}".encode("utf-8", "replace"))
    return code


def _result(act: Callable[[], str]) -> tuple[int, str]:
    try:
        return 0, act()
    except (UserError, RunError, Interrupted) as error:
        return 2, str(error)
    except BaseException:  # whatever it is, it should have been a sentence
        return 3, traceback.format_exc()
