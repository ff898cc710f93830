"""One job of a benchmark, wherever it is done: open its cell, train its stages, say how it went."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from rich.console import Console

from mstgraph.bench.dag import Job, artefact_name, open_cell, places
from mstgraph.errors import RunError, UserError
from mstgraph.execute import Execution, choose_device
from mstgraph.experiment import Experiment
from mstgraph.interrupt import Interrupt, Interrupted
from mstgraph.progress import ConsoleReporter
from mstgraph.run_folder import RunFolder

ASKED_EVERY = 0.5  # seconds between two looks at the file that asks to stop
Status = Literal["done", "failed", "interrupted"]


@dataclass(frozen=True)
class Workplace:
    """What every job of a benchmark has in common, wherever it is done.

    Attributes:
        artefacts: folder of what stages leave, on a path that all workers see.
        scratch: folder of what a job keeps while it is under way.
        device: name of the device.
        threads: torch's threads in a worker; sums depend on it to rounding, so that it is one
            number for all jobs and whatever their number.
        share: how many workers divide this machine's memory between them.
    """

    artefacts: Path
    scratch: Path
    device: str = "cpu"
    threads: int = 1
    share: int = 1

    @property
    def stop_file(self) -> Path:
        """Its being there asks all workers to stop."""
        return self.scratch / "stop"


@dataclass(frozen=True)
class Outcome:
    """How a job went.

    Attributes:
        job: the job.
        status: what came of it.
        sentence: why it failed.
        details: a traceback, for what is nobody's input.
        seconds: how long it took.
    """

    job: Job
    status: Status
    sentence: str = ""
    details: str = ""
    seconds: float = 0.0


class StopAsked:
    """Looks for the file that asks to stop, not too often; a lost parent asks the same.

    Args:
        path: the file.
        lost: says whether whoever waits for the result is gone.
    """

    def __init__(self, path: Path, lost: Callable[[], bool] = lambda: False):
        self._path = path
        self._lost = lost
        self._asked = False
        self._next = 0.0

    def __call__(self) -> bool:
        """Say whether to stop."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + ASKED_EVERY
            self._asked = self._path.exists() or self._lost()
        return self._asked


def do(job: Job, place: Workplace, lost: Callable[[], bool] = lambda: False) -> Outcome:
    """Train a job's stages into the shared artefacts; never raises what concerns this job alone.

    Args:
        job: the stages; what they need is finished.
        place: where.
        lost: see `StopAsked`.
    """
    started = time.monotonic()
    status, sentence, details = _tried(job, place, StopAsked(place.stop_file, lost))
    seconds = time.monotonic() - started
    return Outcome(job, status, sentence, details, seconds)


def _tried(job: Job, place: Workplace, asked: StopAsked) -> tuple[Status, str, str]:
    try:
        _train(job, place, asked)
    except Interrupted:
        return "interrupted", "", ""
    except (UserError, RunError) as error:
        return "failed", str(error).splitlines()[0], ""
    except Exception as error:  # a method's or a network's own; other cells go on
        first = (str(error).splitlines() or ["no message"])[0]
        sentence = f"stage {', '.join(job.stages)}: {type(error).__name__}: {first}"
        return "failed", sentence, traceback.format_exc()
    return "done", "", ""


def _train(job: Job, place: Workplace, asked: StopAsked) -> None:
    if asked():  # it waited in a queue
        raise Interrupted(job.name)
    torch.set_num_threads(place.threads)
    device = choose_device(place.device)
    experiment = open_cell(job.cell)  # gin's state is one per process: each job brings its own
    _check_planned(job, experiment)
    scratch = place.scratch / job.name
    budget = experiment.engine.memory_budget(device)
    if experiment.engine.memory_gigabytes is None:
        budget //= place.share
    silent = Console(quiet=True, force_terminal=False)
    Execution(
        experiment,
        RunFolder(scratch, places(experiment, place.artefacts)),
        device,
        ConsoleReporter(silent, experiment.task, experiment.source.synthetic),
        Interrupt(asked),
        budget,
    ).run_group(job.stages)
    shutil.rmtree(scratch, ignore_errors=True)


def _check_planned(job: Job, experiment: Experiment) -> None:
    """A file that is edited while the benchmark runs would give an artefact nobody asked for."""
    stages = experiment.plan.stages
    found = [artefact_name(stages[s]) if s in stages else "" for s in job.stages]
    for stage, expected, name in zip(job.stages, job.artefacts, found, strict=True):
        if name != expected:
            raise UserError(
                f"stage {stage} is no longer what was planned: a gin file, the code or the store "
                "has changed since; give the same command again"
            )
