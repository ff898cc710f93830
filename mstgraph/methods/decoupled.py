"""Decoupled knowledge distillation: how sure of the true class, and how the others compare.

Zhao et al. 2022, https://arxiv.org/abs/2203.08679. A baseline: published figures across
modalities are below plain distillation. The paper raises the weight of the loss over its first
epochs, which a loss cannot know here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import gin
import torch
from torch import Tensor

from mstgraph.methods.loss import Edge, EdgeLoss
from mstgraph.methods.standardise import standardise
from mstgraph.tasks.divergence import kl_divergence


def decoupled_divergences(
    teacher: Tensor, student: Tensor, target: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return the target-class and the non-target-class divergence (Eq. 5–7).

    With p the teacher's probability of the target class, the divergence of all classes is the
    first + (1 − p) × the second (Eq. 6).

    Args:
        teacher: logits, [batch, num_outputs, ...] float.
        student: logits of the same shape.
        target: the true class of each sample or pixel, [batch, ...] int64.
        temperature: τ > 0.

    Returns:
        [batch, ...] float each: the divergence of (target, not target), and that of the
        distributions over the other classes alone.
    """
    target = target.unsqueeze(1)
    places = torch.arange(teacher.shape[1] - 1, device=target.device)
    places = places.view(1, -1, *[1] * (teacher.dim() - 2)).expand(
        len(teacher), -1, *teacher.shape[2:]
    )
    others = places + (places >= target)
    teacher, student = teacher / temperature, student / temperature
    rest = teacher.gather(1, others), student.gather(1, others)
    # Of "not the target", the logit is the log of the sum over the other classes.
    pairs = [
        torch.cat((logits.gather(1, target), other.logsumexp(dim=1, keepdim=True)), dim=1)
        for logits, other in zip((teacher, student), rest, strict=True)
    ]
    return kl_divergence(pairs[0], pairs[1], 1.0), kl_divergence(rest[0], rest[1], 1.0)


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class DecoupledKD(EdgeLoss):
    """α × target-class + β × non-target-class divergence, times τ² (Eq. 8).

    Numbers of equations are not checked against the paper.

    A sample or pixel without a label has no target class, so nothing can be decoupled: its loss is
    the plain divergence of all classes times τ², of which α = 1 and β = 1 − p are the parts.

    Attributes:
        target_weight: α.
        other_weight: β; the paper tunes it, 8 for most of its pairs of networks.
        temperature: τ.
        standardised: take z-scores of both logits first, see `mstgraph.methods.standardise`.
    """

    dense: ClassVar[bool] = True
    classes_only: ClassVar[bool] = True
    by_sample: ClassVar[bool] = True

    target_weight: float = 1.0
    other_weight: float = 8.0
    temperature: float = 4.0
    standardised: bool = False

    def edge(self, edge: Edge) -> Tensor:
        """Return the loss of each sample or pixel, [batch] or [batch, height, width]."""
        teacher, student = edge.teacher.logits.detach(), edge.student.logits
        if self.standardised:
            teacher, student = standardise(teacher), standardise(student)
        counted = edge.task.counted(edge.labels)
        if counted is None:
            counted = torch.ones_like(edge.labels, dtype=torch.bool)
        # What stands in for the class of a sample without one is not used.
        target = torch.where(counted, edge.labels, 0)
        of_target, of_others = decoupled_divergences(teacher, student, target, self.temperature)
        loss = self.target_weight * of_target + self.other_weight * of_others
        if not counted.all():
            loss = torch.where(counted, loss, kl_divergence(teacher, student, self.temperature))
        return self.temperature**2 * loss

    def problem(self) -> tuple[str, str] | None:
        """Refuse a temperature that divides by zero, and weights that are negative or both 0."""
        if not self.temperature > 0:
            return "temperature", f"is {self.temperature}, expected more than 0"
        for option in ("target_weight", "other_weight"):
            if not getattr(self, option) >= 0:
                return option, f"is {getattr(self, option)}, expected 0 or more"
        if not self.target_weight and not self.other_weight:
            wrong = "is 0 like DecoupledKD.target_weight, expected one of them to be above 0"
            return "other_weight", wrong
        return None
