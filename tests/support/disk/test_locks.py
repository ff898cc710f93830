"""One holder at a time, also where the file system has no locks."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mstgraph.support.disk.locks import InUse, held

WITHOUT = """
import errno, fcntl, os
def refuse(*arguments):
    raise OSError({code}, os.strerror({code}))
fcntl.flock = refuse
"""
HOLDER = """
import os, sys
from pathlib import Path
from mstgraph.support.disk.locks import held
with held(Path(sys.argv[1]), "held"):
    print("held", flush=True)
    if sys.stdin.readline() == "die\\n":
        os._exit(1)
"""


@pytest.fixture(params=["locks", errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def preamble(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file system with locks, or one that answers like those without; as code for a process."""
    if request.param == "locks":
        return ""

    def refuse(*arguments: object) -> None:
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    return WITHOUT.format(code=request.param)


def holder(lock: Path, preamble: str) -> subprocess.Popen[str]:
    """A process that holds the lock until it is told to go on or to die."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", preamble + HOLDER, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.filterwarnings("ignore:flock not supported")
@pytest.mark.parametrize("word", ["go on\n", "die\n"])
def test_one_process_at_a_time(word: str, preamble: str, tmp_path: Path) -> None:
    """The next one is refused until the first has ended, in whichever way it ends."""
    lock = tmp_path / ".lock"
    process = holder(lock, preamble)
    with pytest.raises(InUse, match="somebody is here"), held(lock, "somebody is here"):
        pass
    process.communicate(word)
    with held(lock, "somebody is here"):
        pass


@pytest.mark.filterwarnings("ignore:flock not supported")
def test_it_is_free_after_an_error(preamble: str, tmp_path: Path) -> None:
    """Also twice, and in a folder that an earlier holder has left its file in."""
    lock = tmp_path / ".lock"
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), held(lock, ""):
            raise ZeroDivisionError
    with held(lock, ""), pytest.raises(InUse), held(lock, ""):
        pass


def test_a_marker_that_nobody_can_check_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process of another machine may be gone or not: the user is told which file to remove."""

    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    marker = tmp_path / ".lock.marker"
    marker.write_text("1\nanother-machine\n")
    sentence = rf"^somebody is here; if there is none, remove '{marker}'$"
    with pytest.raises(InUse, match=sentence), held(tmp_path / ".lock", "somebody is here"):
        pass


def test_a_file_that_cannot_be_written_is_the_systems_error(tmp_path: Path) -> None:
    """It is not taken for a lock that somebody holds."""
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as caught, held(tmp_path / "file" / ".lock", "held"):  # noqa: PT011
        pass
    assert not isinstance(caught.value, InUse)
