"""A member as it is: it is measured, not trained, and its weights are the run's from then on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from mstgraph.stages.node import Batch
from mstgraph.stages.stage import Place, Stage, StageNode, Term


@dataclass(frozen=True)
class Given(Stage):
    """Comes of ``Member.trained = False``; no gin file names it."""

    kind: ClassVar[str] = "given"
    place: ClassVar[Place] = "member"

    epochs: int = 0
    start_counts: bool = True

    def losses(self, node: StageNode, batch: Batch, epoch: int) -> Mapping[str, Term]:
        """Return nothing: no step is taken."""
        return {}

    def validation_loss(self, node: StageNode, batch: Batch) -> Tensor:
        """Return the task loss of each sample."""
        return batch.task_loss(node.members[0])

    def reported(self, node: StageNode) -> tuple[str, ...]:
        """Return the one network."""
        return node.members

    def problem(self, node: StageNode) -> tuple[str, str] | None:
        """Nothing can be wrong: nothing can be set."""
        return None
