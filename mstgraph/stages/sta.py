"""Specialised teacher adaptation (STA): a MaskNet learns the student's language (Eq. 6–10)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

import gin
import torch
from torch import Tensor

from mstgraph.distil.masknet import MaskNet
from mstgraph.methods.kl import KL
from mstgraph.methods.loss import ResponseLoss
from mstgraph.stages.node import Batch
from mstgraph.stages.stage import Place, Stage, StageNode, Term
from mstgraph.stages.weighting import teacher_weights
from mstgraph.support.errors import nearest

Target = Literal["student", "teachers"]


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class STA(Stage):
    """One MaskNet trains inside its frozen teacher, guided by frozen responses.

    Attributes:
        consistency: loss between the guide's response and the specialised teacher's (Eq. 8).
        target: the guide: the ``'student'``, whose language the teacher learns, or the mean of the
            log-probabilities of all ``'teachers'`` that teach it, unmasked.
        unlabelled: whether samples without a label take part. The language of a student with few
            labels makes its teachers unlearn what they know.
    """

    kind: ClassVar[str] = "sta"
    place: ClassVar[Place] = "mask"

    consistency: ResponseLoss = field(default_factory=KL)
    target: Target = "student"
    unlabelled: bool = False

    def losses(self, node: StageNode, batch: Batch, epoch: int) -> Mapping[str, Term]:
        """Return L_S2 of this teacher (Eq. 10)."""
        losses, there = self.validation_loss(node, batch), self.judged(node, batch)
        if self.unlabelled:
            return {"consistency": Term(batch.mean(losses, there), samples=batch.count(there))}
        mean, count = batch.labelled_mean(losses, there), batch.labelled_count(there)
        return {"consistency": Term(mean, samples=count)}

    def judged(self, node: StageNode, batch: Batch) -> Tensor | None:
        """Return the samples that the teacher and its guide take part in: one of several guides."""
        names = self._asked(node)
        there = batch.there(node.teachers[0].name)
        guided = batch.each_there(names)
        if guided is None:
            return there
        guided = guided.any(1)
        return guided if there is None else there & guided

    def validation_loss(self, node: StageNode, batch: Batch) -> Tensor:
        """Return ℓ_j = KL(guide ‖ teacher j) of each sample (Eq. 8)."""
        asked = self._asked(node)
        responses = [batch.response(name) for name in asked]
        guide = responses[0]
        if self.target == "teachers":
            guide = batch.combine(responses, teacher_weights(batch, asked, "mean"))
        return batch.divergence(self.consistency, guide, batch.response(node.teachers[0].name))

    def _asked(self, node: StageNode) -> list[str]:
        return [name for name in node.forwards if name != node.teachers[0].name]

    def guides(self, student: str, teachers: tuple[str, ...]) -> tuple[str, ...]:
        """Return the student, or all that teach it."""
        return teachers if self.target == "teachers" else (student,)

    def problem(self, node: StageNode) -> tuple[str, str] | None:
        """Refuse a guide that is none."""
        if self.target not in get_args(Target):
            return "target", f"is '{self.target}'{nearest(str(self.target), get_args(Target))}"
        return super().problem(node)

    def reported(self, node: StageNode) -> tuple[str, ...]:
        """Return the specialised teacher."""
        return (node.teachers[0].name,)

    def statistics(self, node: StageNode, batch: Batch) -> Mapping[str, Tensor]:
        """Return the mean of each sample's mask, and its spread over channels and over samples.

        A mask that has collapsed to a constant has no spread; at first all are about one half.
        """
        name = node.teachers[0].name
        masknet, there = batch.module(node.forwards[name].masknet), batch.there(name)
        if not isinstance(masknet, MaskNet) or masknet.last_mask is None:
            return {}
        mask = masknet.last_mask.to(torch.get_default_dtype())
        if there is not None:  # of nobody's mask the last one is another batch's
            blank = mask.new_full((len(there), mask.shape[1]), torch.nan)
            mask = blank.masked_scatter(there.unsqueeze(1), mask) if there.any() else blank
        return {
            "mask_mean": mask.mean(1),
            "mask_spread_channels": mask.std(1, correction=0),
            "mask_spread_samples": _spread_of_known(mask),
        }


def _spread_of_known(mask: Tensor) -> Tensor:
    """Return the spread over the samples that have a mask, for each of them: [batch] float."""
    has = ~mask.isnan().any(1)
    spread = mask[has].std(0, correction=0).mean()
    return torch.where(has, spread, torch.nan)
