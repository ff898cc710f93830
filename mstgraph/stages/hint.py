"""A stage before the last one: the student's layers are guided by the teachers' (FitNets)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import gin
import torch
from torch import Tensor

from mstgraph.stages.node import Batch
from mstgraph.stages.stage import Place, Stage, StageNode, Term


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class Hint(Stage):
    """The student, up to the layers that are guided, and what its teachers' losses train."""

    kind: ClassVar[str] = "hint"
    place: ClassVar[Place] = "hint"
    reads_edges: ClassVar[bool] = True

    def losses(self, node: StageNode, batch: Batch, epoch: int) -> Mapping[str, Term]:
        """Return the mean hint loss of the teachers."""
        return {"hint": Term(batch.mean(self.validation_loss(node, batch)))}

    def validation_loss(self, node: StageNode, batch: Batch) -> Tensor:
        """Return the same of each sample."""
        losses = [teacher.loss.hint(batch.edge(teacher)) for teacher in node.teachers]
        return torch.stack(losses).mean(0)

    def reported(self, node: StageNode) -> tuple[str, ...]:
        """Return nothing: the layers after the guided ones have not learned yet."""
        return ()

    def problem(self, node: StageNode) -> tuple[str, str] | None:
        """Refuse to select by a metric, which nothing has here."""
        if self.select == "metric":
            return "select", "is 'metric', expected 'loss' or 'last': no response is measured here"
        return super().problem(node)
