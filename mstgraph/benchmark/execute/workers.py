"""Who does the jobs: this process, processes of this machine, or a Ray cluster.

All three do a job in the same way, the one they are given, with the same number of threads, and so
come to the same numbers.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Protocol

from mstgraph.benchmark.execute.schedule import Outcome
from mstgraph.benchmark.execute.workplace import Workplace
from mstgraph.benchmark.plan.dag import Job
from mstgraph.support.errors import UserError

ANY_KIND = "*"
RAYS_OWN = ("num_cpus", "num_gpus", "memory")  # Ray has names of its own for these
RAYS_NAMES = {"num_cpus": "CPU", "num_gpus": "GPU"}  # of the same, where a cluster has them
ATTEMPTS = 3  # that a job gets whose machine or process Ray loses
GRACE = 5.0  # seconds that a worker outlives its parent at most


class Do(Protocol):
    """How a job is done: `mstgraph.benchmark.execute.work.do`."""

    def __call__(
        self,
        job: Job,
        place: Workplace,
        lost: Callable[[], bool] = ...,
        takes_signals: bool = ...,
    ) -> Outcome:
        """Do the job and say how it went."""


class Workers(Protocol):
    """Somebody who does jobs."""

    @property
    def slots(self) -> int:
        """How many jobs can be under way at a time."""

    def free(self) -> bool:
        """Whether another job would start at once."""

    def submit(self, job: Job) -> None:
        """Start a job."""

    def finished(self, timeout: float) -> list[Outcome]:
        """Return the jobs that have ended; waits for one for at most so many seconds."""

    def close(self) -> None:
        """Send everybody home; nobody is at work."""


class InProcess:
    """One job at a time, in this process.

    Args:
        do: how a job is done.
        place: where.
        stopping: says whether somebody asks to stop; signals go to whoever says so.
    """

    def __init__(self, do: Do, place: Workplace, stopping: Callable[[], bool]):
        self.do = do
        self.place = place
        self.stopping = stopping
        self._next: list[Job] = []

    @property
    def slots(self) -> int:
        """One."""
        return 1

    def free(self) -> bool:
        """Whether no job is under way."""
        return not self._next

    def submit(self, job: Job) -> None:
        """Keep the job until `finished` does it."""
        self._next.append(job)

    def finished(self, timeout: float) -> list[Outcome]:
        """Do the job."""
        if not self._next:
            return []
        return [self.do(self._next.pop(), self.place, self.stopping, takes_signals=False)]

    def close(self) -> None:
        """There is nobody to send home."""


class _Worker:
    """A process and the line to it."""

    def __init__(self, do: Do, place: Workplace):
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        self.line, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, do, place), daemon=True)
        resource_tracker.ensure_running()  # its own start would let signals through
        # Ctrl-C reaches a process that is still importing, too: it waits until that can be ignored.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        other.close()
        self.job: Job | None = None
        self.started = 0.0

    def take(self, job: Job) -> None:
        self.job, self.started = job, time.monotonic()
        self.line.send(job)

    def result(self) -> Outcome:
        """Return the outcome that has come, or what a process that died leaves to say."""
        job, self.job = self.job, None
        assert job is not None
        try:
            outcome: Outcome = self.line.recv()
            return outcome
        except (EOFError, ConnectionError):
            self.process.join()
            sentence = f"stage {', '.join(job.stages)}: its process {_ending(self.process)}"
            return Outcome(job, "failed", sentence, "", time.monotonic() - self.started)

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def close(self) -> None:
        self.line.close()
        self.process.join()


def _ending(process: Any) -> str:
    """Say in words how a process ended."""
    code = process.exitcode or 0
    if code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name
    hint = ", as it is when memory runs out; fewer --jobs need less" if name == "SIGKILL" else ""
    return f"was ended by {name}{hint}"


def _serve(line: Connection, do: Do, place: Workplace) -> None:
    """Do jobs until the line is closed."""
    # Ctrl-C reaches every process of the terminal; who is between two jobs must not die of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    end_with_parent()
    parent = os.getppid()
    while True:
        try:
            job = line.recv()
        except (EOFError, ConnectionError):
            return
        outcome = do(job, place, lost=lambda: os.getppid() != parent)
        try:
            line.send(outcome)
        except ConnectionError:
            return


def end_with_parent(grace: float = GRACE) -> None:
    """Let this process end soon after the one that started it, however that one ends.

    Between two batches a stage sees for itself that its result is wanted no more, and saves its
    state; but a pass over the validation split would hold its folder for as long as it takes.

    Args:
        grace: seconds for a stage to come to a clean end.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        wait([parent.sentinel])
        time.sleep(grace)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


class Processes:
    """Processes of this machine, one job each.

    Args:
        do: how a job is done.
        place: where.
        count: how many.
    """

    def __init__(self, do: Do, place: Workplace, count: int):
        self.do = do
        self.place = place
        self.count = count
        self._workers: list[_Worker] = []

    @property
    def slots(self) -> int:
        """A process each."""
        return self.count

    def free(self) -> bool:
        """Whether a process has nothing to do, or may still be started."""
        return len(self._busy()) < self.count

    def submit(self, job: Job) -> None:
        """Hand the job to a process; one that died is replaced."""
        self._workers = [worker for worker in self._workers if worker.job or worker.alive]
        idle = [worker for worker in self._workers if worker.job is None]
        if not idle:
            idle.append(_Worker(self.do, self.place))
            self._workers.append(idle[0])
        idle[0].take(job)

    def finished(self, timeout: float) -> list[Outcome]:
        """Return what has come; a process that died counts as a job that failed."""
        lines = {worker.line: worker for worker in self._busy()}
        ready = wait(list(lines), timeout)
        return [lines[line].result() for line in ready]  # type: ignore[index]

    def close(self) -> None:
        """Let the processes end."""
        for worker in self._workers:
            worker.close()

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self._workers if worker.job is not None]


