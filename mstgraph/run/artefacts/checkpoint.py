"""The state of a stage that is under way, written such that it is whole or not there."""

from __future__ import annotations

import hashlib
import io
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from mstgraph.support.files import partial_path, write_atomically

# A checkpoint may cost at most this share of the time since the one before.
COST_SHARE = 0.02
DIGEST_BYTES = 32
CHECKPOINT = "checkpoint.pt"

_log = logging.getLogger(__name__)


@dataclass
class TrainingState:
    """Everything that determines how a stage goes on.

    Attributes:
        hash: of the stage; a checkpoint of another stage is of no use.
        epoch: the epoch under way, from 1.
        batch: how many of its batches are done.
        seconds: time spent so far.
        sums: running sums of the epoch's loss terms, and its number of samples.
        scales: the scales of its loss terms.
        history: one record per finished epoch.
        best_epoch: the epoch whose weights are the best so far; 0 before the first.
        best_value: its selection value, lower is better.
        parts: current state dicts of the trained parts.
        best: their state dicts at the best epoch.
        optimizer: the optimiser's state dict.
        random: random states, by device.
        average: averages of the trained parts' states, where the stage keeps them.
        averaged: how many steps they have seen.
    """

    hash: str
    epoch: int = 1
    batch: int = 0
    seconds: float = 0.0
    sums: dict[str, Any] = field(default_factory=dict)
    scales: dict[str, float] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    best_value: float = float("inf")
    parts: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    best: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    random: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    averaged: int = 0


class Checkpoints:
    """Reads and writes the checkpoint of one stage, as seldom as its cost asks for."""

    def __init__(self, path: Path):
        self.path = path
        self._cost = 0.0
        self._written = time.monotonic()

    def load(self, stage_hash: str) -> TrainingState | None:
        """Return the state to go on from, or None if there is none of this very stage.

        A damaged one is reported and counts as none: the stage comes out the same, only later.
        """
        if not self.path.is_file():
            return None
        saved = _read(self.path)
        if saved is None:
            _log.warning("'%s' is damaged; its stage starts over", self.path)
            return None
        return TrainingState(**saved) if saved["hash"] == stage_hash else None

    def due(self, stages: int = 1) -> bool:
        """Say whether another one would cost less than its share of the time since the last.

        Args:
            stages: how many stages pass that time together, each with checkpoints of its own.
        """
        return (time.monotonic() - self._written) / stages * COST_SHARE >= self._cost

    def save(self, state: TrainingState) -> None:
        """Write the state atomically."""
        started = time.monotonic()
        content = {item.name: getattr(state, item.name) for item in fields(state)}
        write_atomically(self.path, lambda temporary: _write(temporary, content))
        self._written = time.monotonic()
        self._cost = self._written - started

    def remove(self) -> None:
        """Forget the state; the stage is finished."""
        self.path.unlink(missing_ok=True)
        partial_path(self.path).unlink(missing_ok=True)  # a kill can leave it


class _Digesting(io.RawIOBase):
    """Passes bytes on to a file and keeps their digest: torch checks none when it reads."""

    def __init__(self, stream: IO[bytes]):
        super().__init__()
        self.stream = stream
        self.total = hashlib.sha256()

    def write(self, content: Any) -> int:
        self.total.update(content)
        return self.stream.write(content)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    with path.open("wb") as stream:
        digesting = _Digesting(stream)
        try:
            torch.save(content, cast(IO[bytes], digesting))
        except RuntimeError as error:  # torch hides why a write failed
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise
        stream.write(digesting.total.digest())


def _read(path: Path) -> dict[str, Any] | None:
    """Return a checkpoint's content, or None if it is not as it was written."""
    content = path.read_bytes()
    body, expected = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != expected:
        return None
    saved: dict[str, Any] = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    return saved


def random_states(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's random generators that a stage on a device draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_random_states(states: Mapping[str, Tensor], device: torch.device) -> None:
    """Set torch's random generators."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
