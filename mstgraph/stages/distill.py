"""Distillation from all teachers at once, without a gate (the setting of single-teacher KD)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import gin
import torch
from torch import Tensor

from mstgraph.stages.node import Batch
from mstgraph.stages.stage import Place, Stage, StageNode, Term, decay_problem, decayed


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class Distill(Stage):
    """(1 − α) × task loss + α × the mean of the edges' losses.

    Attributes:
        distillation_weight: α of the first epoch.
        distillation_decay: (factor, every): α is multiplied by ``factor`` after every ``every``
            epochs, so that the task loss gains weight.
        task_weight: weight of the task loss; None takes 1 − α.
    """

    kind: ClassVar[str] = "distill"
    place: ClassVar[Place] = "student"
    reads_edges: ClassVar[bool] = True

    distillation_weight: float = 0.5
    distillation_decay: tuple[float, int] = (0.5, 30)
    task_weight: float | None = None

    def losses(self, node: StageNode, batch: Batch, epoch: int) -> Mapping[str, Term]:
        """Return the task loss and the mean loss over the teachers."""
        alpha = decayed(self.distillation_weight, *self.distillation_decay, epoch)
        edges = [batch.edge_loss(teacher) for teacher in node.teachers]
        task = 1 - alpha if self.task_weight is None else self.task_weight
        return {
            "task": Term(batch.mean(self.validation_loss(node, batch)), task),
            "distill": Term(torch.stack(edges).mean(), alpha),
        }

    def validation_loss(self, node: StageNode, batch: Batch) -> Tensor:
        """Return the student's task loss of each sample."""
        return batch.task_loss(node.student)

    def reported(self, node: StageNode) -> tuple[str, ...]:
        """Return the student."""
        return (node.student,)

    def validated(self, node: StageNode) -> tuple[str, ...]:
        """Return the student: no teacher is asked in validation."""
        return (node.student,)

    def problem(self, node: StageNode) -> tuple[str, str] | None:
        """Refuse a weight that is no share, and a decay that never comes."""
        if self.task_weight is None and not 0 <= self.distillation_weight <= 1:
            return "distillation_weight", f"is {self.distillation_weight}, expected 0 to 1"
        names = ("distillation_weight", "distillation_decay", "task_weight")
        wrong = decay_problem({n: v for n in names if (v := getattr(self, n)) is not None})
        return wrong or super().problem(node)
