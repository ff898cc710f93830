"""Training one network on its task alone: a teacher before it teaches, or the student alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import gin
from torch import Tensor

from mstgraph.stages.node import Batch
from mstgraph.stages.stage import Place, Stage, StageNode, Term


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class Pretrain(Stage):
    """The task loss alone."""

    kind: ClassVar[str] = "pretrain"
    place: ClassVar[Place] = "member"

    def losses(self, node: StageNode, batch: Batch, epoch: int) -> Mapping[str, Term]:
        """Return the task loss (Eq. 15)."""
        there = batch.there(node.members[0])
        mean = batch.labelled_mean(self.validation_loss(node, batch), there)
        return {"task": Term(mean, samples=batch.labelled_count(there))}

    def validation_loss(self, node: StageNode, batch: Batch) -> Tensor:
        """Return the task loss of each sample."""
        return batch.task_loss(node.members[0])

    def reported(self, node: StageNode) -> tuple[str, ...]:
        """Return the one network."""
        return node.members
