"""torch's launcher as the command line uses it: started for real, with a word it does not know."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mstgraph.support.errors import RunError, UserError
from mstgraph.support.processes import launch as launching
from mstgraph.support.processes.launch import LAUNCHED, give_way, launch, launched, rank, speaks


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put back what the launcher sets for its own process."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    logging.disable(logging.NOTSET)


# Imported by each process as it starts: the main one comes when the other has ended, and stays.
LATE = """
import atexit, os, pathlib, signal, time
from mstgraph.support.processes import launch

ended = pathlib.Path(__file__).with_name("ended")
if launch.rank() > 0:
    launch.PATIENCE = 0
    atexit.register(ended.touch)
elif launch.launched():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while not ended.exists():
        time.sleep(0.05)
"""


def test_processes_end_with_the_code_of_the_first_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The user is told once, however late the main process is, and sees no stack."""
    (tmp_path / "sitecustomize.py").write_text(LATE)
    paths = (str(tmp_path), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    assert launch(2, ["trian"]) == 2
    said = capfd.readouterr().err
    assert (tmp_path / "ended").exists()
    assert said.count("No such command 'trian'") == 1
    assert "Traceback" not in said


def test_the_first_that_asks_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once in each attempt of a launcher's; where there is none, everybody does."""
    from torch.distributed import TCPStore

    monkeypatch.delenv(LAUNCHED, raising=False)
    assert [speaks(), speaks()] == [True, True]
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    monkeypatch.setenv(LAUNCHED, "it")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    assert [speaks(), speaks()] == [True, False]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert [speaks(), speaks()] == [True, False]
    del store
    monkeypatch.setattr(launching, "ANSWERS_WITHIN", timedelta(seconds=0.1))
    assert [speaks(), speaks()] == [True, True]


def test_one_that_was_killed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the signal that ended it."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
    from torch.distributed.launcher import api

    def fail(*_: object) -> None:
        failure = ProcessFailure(local_rank=1, pid=1, exitcode=-9, error_file="none")
        raise ChildFailedError("mstgraph", {1: failure})

    monkeypatch.setattr(api, "elastic_launch", lambda config, command: fail)
    with pytest.raises(RunError, match="process 1 of 2 was ended by SIGKILL"):
        launch(2, [])


def test_more_processes_than_a_machine_bears_are_never_started() -> None:
    """The sentence says how many it would bear."""
    with pytest.raises(UserError, match=r"--processes is 1000000000, expected at most \d+, 16 for"):
        launch(10**9, ["run"])


def test_the_main_process_speaks_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait for the launcher to end them, and without a launcher there are none."""
    waited: list[float] = []
    monkeypatch.setattr(launching.time, "sleep", waited.append)
    monkeypatch.delenv(LAUNCHED, raising=False)
    monkeypatch.setenv("RANK", "1")  # a cluster's own
    give_way()
    assert (launched(), rank(), waited) == (False, 0, [])
    monkeypatch.setenv(LAUNCHED, "it")
    give_way()
    assert (launched(), rank(), waited) == (True, 1, [launching.PATIENCE])
    monkeypatch.setenv("RANK", "0")
    give_way()
    assert waited == [launching.PATIENCE]
    give_way(left_alone=True)  # the one that ended speaks before
    assert waited[1] > launching.PATIENCE
