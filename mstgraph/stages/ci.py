"""Collaborative initialisation (CI): members learn the task and to agree (Eq. 1–4)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import gin
import torch
from torch import Tensor

from mstgraph.methods.kl import KL
from mstgraph.methods.loss import ResponseLoss
from mstgraph.stages.node import Batch
from mstgraph.stages.stage import Place, Stage, StageNode, Term


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class CI(Stage):
    """All members joined by mutual edges train together, gradients flowing both ways.

    Attributes:
        alignment: loss of each direction of a mutual edge (Eq. 2).
        alignment_weight: its weight; 1 in Eq. 4.
        average_peers: whether each member learns from the mean of those it is aligned with, as in
            deep mutual learning of more than two; else from their sum, as in Eq. 2.
        detach: whether the one that is learned from gets no gradient, as in deep mutual learning
            (Zhang et al. 2018, https://arxiv.org/abs/1706.00384; Table 7 calls it DML-style).
        unlabelled: whether samples without a label are aligned, too; only with ``detach``: with
            gradients both ways members agree on nothing, and those that knew the labels forget
            them.
    """

    kind: ClassVar[str] = "ci"
    place: ClassVar[Place] = "members"

    alignment: ResponseLoss = field(default_factory=KL)
    alignment_weight: float = 1.0
    average_peers: bool = False
    detach: bool = False
    unlabelled: bool = False

    def losses(self, node: StageNode, batch: Batch, epoch: int) -> Mapping[str, Term]:
        """Return ℓ_task (Eq. 1) and ℓ_align (Eq. 2), each averaged over the batch (Eq. 4)."""
        labelled = batch.labelled_count()
        mean, aligned = (batch.mean, None) if self.unlabelled else (batch.labelled_mean, labelled)
        peers = Counter(name for pair in node.mutual for name in pair)
        pairs = [
            self._aligned(batch, a, b) / (peers[b] if self.average_peers else 1)
            for one, other in node.mutual
            for a, b in ((one, other), (other, one))
        ]
        return {
            "task": Term(batch.labelled_mean(self._task(batch, node.members)), samples=labelled),
            "align": Term(mean(torch.stack(pairs).sum(0)), self.alignment_weight, aligned),
        }

    def _task(self, batch: Batch, members: tuple[str, ...]) -> Tensor:
        return torch.stack([batch.task_loss(name) for name in members]).sum(0)

    def _aligned(self, batch: Batch, one: str, other: str) -> Tensor:
        """Return the loss of each sample with which the other learns from the one, [batch]."""
        logits = batch.response(one)
        logits = logits.detach() if self.detach else logits
        return batch.divergence(self.alignment, logits, batch.response(other))

    def validation_loss(self, node: StageNode, batch: Batch) -> Tensor:
        """Return Σ ℓ_task over the members, of each sample (Eq. 1).

        Where this is the last stage of a student, its best epoch is the student's own.
        """
        return self._task(batch, self.selecting(node))

    def selecting(self, node: StageNode) -> tuple[str, ...]:
        """Return the student where this is its last stage, else all members."""
        return (node.student,) if node.student else node.members

    def reported(self, node: StageNode) -> tuple[str, ...]:
        """Return all members."""
        return node.members

    def problem(self, node: StageNode) -> tuple[str, str] | None:
        """Refuse an alignment of unlabelled samples that collapses."""
        if self.unlabelled and not self.detach:
            return "unlabelled", "is True, which collapses without CI.detach = True; expected both"
        return super().problem(node)
