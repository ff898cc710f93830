"""Processes that read samples of a recipe, and the threads of this one that wait for them.

Each is a fresh interpreter that loads the recipe from its file: a fork would share open files,
whose positions the processes then move for each other, and does not outlive torch's threads; what
`multiprocessing` spawns would run the user's script again. Rows come back through a socket.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import pickle
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from mstgraph.store.build.reading.blocks import Block, Samples
from mstgraph.store.declared import Declared
from mstgraph.store.layout import Column
from mstgraph.store.load import class_in
from mstgraph.support.errors import RunError, UserError, users_code
from mstgraph.support.seeds import python_seeded

GRACE = 1.0  # seconds that a process has to end by itself, and to see that its parent is gone
ERRORS = {"UserError": UserError, "RunError": RunError}


@dataclass(frozen=True)
class _Order:
    """What a process must know to read samples.

    Attributes:
        file: of the recipe.
        name: of its class.
        options: values of its fields; pickled, as their types may be the recipe's own.
        declared: what it declares.
        columns: as samples are stored.
    """

    file: Path
    name: str
    options: bytes
    declared: Declared
    columns: Sequence[Column]

    @classmethod
    def of(cls, samples: Samples) -> _Order:
        recipe, chosen = samples.recipe, type(samples.recipe)
        options: dict[str, object] = {}
        if dataclasses.is_dataclass(recipe):
            fields = (field.name for field in dataclasses.fields(recipe) if field.init)
            options = {name: getattr(recipe, name) for name in fields}
        file = Path(inspect.getfile(chosen)).resolve()
        declared = replace(samples.declared, official_splits={})  # of no use, and perhaps large
        return cls(file, chosen.__name__, pickle.dumps(options), declared, samples.columns)

    def samples(self) -> Samples:
        """Return the samples of a recipe that is loaded as it was in the first process."""
        chosen = class_in(self.file, self.name)
        options = pickle.loads(self.options)
        with users_code(f"recipe {self.file} refuses its options"), python_seeded(0):
            recipe = chosen(**options)
        return Samples(recipe, self.declared, self.columns)


def are_possible(samples: Samples) -> bool:
    """Say whether another process finds a recipe's class, and understands its options."""
    chosen = type(samples.recipe)
    try:
        _Order.of(samples)
    except Exception:  # pickle raises what the object raises
        return False
    # A file that was loaded twice has two classes of one name, and either will do.
    found = getattr(sys.modules.get(chosen.__module__), chosen.__name__, None)
    return found is not None and chosen.__qualname__ == chosen.__name__


class Workers:
    """Processes that read samples side by side; leaving ends them all.

    Args:
        samples: of which recipe.
        count: number of processes.

    Raises:
        UserError: the recipe cannot be handed to another process.
    """

    def __init__(self, samples: Samples, count: int) -> None:
        if not are_possible(samples):
            raise UserError(
                f"the recipe of {samples.declared.title} cannot be handed to other processes; "
                "expected a class at the top of its file, and numbers and text as its options, or "
                "--jobs 1"
            )
        self._idle: queue.SimpleQueue[_Worker] = queue.SimpleQueue()
        order = _Order.of(samples)
        self._workers = [_Worker(order) for _ in range(count)]
        self._threads = ThreadPoolExecutor(count, "mstgraph-prepare")
        self._in_turn = [ThreadPoolExecutor(1, "mstgraph-prepare") for _ in range(count)]
        for worker in self._workers:
            self._idle.put(worker)

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._workers:
            worker.dismiss()
        deadline = time.monotonic() + GRACE
        for worker in self._workers:
            worker.end(deadline)
        for threads in (self._threads, *self._in_turn):
            threads.shutdown(cancel_futures=True)

    def read(self, samples: range, block: Block) -> Future[range]:
        """Have samples read into their rows of a block; returns them when they are there."""
        return self._threads.submit(self._read, samples, block)

    def read_in_turn(self, chunk: int, samples: range, block: Block) -> Future[range]:
        """Have samples of a chunk read; all of it by one process, in the order of the calls."""
        number = chunk % len(self._workers)
        return self._in_turn[number].submit(self._workers[number].read, samples, block)

    def _read(self, samples: range, block: Block) -> range:
        worker = self._idle.get()
        try:
            return worker.read(samples, block)
        finally:
            self._idle.put(worker)


class _Worker:
    """A process and the line to it."""

    def __init__(self, order: _Order) -> None:
        own, other = socket.socketpair()
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; "
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"{code}serve({other.fileno()}, {os.getpid()})"],
            stdin=subprocess.DEVNULL,
            pass_fds=[other.fileno()],
            start_new_session=True,  # Ctrl-C is for this process, which ends the others
        )
        other.close()
        self._line, self._reader = own, own.makefile("rb")
        with suppress(ConnectionError):  # who asks it for samples is told how it ended
            self._say(order)

    def read(self, samples: range, block: Block) -> range:
        """Have samples read into their rows of a block, and return them."""
        try:
            self._say(samples)
            kind, said = pickle.load(self._reader)
            if kind is not None:
                raise ERRORS.get(kind, RuntimeError)(said)
            rows = block.rows(samples)
            block.identifiers[rows], files = said
            for name, own in files.items():
                block.files[name][rows] = own
            for array in block.filled():
                self._fill(array[rows].reshape(-1).view("u1").data)
        except (EOFError, ConnectionError, pickle.UnpicklingError) as error:
            raise RunError(
                f"the process that read samples {samples.start} to {samples.stop - 1} {self._end()}"
            ) from error
        return samples

    def _say(self, what: object) -> None:
        self._line.sendall(pickle.dumps(what))

    def _fill(self, view: memoryview) -> None:
        if self._reader.readinto(view) < len(view):
            raise EOFError

    def _end(self) -> str:
        code = self._process.wait()
        if code >= 0:
            return f"ended with exit code {code}"
        name = signal.Signals(-code).name
        hint = (
            ", as it is when memory runs out; fewer --jobs need less" if name == "SIGKILL" else ""
        )
        return f"was ended by {name}{hint}"

    def dismiss(self) -> None:
        """Close the line: the process ends as soon as it looks."""
        self._line.shutdown(socket.SHUT_RDWR)

    def end(self, deadline: float) -> None:
        """Wait for the process's end, but not for ever."""
        try:
            self._process.wait(max(0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.close()
        self._line.close()


def serve(descriptor: int, parent: int) -> None:
    """Read samples for the process at the other end of a socket until it closes the line."""
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    line = socket.socket(fileno=descriptor)
    reader, writer = line.makefile("rb"), line.makefile("wb")
    try:
        order, samples = pickle.load(reader), None
        while True:
            wanted = pickle.load(reader)
            try:
                samples = samples or order.samples()
                block = _read(samples, wanted)
            except Exception as error:
                pickle.dump(_told(error), writer)
            else:
                pickle.dump((None, (block.identifiers, block.files)), writer)
                for array in block.filled():
                    writer.write(array.reshape(-1).view("u1").data)
            writer.flush()
    except (EOFError, ConnectionError, pickle.UnpicklingError):
        return


def _read(samples: Samples, wanted: range) -> Block:
    block = Block(samples.columns, wanted)
    for index in wanted:
        samples.put(index, block)
    return block


def _told(error: Exception) -> tuple[str, str]:
    kind = type(error).__name__
    return kind, str(error) if kind in ERRORS else "".join(traceback.format_exception(error))


def _follow(parent: int) -> None:
    """End with the process that started this one, whatever a recipe is at."""
    while os.getppid() == parent:
        time.sleep(GRACE)
    os._exit(1)
