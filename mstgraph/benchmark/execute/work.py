"""One job, wherever it is done: open its cell, train its stages, say how it went."""

from __future__ import annotations

import shutil
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from mstgraph.benchmark.execute.schedule import Outcome, Status
from mstgraph.benchmark.execute.told import Told, lines
from mstgraph.benchmark.execute.workplace import Workplace, taken
from mstgraph.benchmark.plan.dag import Job
from mstgraph.benchmark.plan.opening import artefact_name, open_cell
from mstgraph.declare.settings import Engine
from mstgraph.derive.experiment import Experiment
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.run.execute import Execution
from mstgraph.support.errors import RunError, UserError, users_line
from mstgraph.support.interrupt import Interrupt, Interrupted
from mstgraph.support.numerics import choose_device

ASKED_EVERY = 0.5  # seconds between two looks at the file that asks to stop


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


class _Quiet(Interrupt):
    """Leaves the signals to whoever has them already."""

    def __enter__(self) -> _Quiet:
        return self

    def __exit__(self, *exception: object) -> None:
        """There is nothing to restore."""


class _Scratch(RunFolder):
    """A job's own folder; a process that an earlier command left behind may still hold it.

    Args:
        path: the folder.
        places: stage → folder, see `RunFolder`.
        asked: says whether to stop.
    """

    def __init__(self, path: Path, places: Mapping[str, Path], asked: Callable[[], bool]):
        super().__init__(path, places)
        self._asked = asked

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder as soon as nobody else does, and remove it after success.

        Raises:
            Interrupted: on request, while it waits.
        """
        with ExitStack() as held:
            while not taken(self.path, held):
                if self._asked():
                    raise Interrupted(self.path.name)
                time.sleep(ASKED_EVERY)
            yield
            shutil.rmtree(self.path, ignore_errors=True)


def do(
    job: Job,
    place: Workplace,
    lost: Callable[[], bool] = lambda: False,
    takes_signals: bool = True,
    told: Told = lines,
) -> Outcome:
    """Train a job's stages into the shared artefacts; never raises what concerns this job alone.

    Args:
        job: the stages; what they need is finished.
        place: where.
        lost: see `StopAsked`.
        takes_signals: whether Ctrl-C and SIGTERM come here, and not to whoever calls this.
        told: makes the reporter.
    """
    started = time.monotonic()
    asked = StopAsked(place.stop_file, lost)
    interrupt = Interrupt(asked) if takes_signals else _Quiet(asked)
    status, sentence, details = _tried(job, place, asked, interrupt, told)
    seconds = time.monotonic() - started
    return Outcome(job, status, sentence, details, seconds)


def _tried(
    job: Job, place: Workplace, asked: StopAsked, interrupt: Interrupt, told: Told
) -> tuple[Status, str, str]:
    try:
        _train(job, place, asked, interrupt, told)
    except Interrupted:
        return "interrupted", "", ""
    except (UserError, RunError) as error:
        cause = error.__cause__  # what code of the user's raised has a traceback of use to them
        behind = traceback.format_exc() if cause and users_line(cause) else ""
        return "failed", str(error).splitlines()[0], behind
    except Exception as error:  # a method's or a network's own; other cells go on
        first = (str(error).splitlines() or ["no message"])[0]
        sentence = f"stage {', '.join(job.stages)}: {type(error).__name__}: {first}"
        return "failed", sentence, traceback.format_exc()
    return "done", "", ""


def _train(job: Job, place: Workplace, asked: StopAsked, interrupt: Interrupt, told: Told) -> None:
    if asked():  # it waited in a queue
        raise Interrupted(job.name)
    torch.set_num_threads(place.threads)
    device = choose_device(place.device)
    experiment = open_cell(job.cell)
    _check_planned(job, experiment)
    experiment = replace(experiment, engine=_shared(experiment.engine, device, place))
    stages = experiment.plan.stages.items()
    places = {name: place.folder_of(name, artefact_name(node)) for name, node in stages}
    Execution(
        experiment,
        _Scratch(place.scratch / job.name, places, asked),
        device,
        told(job, place, experiment, interrupt),
        interrupt,
        tests=place.tests,
    ).run_group(job.stages)


def _shared(engine: Engine, device: torch.device, place: Workplace) -> Engine:
    """Each worker sees all that is free and takes its share of it; what is declared holds as is.

    A tracker is told of a whole run, by whoever sees all of it.
    """
    memory, disk = engine.memory_gigabytes, engine.disk_gigabytes
    if memory is None:
        memory = engine.memory_budget(device) / place.share / 1e9
    if disk is None:
        disk = engine.disk_budget(place.scratch) / place.share / 1e9
    return replace(engine, memory_gigabytes=memory, disk_gigabytes=disk, tracker=None)


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
