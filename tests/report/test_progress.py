"""What is said while stages run where there is no terminal."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mstgraph.report import progress
from mstgraph.report.progress import Lines

SUMS = {"task": torch.tensor(6.0), "samples": torch.tensor(4)}


def stage(name: str) -> Any:
    """A stage of three epochs."""
    return SimpleNamespace(name=name, settings=SimpleNamespace(epochs=3))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_line_per_interval(clock: list[float]) -> None:
    """Not sooner, of the first stage of a group alone, with the losses as they are."""
    said: list[str] = []
    lines = Lines(said.append, 10, "seed 0 · ")
    lines.group_started([stage("ci"), stage("other")], 5)
    for second, name in ((9, "ci"), (10, "other"), (10, "ci"), (19, "ci"), (20, "ci")):
        clock[0] = second
        lines.batch_done(stage(name), 2, 4, SUMS)
    assert said == [
        f"seed 0 · ci and 1 more: epoch 2/3, batch 4/5 · task 1.5000 · {n} s" for n in (10, 20)
    ]


def test_what_is_computed_once_is_said_too(clock: list[float]) -> None:
    """It may take longer than an epoch."""
    said: list[str] = []
    lines = Lines(said.append, 10)
    lines.group_started([stage("dkd")], 5)
    clock[0] = 11
    lines.keeping("keeping 4 values", 3, 9)
    assert said == ["dkd: keeping 4 values: 3/9"]


def test_no_interval_says_nothing(clock: list[float]) -> None:
    """0 switches it off."""
    said: list[str] = []
    lines = Lines(said.append, 0)
    lines.group_started([stage("ci")], 5)
    clock[0] = 1e6
    lines.batch_done(stage("ci"), 1, 1, SUMS)
    assert said == []
