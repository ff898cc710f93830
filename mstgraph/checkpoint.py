"""The state of a stage that is under way, written such that it is whole or not there."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mstgraph.files import write_atomically

# A checkpoint may cost at most this share of the time since the one before.
COST_SHARE = 0.02


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


class Checkpoints:
    """Reads and writes the checkpoint of one stage, as seldom as its cost asks for."""

    def __init__(self, path: Path):
        self.path = path
        self._cost = 0.0
        self._written = time.monotonic()

    def load(self, stage_hash: str) -> TrainingState | None:
        """Return the state to go on from, or None if there is none of this very stage."""
        if not self.path.is_file():
            return None
        saved = torch.load(self.path, map_location="cpu", weights_only=True)
        return TrainingState(**saved) if saved["hash"] == stage_hash else None

    def due(self) -> bool:
        """Say whether another one would cost less than its share of the time since the last."""
        return (time.monotonic() - self._written) * COST_SHARE >= self._cost

    def save(self, state: TrainingState) -> None:
        """Write the state atomically."""
        started = time.monotonic()
        content = {item.name: getattr(state, item.name) for item in fields(state)}
        write_atomically(self.path, lambda temporary: torch.save(content, temporary))
        self._written = time.monotonic()
        self._cost = self._written - started

    def remove(self) -> None:
        """Forget the state; the stage is finished."""
        self.path.unlink(missing_ok=True)


def random_states() -> dict[str, Tensor]:
    """Return the states of torch's random generators."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_random_states(states: dict[str, Tensor]) -> None:
    """Set torch's random generators."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