class RayCluster:
    """A Ray cluster: every job a task, on whichever machine has what it asks for.

    The working directory, the stores and the folder of what is run lie on a path that all machines
    share, and mstgraph is installed on each.

    Args:
        do: how a job is done.
        place: where; paths are absolute.
        address: of the cluster (``host:6379``, ``ray://host:10001``, ``auto``), or ``local`` to
            start one on this machine.
        resources: kind of a stage, or ``'*'`` → resources of its task, as `Bench.resources`; what
            a stage itself declares, `Stage.resources`, wins.
        local: workers of a cluster that is started here.
    """

    def __init__(
        self,
        do: Do,
        place: Workplace,
        address: str,
        resources: Mapping[str, Mapping[str, float]],
        local: int,
    ):
        try:
            import ray  # type: ignore[import-not-found,unused-ignore]
        except ImportError as error:
            raise UserError(
                "--ray needs Ray, which is not installed; expected pip install 'mstgraph[ray]'"
            ) from error
        self.ray = ray
        self.do = do
        self.place = place
        self.resources = resources
        self._grows = address != "local"
        self._running: dict[Any, tuple[Job, float]] = {}
        self._lost: Counter[str] = Counter()
        quiet: dict[str, Any] = {"include_dashboard": False, "num_cpus": local}
        more = quiet if address == "local" else {}
        try:
            # Messages of tasks would come between the lines of the table.
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", **more)
        except (ConnectionError, ValueError, RuntimeError) as error:
            first = (str(error).splitlines() or ["no message"])[0]
            raise UserError(
                f"--ray {address}: there is no Ray cluster ({first}); expected the address that "
                "'ray start --head' printed, 'auto', or 'local' to start one here"
            ) from error

    @property
    def slots(self) -> int:
        """The cores that the cluster has now."""
        return max(1, int(self.ray.cluster_resources().get("CPU", 1)))

    def free(self) -> bool:
        """Ray keeps the queue itself; it is given what can run at once, and a few to come."""
        return len(self._running) < 2 * self.slots

    def submit(self, job: Job) -> None:
        """Start a task.

        Raises:
            UserError: it asks for more than a cluster that was started here has.
        """
        options = self._options(job)
        if not self._grows:  # Ray waits for ever for a machine that may join
            self._refuse_more_than_there_is(job, options)
        task = self.ray.remote(**options)(_do_there)
        reference = task.remote(self.do, job, self.place, str(Path.cwd()))
        self._running[reference] = (job, time.monotonic())

    def finished(self, timeout: float) -> list[Outcome]:
        """Return the jobs that have ended; one whose task Ray loses is begun again elsewhere."""
        if not self._running:
            return []
        ready, _ = self.ray.wait(list(self._running), timeout=timeout)
        outcomes = (self._outcome(reference, *self._running.pop(reference)) for reference in ready)
        return [outcome for outcome in outcomes if outcome is not None]

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        self.ray.shutdown()

    def _options(self, job: Job) -> dict[str, Any]:
        """Resources of a job: of each the most that one of its stages takes."""
        asked: dict[str, float] = {}
        for kind, declared in zip(job.kinds, job.resources, strict=True):
            default: Mapping[str, float] = self.resources.get(ANY_KIND, {"num_cpus": 1})
            for name, amount in (declared or self.resources.get(kind, default)).items():
                asked[name] = max(amount, asked.get(name, 0))
        known: dict[str, Any] = {name: asked.pop(name) for name in RAYS_OWN if name in asked}
        return {**known, **({"resources": asked} if asked else {}), "max_retries": 0}

    def _refuse_more_than_there_is(self, job: Job, options: Mapping[str, Any]) -> None:
        there = self.ray.cluster_resources()
        asked = {name: options.get(name, 0) for name in RAYS_OWN} | options.get("resources", {})
        for name, amount in asked.items():
            has = there.get(RAYS_NAMES.get(name, name), 0)
            if amount > has:
                raise UserError(
                    f"stage {', '.join(job.stages)} asks for {amount:g} of '{name}', but the "
                    f"cluster that --ray local starts has {has:g}; expected fewer, or more --jobs "
                    "where it is num_cpus"
                )

    def _outcome(self, reference: Any, job: Job, started: float) -> Outcome | None:
        """Return how a job went, or None if it was begun again: it goes on from its checkpoint."""
        try:
            outcome: Outcome = self.ray.get(reference)
            return outcome
        except self.ray.exceptions.RayError as error:
            self._lost[job.name] += 1
            if self._lost[job.name] < ATTEMPTS and not self.place.stop_file.exists():
                self.submit(job)
                return None
            first = (str(error).splitlines() or ["no message"])[0]
            stages, times = ", ".join(job.stages), self._lost[job.name]
            sentence = f"stage {stages}: Ray lost its task {times} times: {first}"
            return Outcome(job, "failed", sentence, str(error), time.monotonic() - started)


def _do_there(do: Do, job: Job, place: Workplace, directory: str) -> Outcome:
    """A task of Ray's: paths of gin files are relative to where the command was given."""
    os.chdir(directory)
    return do(job, place)
