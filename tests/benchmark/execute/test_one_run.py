"""The stages of one run as jobs: the same bits, whoever trains them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from bench_worlds import DIVERGES, EPOCHS, World, weights

import mstgraph
from mstgraph.benchmark.execute.dispatch import Options
from mstgraph.benchmark.execute.one_run import SideBySide
from mstgraph.benchmark.execute.work import do
from mstgraph.derive.opening import open_experiment
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.run.execute import Execution
from mstgraph.run.reporter import Silent
from mstgraph.support.errors import RunError, UserError

FEWER = "depth/Member.masks = ('hidden1',)", "fused/Member.masks = ('fusion',)"


class _Noting(Silent):
    """A reporter and a tracker that notes which stages and epochs it is told of."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []
        self.tracked: list[tuple[str, int, Any]] = []

    def stage_line(self, name: str, artefact: Any, reused: bool) -> None:
        self.told.append((name, reused))

    def started(self, name: str, settings: str) -> None:
        """Do nothing."""

    def epoch(self, stage: str, epoch: int, values: Any) -> None:
        self.tracked.append((stage, epoch, values["validation/loss"]))

    def ended(self, values: Any) -> None:
        """Do nothing."""


def _run(folder: str, *bindings: str, jobs: bool = True) -> _Noting:
    noting, given = _Noting(), (*EPOCHS, *FEWER, *bindings)
    elsewhere = SideBySide(["rgb.gin"], given, Options(Path(folder), Path(folder, "stages")), do)
    experiment = open_experiment(["rgb.gin"], given)
    experiment = replace(experiment, engine=replace(experiment.engine, tracker=noting))
    execution = Execution(experiment, RunFolder(Path(folder)), torch.device("cpu"), noting)
    execution.run(elsewhere if jobs else None)
    return noting


def _summary(folder: str) -> dict[str, Any]:
    students: dict[str, Any] = json.loads(Path(folder, "summary.json").read_text())["students"]
    return students


@pytest.mark.usefixtures("world")
def test_stages_as_jobs_leave_what_a_run_leaves() -> None:
    """Bit for bit, each told of once; a second time all of it is there."""
    plain, jobs = _run("plain", jobs=False), _run("jobs")
    assert sorted(jobs.told) == sorted(plain.told)
    assert sorted(jobs.tracked) == sorted(plain.tracked)
    assert len(jobs.tracked) == 2 + 2 * 2 + 2 + 4  # the student alone as long as CI and DKD
    assert weights("jobs/stages") == weights("plain/stages")
    student = "student-rgb.safetensors"
    assert Path("jobs", student).read_bytes() == Path("plain", student).read_bytes()
    assert _summary("jobs") == _summary("plain")
    assert not Path("jobs/.scratch").exists()
    told = dict(_run("jobs", "DKD.k = 2").told)
    assert {name for name, reused in told.items() if not reused} == {"dkd-rgb"}


def test_a_stage_that_fails_takes_only_those_that_need_it(world: World) -> None:
    """The run ends with its sentence; what is sound is there for the next one."""
    broken = [f"STA.{b.split('.')[1]}" if b.startswith("DKD") else b for b in DIVERGES]
    with pytest.raises(RunError, match=r"^stage sta-rgb-\S+: "):
        _run("out", *broken)
    there = {path.parent.name for path in Path("out/stages").glob("*/artefact.json")}
    assert there == {"ci", "alone-rgb"}


@pytest.mark.usefixtures("world")
def test_threads_of_jobs_that_there_are_not_are_no_silent_setting() -> None:
    """One process has the threads that torch takes."""
    with pytest.raises(UserError, match=r"^threads is 4, but there is one process, .*--jobs"):
        mstgraph.load("rgb.gin").run(threads=4, progress=False)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("threads", [0, 10**9])
def test_threads_that_would_end_the_process_are_refused(threads: int) -> None:
    """The library below ends it without a word."""
    with pytest.raises(UserError, match=rf"^--threads is {threads}, expected 1 to 1024$"):
        mstgraph.load("rgb.gin").run("out", threads=threads, jobs=2, progress=False)


@pytest.mark.usefixtures("world")
@pytest.mark.parametrize("jobs", [0, -1])
def test_no_jobs_are_not_one(jobs: int) -> None:
    """A program that counted wrongly is told, and nothing is trained."""
    with pytest.raises(UserError, match=rf"^--jobs is {jobs}, expected 1 or more$"):
        mstgraph.load("rgb.gin").run("out", jobs=jobs, progress=False)
