"""What checks the others must not be blind, nor see what is not there."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from mstgraph.support.errors import UserError
from tools.fault_check import inputs
from tools.fault_check.flips import fault_of
from tools.fault_check.trial import forked
from tools.fault_check.world import GIN


def refused() -> str:
    """Refuse something in one sentence."""
    raise UserError("it is refused")


def crash() -> str:
    """End without a word."""
    os.kill(os.getpid(), signal.SIGKILL)
    return ""


def write() -> str:
    """Write more than the disk takes."""
    Path("large").write_bytes(bytes(10_000))
    return ""


@pytest.mark.parametrize(
    ("act", "kind", "fault"),
    [
        (lambda: "same", "done", ""),
        (lambda: "other", "done", "came to its end with something else: other"),
        (refused, "refused", ""),
        (lambda: str(1 / 0), "traceback", "traceback: "),
        (crash, "crash", "crash: exit code -9"),
        (write, "traceback", "traceback: "),
    ],
)
def test_how_a_trial_ended_is_told(act, kind, fault, tmp_path, monkeypatch) -> None:
    """A sentence is sound; a traceback, a crash or another result is a fault."""
    monkeypatch.chdir(tmp_path)
    outcome = forked(act, Path("said"), file_size=5000)
    assert outcome.kind == kind
    found = fault_of(outcome, "same")
    assert found.startswith(fault)
    assert bool(found) == bool(fault)


def test_what_hangs_or_is_killed_on_purpose(tmp_path: Path) -> None:
    """The one is a fault, the other is not."""
    asleep = lambda: str(time.sleep(60))  # noqa: E731
    assert forked(asleep, tmp_path / "said", seconds=0.1).kind == "hang"
    assert forked(asleep, tmp_path / "said", kill_after=0.1).kind == "killed"


def test_inputs_are_changed_the_same_way_under_a_seed() -> None:
    """So that what failed can be seen again; and they are changed nearly always."""
    texts = [inputs._changed(GIN, random.Random(seed)) for seed in range(30)]
    assert texts == [inputs._changed(GIN, random.Random(seed)) for seed in range(30)]
    assert sum(text != GIN for text in texts) > 25
