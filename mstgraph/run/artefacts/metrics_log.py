"""The record of a stage on disk: ``metrics.jsonl`` and TensorBoard events, one entry per epoch."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypedDict

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.summary import scalar
from torch import Tensor

from mstgraph.run.artefacts.run_folder import EVENTS, METRICS, OWN_EVENTS
from mstgraph.run.reporter import Listener
from mstgraph.stages.stage import StageNode
from mstgraph.support.disk.forms import check_form
from mstgraph.support.errors import UserError
from mstgraph.support.files import explained, json_ready

FLUSH_SECONDS = 1.0
"""Least time between flushes of events: each waits for the disk, and an epoch may take less."""


class MetricsLog:
    """Writes each epoch's record, then passes it on.

    A resumed stage tells its earlier epochs again, so both files are written anew and hold each
    epoch once, however often the run was killed.
    """

    def __init__(self, folder: Path, listener: Listener):
        self.listener = listener
        with explained(folder):
            # New files, and not old ones emptied: they may be links to somewhere else.
            for old in (*folder.glob(EVENTS), folder / METRICS):
                old.unlink(missing_ok=True)
            self._lines = (folder / METRICS).open("x", encoding="utf-8")
            # Not a SummaryWriter: its thread dies of a full disk, and the run waits for it.
            self._events = EventsWriter(str(folder / "events"), OWN_EVENTS)
        self._flushed = -math.inf

    def batch_done(
        self, node: StageNode, epoch: int, batch: int, sums: Mapping[str, Tensor]
    ) -> None:
        """Pass it on."""
        self.listener.batch_done(node, epoch, batch, sums)

    def epoch_done(self, node: StageNode, record: Mapping[str, Any]) -> None:
        """Write a line and the events of an epoch."""
        with explained(Path(self._lines.name)):
            self._lines.write(json.dumps(json_ready(record), ensure_ascii=False) + "\n")
            self._lines.flush()
            for name, value in named_scalars(node, record):
                if not math.isfinite(value):  # what is undefined has no place in a curve
                    continue
                summary = scalar(name, value)
                event = Event(wall_time=time.time(), step=record["epoch"], summary=summary)
                self._events.write_event(event)
            if time.monotonic() - self._flushed >= FLUSH_SECONDS:
                self._events.flush()
                self._flushed = time.monotonic()
        self.listener.epoch_done(node, record)

    def close(self) -> None:
        """Close both files."""
        with explained(Path(self._lines.name)):
            self._lines.close()
            self._events.close()


class _Record(TypedDict):
    epoch: int
    best: bool


def read_records(path: Path) -> list[dict[str, Any]]:
    """Return the records of a stage; none where there is no file.

    Raises:
        UserError: a line is no record.
    """
    if not path.is_file():
        return []
    records = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            records.append(json.loads(line))
            check_form(records[-1], _Record, f"line {number}")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"'{path}' is damaged: {error}") from error
    return records


def named_scalars(node: StageNode, record: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield what `scalars` does, teachers by their names in place of their numbers."""
    names = {str(i): teacher.name for i, teacher in enumerate(node.teachers, 1)}
    listed = {
        key
        for key, value in record.get("validation", {}).items()
        if isinstance(value, list) and len(value) == len(names)
    }
    for name, value in scalars(record):
        head, _, number = name.rpartition("/")
        yield (f"{head}/{names[number]}" if head.rpartition("/")[2] in listed else name), value


def scalars(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield (name, value) of every number in a record, nested names joined by slashes.

    >>> list(scalars({"training": {"task": {"value": 2.0}}, "share": [0.25, 0.75]}))
    [('training/task/value', 2.0), ('share/1', 0.25), ('share/2', 0.75)]
    """
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from scalars(value, f"{prefix}{name}/")
        elif isinstance(value, list):
            yield from ((f"{prefix}{name}/{i}", item) for i, item in enumerate(value, 1))
        elif not isinstance(value, bool):
            yield f"{prefix}{name}", value
