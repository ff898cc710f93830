"""metrics.jsonl and TensorBoard events."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import training_worlds as small
from tensorboardX.proto.event_pb2 import Event

from mstgraph.run.artefacts import metrics_log
from mstgraph.run.artefacts.metrics_log import MetricsLog, scalars
from mstgraph.stages.pretrain import Pretrain
from mstgraph.support.errors import UserError

RECORDS = [
    {"epoch": e, "training": {"task": {"value": 1 / e}}, "share": [0.25, 0.75], "best": e == 1}
    for e in (1, 2, 3)
]


class Listener:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def batch_done(self, node: Any, epoch: int, batch: int, sums: Mapping[str, Any]) -> None:
        """Remember a batch."""
        self.told.append((epoch, batch))

    def epoch_done(self, node: Any, record: Mapping[str, Any]) -> None:
        """Remember an epoch."""
        self.told.append(record)


def write(folder: Path, records: list[dict[str, Any]]) -> Listener:
    """Log some epochs."""
    listener = Listener()
    log = MetricsLog(folder, listener)
    node = small.world(Pretrain(), "pretrain").node
    log.batch_done(node, 1, 1, {})
    for record in records:
        log.epoch_done(node, record)
    log.close()
    return listener


def events(folder: Path) -> list[tuple[int, str, float]]:
    """Read the one event file by its format: length, check, content, check."""
    (path,) = folder.glob("events.out.tfevents.*")
    content, found = path.read_bytes(), []
    while content:
        length = int.from_bytes(content[:8], "little")
        event = Event.FromString(content[12 : 12 + length])
        found += [(event.step, v.tag, round(v.simple_value, 6)) for v in event.summary.value]
        content = content[16 + length :]
    return found


def test_each_epoch_is_a_line_and_events(tmp_path: Path) -> None:
    """Numbers by their path; what is true or false is no curve; the listener hears all."""
    listener = write(tmp_path, RECORDS)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == RECORDS
    assert listener.told == [(1, 1), *RECORDS]
    curves = {(step, tag): value for step, tag, value in events(tmp_path)}
    assert curves[3, "training/task/value"] == pytest.approx(1 / 3, abs=1e-6)
    assert curves[2, "share/2"] == 0.75
    assert {tag for _, tag in curves} == {"epoch", "training/task/value", "share/1", "share/2"}


def test_a_resumed_stage_holds_each_epoch_once(tmp_path: Path) -> None:
    """It tells its earlier epochs again."""
    write(tmp_path, RECORDS[:2])
    write(tmp_path, RECORDS)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 3
    assert len([tag for _, tag, _ in events(tmp_path) if tag == "share/1"]) == 3


def test_lines_are_there_at_once_and_no_thread_writes(tmp_path: Path) -> None:
    """Who looks at a running stage sees its last epoch; a full disk is met where it can be told."""
    before = threading.active_count()
    log = MetricsLog(tmp_path, Listener())
    log.epoch_done(small.world(Pretrain(), "pretrain").node, RECORDS[0])
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1
    assert events(tmp_path)
    assert threading.active_count() == before
    log.close()


def test_short_epochs_do_not_wait_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events are flushed once a second, and in the end all of them are there."""
    now, flushed = [0.0], []
    flush = metrics_log.EventsWriter.flush
    monkeypatch.setattr(metrics_log.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(
        metrics_log.EventsWriter, "flush", lambda self: (flushed.append(now[0]), flush(self))[1]
    )
    log, node = MetricsLog(tmp_path, Listener()), small.world(Pretrain(), "pretrain").node
    for epoch in range(1, 8):
        now[0] = epoch / 4
        log.epoch_done(node, {"epoch": epoch, "loss": 1 / epoch})
    assert flushed == [0.25, 1.25]
    log.close()
    assert [step for step, tag, _ in events(tmp_path) if tag == "loss"] == list(range(1, 8))


def test_a_full_disk_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the events go."""

    def full(self: Any, event: Any) -> None:
        raise OSError(28, "No space left on device")

    log = MetricsLog(tmp_path, Listener())
    monkeypatch.setattr(metrics_log.EventsWriter, "write_event", full)
    with pytest.raises(UserError, match="no space is left to write"):
        log.epoch_done(small.world(Pretrain(), "pretrain").node, RECORDS[0])
    log.close()


def test_scalars() -> None:
    """Nested names are joined; lists are numbered from 1 like teachers."""
    record = {"a": 1, "b": {"c": [0.5, {"x": 2.0}["x"]], "d": True}}
    assert dict(scalars(record)) == {"a": 1, "b/c/1": 0.5, "b/c/2": 2.0}
