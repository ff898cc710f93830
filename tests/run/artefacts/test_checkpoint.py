"""A stage's state on disk: whole, of the right stage, and not written too often."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from mstgraph.run.artefacts import checkpoint
from mstgraph.run.artefacts.checkpoint import (
    COST_SHARE,
    Checkpoints,
    TrainingState,
    random_states,
    restore_random_states,
)
from mstgraph.support.files import partial_path

CPU = torch.device("cpu")


def state() -> TrainingState:
    """A state with something of each kind in it."""
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(layer.parameters())
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return TrainingState(
        hash="abc",
        epoch=4,
        batch=2,
        seconds=1.5,
        sums={"task": torch.tensor(2.5), "samples": 12},
        scales={"task": 1.0},
        history=[{"epoch": 1, "validation": {"loss": 0.25, "metrics": {"s": {"OA": 0.5}}}}],
        best_epoch=3,
        best_value=-0.5,
        parts={"s": dict(layer.state_dict())},
        best={"s": dict(layer.state_dict())},
        optimizer=optimizer.state_dict(),
        random=random_states(CPU),
    )


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    """Every field, bit for bit."""
    saved, checkpoints = state(), Checkpoints(tmp_path / "checkpoint.pt")
    checkpoints.save(saved)
    loaded = checkpoints.load("abc")
    assert loaded is not None
    for name in ("epoch", "batch", "seconds", "scales", "history", "best_epoch", "best_value"):
        assert getattr(loaded, name) == getattr(saved, name)
    assert torch.equal(loaded.sums["task"], saved.sums["task"])
    assert loaded.sums["samples"] == 12
    for name in ("parts", "best"):
        for key, tensor in getattr(saved, name)["s"].items():
            assert torch.equal(getattr(loaded, name)["s"][key], tensor)
    for number, moments in saved.optimizer["state"].items():
        for key, tensor in moments.items():
            assert torch.equal(loaded.optimizer["state"][number][key], tensor)
    assert torch.equal(loaded.random["cpu"], saved.random["cpu"])


def test_a_checkpoint_of_another_stage_is_of_no_use(tmp_path: Path) -> None:
    """Another hash: start from the beginning, without a warning."""
    checkpoints = Checkpoints(tmp_path / "checkpoint.pt")
    assert checkpoints.load("abc") is None
    checkpoints.save(state())
    assert checkpoints.load("other") is None


def test_any_damage_is_noticed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Wherever a file is cut, and whichever byte is changed."""
    path = tmp_path / "checkpoint.pt"
    checkpoints = Checkpoints(path)
    checkpoints.save(state())
    content = path.read_bytes()
    places = range(0, len(content), 401)
    for place in places:
        path.write_bytes(content[:place])
        assert checkpoints.load("abc") is None
        changed = bytearray(content)
        changed[place] ^= 16
        path.write_bytes(changed)
        assert checkpoints.load("abc") is None
    assert len(caplog.records) == 2 * len(places)
    assert caplog.records[0].levelno == logging.WARNING


def test_a_failed_write_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing half written takes its name, and nothing is left beside it."""
    checkpoints = Checkpoints(tmp_path / "checkpoint.pt")
    checkpoints.save(state())
    monkeypatch.setattr(checkpoint.torch, "save", lambda content, stream: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        checkpoints.save(TrainingState(hash="abc", epoch=9))
    loaded = checkpoints.load("abc")
    assert loaded is not None
    assert loaded.epoch == 4
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_checkpoints_cost_at_most_their_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock of our own: one of 2 s is due again after 100 s, not before."""
    now = [0.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])

    def write(path: Path, content: object) -> None:
        now[0] += 2.0
        path.write_bytes(b"x")

    monkeypatch.setattr(checkpoint, "_write", write)
    checkpoints = Checkpoints(tmp_path / "checkpoint.pt")
    assert checkpoints.due()
    checkpoints.save(state())
    now[0] += 2.0 / COST_SHARE - 1
    assert not checkpoints.due()
    now[0] += 1.5
    assert checkpoints.due()
    assert not checkpoints.due(stages=4)  # the four of a group have one share between them
    now[0] += 3 * 2.0 / COST_SHARE
    assert checkpoints.due(stages=4)


def test_remove_leaves_nothing(tmp_path: Path) -> None:
    """Not what a kill left half written either."""
    path = tmp_path / "checkpoint.pt"
    Checkpoints(path).remove()
    path.write_bytes(b"x")
    partial_path(path).write_bytes(b"y")
    Checkpoints(path).remove()
    assert not list(tmp_path.iterdir())


def test_random_states_are_put_back() -> None:
    """The same numbers follow."""
    states = random_states(CPU)
    first = torch.rand(4)
    restore_random_states(states, CPU)
    assert torch.equal(torch.rand(4), first)
