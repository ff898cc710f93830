"""Collaborative initialisation (CI): members learn the task and to agree (Eq. 1–4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import gin
import torch
from torch import Tensor

from mstgraph.methods.kl import KL
from mstgraph.methods.loss import EdgeLoss
from mstgraph.stages.stage import Stage, Term

if TYPE_CHECKING:
    from mstgraph.batch import Batch
    from mstgraph.plan import StageNode


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class CI(Stage):
    """All members joined by mutual edges train together, gradients flowing both ways.

    Attributes:
        alignment: loss of each direction of a mutual edge (Eq. 2).
        alignment_weight: its weight; 1 in Eq. 4.
    """

    kind: ClassVar[str] = "ci"

    alignment: EdgeLoss = field(default_factory=KL)
    alignment_weight: float = 1.0

    def losses(self, node: StageNode, batch: Batch, epoch: int) -> Mapping[str, Term]:
        """Return ℓ_task (Eq. 1) and ℓ_align (Eq. 2), each averaged over the batch (Eq. 4)."""
        pairs = [
            batch.average(self.alignment(batch.response(a), batch.response(b)))
            for one, other in node.mutual
            for a, b in ((one, other), (other, one))
        ]
        return {
            "task": Term(self.validation_loss(node, batch).mean()),
            "align": Term(torch.stack(pairs).sum(0).mean(), self.alignment_weight),
        }

    def validation_loss(self, node: StageNode, batch: Batch) -> Tensor:
        """Return Σ CE over the members, of each sample (Eq. 1)."""
        return torch.stack([batch.cross_entropy(name) for name in node.members]).sum(0)

    def reported(self, node: StageNode) -> tuple[str, ...]:
        """Return all members."""
        return node.members
