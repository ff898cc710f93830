"""Who is told how a run proceeds: what it may be told, and somebody who keeps silent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from torch import Tensor

from mstgraph.stages.stage import StageNode

SAMPLES = "samples"  # the running sum that counts samples; no loss term may have its name
OF = f"{SAMPLES} of "  # before a term's name: how many of them it is a mean over, if not all


def means(sums: Mapping[str, Tensor]) -> dict[str, float]:
    """Return loss term → its mean over the samples so far that it is of; 0 if it is of none."""
    return {
        name: float(value) / max(1, int(sums.get(OF + name, sums[SAMPLES])))
        for name, value in sums.items()
        if name != SAMPLES and not name.startswith(OF)
    }


class Listener(Protocol):
    """Is told how a stage proceeds."""

    def batch_done(
        self, node: StageNode, epoch: int, batch: int, sums: Mapping[str, Tensor]
    ) -> None:
        """Called after each batch; the sums stay on the device until somebody reads them.

        Args:
            node: the stage.
            epoch: which epoch, from 1.
            batch: how many batches of it are done.
            sums: loss term → sum of its value over the epoch's samples so far, and how many these
                are, see `means`.
        """

    def epoch_done(self, node: StageNode, record: Mapping[str, Any]) -> None:
        """Called after each epoch, also for those of an earlier session.

        Args:
            node: the stage.
            record: what a line of ``metrics.jsonl`` holds.
        """


class Reporter(Listener, Protocol):
    """Is told how a run proceeds.

    Stages that go through the data together are a group; each call about a stage that is trained
    comes between `group_started` and `group_ended`.
    """

    def note(self, sentence: str) -> None:
        """Called with what the user should know of the run: initialisation, what is kept."""

    def group_started(self, group: Sequence[StageNode], batches: int) -> None:
        """Called before stages are trained that have this many batches per epoch."""

    def keeping(self, sentence: str, done: int, total: int) -> None:
        """Called while values are computed that a stage needs once, with how many are done."""

    def group_ended(self) -> None:
        """Called when the stages of a group are trained, or have failed or stopped."""

    def stage_line(self, name: str, artefact: Mapping[str, Any], reused: bool) -> None:
        """Called with what a stage came to.

        Args:
            name: of the stage.
            artefact: what its ``artefact.json`` holds.
            reused: whether it was finished before.
        """


class Silent:
    """A reporter that says nothing."""

    def batch_done(
        self, node: StageNode, epoch: int, batch: int, sums: Mapping[str, Tensor]
    ) -> None:
        """Do nothing."""

    def epoch_done(self, node: StageNode, record: Mapping[str, Any]) -> None:
        """Do nothing."""

    def note(self, sentence: str) -> None:
        """Do nothing."""

    def group_started(self, group: Sequence[StageNode], batches: int) -> None:
        """Do nothing."""

    def keeping(self, sentence: str, done: int, total: int) -> None:
        """Do nothing."""

    def group_ended(self) -> None:
        """Do nothing."""

    def stage_line(self, name: str, artefact: Mapping[str, Any], reused: bool) -> None:
        """Do nothing."""
