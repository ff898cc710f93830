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
        """Return ℓ_task (Eq. 1) and ℓ_align (Eq. 2), each averaged over the batch (Eq. 4).

        Of each member the task loss is a mean over the samples that it takes part in, and of each
        pair the alignment one over those that both do.
        """
        labelled = batch.labelled_count()
        peers = Counter(name for pair in node.mutual for name in pair)
        pairs = [pair for one, other in node.mutual for pair in ((one, other), (other, one))]
        alignments = [
            self._aligned(batch, a, b) / (peers[b] if self.average_peers else 1) for a, b in pairs
        ]
        task = batch.sum_of_means(
            [batch.task_loss(name) for name in node.members],
            [batch.there(name) for name in node.members],
            labelled=True,
        )
        both = [batch.there(*pair) for pair in pairs]
        aligned = batch.sum_of_means(alignments, both, labelled=not self.unlabelled)
        counted = None if self.unlabelled else labelled
        return {
            "task": Term(task, samples=labelled),
            "align": Term(aligned, self.alignment_weight, counted),
        }

    def _aligned(self, batch: Batch, one: str, other: str) -> Tensor:
        """Return the loss of each sample with which the other learns from the one, [batch]."""
        logits = batch.response(one)
        logits = logits.detach() if self.detach else logits
        return batch.divergence(self.alignment, logits, batch.response(other))

    def validation_loss(self, node: StageNode, batch: Batch) -> Tensor:
        """Return Σ ℓ_task over the members, of each sample (Eq. 1).

        Where this is the last stage of a student, its best epoch is the student's own.
        """
        return torch.stack([batch.task_loss(name) for name in self.selecting(node)]).sum(0)

    def judged(self, node: StageNode, batch: Batch) -> Tensor | None:
        """Return the samples that any of these members takes part in."""
        there = batch.each_there(self.selecting(node))
        return None if there is None else there.any(1)

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
