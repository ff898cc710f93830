"""A stage before the last one: the student's layers are guided by the teachers' (FitNets)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import gin
import torch
from torch import Tensor

from mstgraph.distil.gate import evenly
from mstgraph.stages.node import Batch
from mstgraph.stages.stage import Place, Stage, StageNode, Term
from mstgraph.stages.weighting import taught


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class Hint(Stage):
    """The student, up to the layers that are guided, and what its teachers' losses train."""

    kind: ClassVar[str] = "hint"
    place: ClassVar[Place] = "hint"
    reads_edges: ClassVar[bool] = True

    def losses(self, node: StageNode, batch: Batch, epoch: int) -> Mapping[str, Term]:
        """Return the mean hint loss of the teachers."""
        there = self.judged(node, batch)
        mean = batch.mean(self.validation_loss(node, batch), there)
        return {"hint": Term(mean, samples=batch.count(there))}

    def validation_loss(self, node: StageNode, batch: Batch) -> Tensor:
        """Return the same of each sample, of the teachers that it has."""
        losses = [batch.edge_losses(teacher, hint=True) for teacher in node.teachers]
        there = batch.each_there([teacher.name for teacher in node.teachers])
        if there is None:
            return torch.stack(losses).mean(0)
        return (torch.stack(losses, 1) * evenly(there, losses[0].dtype)).sum(1)

    def judged(self, node: StageNode, batch: Batch) -> Tensor | None:
        """Return the samples that the student and one of its teachers take part in."""
        return taught(node, batch)

    def reported(self, node: StageNode) -> tuple[str, ...]:
        """Return nothing: the layers after the guided ones have not learned yet."""
        return ()

    def problem(self, node: StageNode) -> tuple[str, str] | None:
        """Refuse to select by a metric, which nothing has here."""
        if self.select == "metric":
            return "select", "is 'metric', expected 'loss' or 'last': no response is measured here"
        return super().problem(node)
