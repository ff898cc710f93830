"""A tracker is told a run's numbers, and can change nothing."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mstgraph.run.reporter import Silent
from mstgraph.run.tracked import Tracked
from mstgraph.support.errors import UserError

NODE: Any = SimpleNamespace(
    name="dkd", teachers=[SimpleNamespace(name="a.x"), SimpleNamespace(name="b.y")]
)
RECORD = {"epoch": 2, "validation": {"loss": 0.5, "share": [0.25, 0.75], "other": [1.0]}}


class Remembering(Silent):
    """A reporter and a tracker that remember."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def note(self, sentence: str) -> None:
        """Remember."""
        self.told.append(sentence)

    def epoch_done(self, node: Any, record: Any) -> None:
        """Remember."""
        self.told.append(record)

    def started(self, name: str, settings: str) -> None:
        """Remember."""
        self.told.append((name, settings))

    def epoch(self, stage: str, epoch: int, values: Any) -> None:
        """Remember."""
        self.told.append((stage, epoch, values))

    def ended(self, values: Any) -> None:
        """Remember."""
        self.told.append(values)


def test_numbers_carry_the_names_of_teachers() -> None:
    """What there is one of per teacher; other lists keep their numbers."""
    reporter, tracker = Remembering(), Remembering()
    tracked = Tracked(reporter, tracker)
    tracked.started("run", "a = 1")
    tracked.epoch_done(NODE, RECORD)
    tracked.ended({"students": {"s": {"alone": {"OA": 0.5}, "gain": {"OA": None}}}})
    assert tracker.told[0] == ("run", "a = 1")
    stage, epoch, values = tracker.told[1]
    assert (stage, epoch) == ("dkd", 2)
    assert values["validation/share/a.x"] == 0.25
    assert values["validation/share/b.y"] == 0.75
    assert values["validation/other/1"] == 1.0
    assert tracker.told[2] == {"s/alone/OA": 0.5}
    assert reporter.told == [RECORD]


def test_a_tracker_that_fails_stops_no_run() -> None:
    """It is said once, and the reporter hears everything all the same."""

    class Broken(Remembering):
        def epoch(self, stage: str, epoch: int, values: Any) -> None:
            raise ConnectionError("no server")

    reporter, tracker = Remembering(), Broken()
    tracked = Tracked(reporter, tracker)
    for _ in range(2):
        tracked.epoch_done(NODE, RECORD)
    assert reporter.told == [
        "the tracker Broken failed and is told nothing more: no server",
        RECORD,
        RECORD,
    ]


def test_a_missing_library_is_said_before_anything_is_trained() -> None:
    """One sentence that names the extra."""
    from mstgraph.trackers.mlflow import MLflow

    try:
        import mlflow  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match=r"mstgraph\[mlflow\]"):
            Tracked(Silent(), MLflow()).started("run", "")
