"""DIST: outputs that correlate with the teacher's, where a divergence wants them equal.

Huang et al. 2022, "Knowledge Distillation from A Stronger Teacher",
https://arxiv.org/abs/2205.10536.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import gin
import torch
from torch import Tensor
from torch.nn import functional as F

from mstgraph.methods.loss import Edge, EdgeLoss
from mstgraph.methods.standardise import standardise

EPSILON = 1e-8
"""Added to the product of two norms, as the released code does."""


def pearson(one: Tensor, other: Tensor) -> Tensor:
    """Return Pearson's correlation ρ of the rows of two matrices (Section 3.2).

    Numbers of sections are not checked against the paper.

    Args:
        one: [rows, columns] float.
        other: the same shape.

    Returns:
        [rows] float, −1 to 1; 0, and without gradient, where a row does not vary.
    """
    one = one - one.mean(dim=1, keepdim=True)
    other = other - other.mean(dim=1, keepdim=True)
    sizes = one.norm(dim=1) * other.norm(dim=1)
    return torch.where(sizes > 0, (one * other).sum(dim=1) / (sizes + EPSILON), 0.0)


def correlation_losses(
    teacher: Tensor, student: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return the inter-class and the intra-class loss, 1 − mean ρ of outputs.

    The first compares a sample's probabilities over the classes (Section 3.2), the second a
    class's over the samples (Section 3.3).

    Args:
        teacher: logits, [samples, num_outputs] float.
        student: logits of the same shape.
        temperature: τ > 0.

    Returns:
        [] float each, 0 to 2, times τ², as in the released code.
    """
    p, q = F.softmax(teacher / temperature, dim=1), F.softmax(student / temperature, dim=1)
    inter, intra = 1 - pearson(p, q).mean(), 1 - pearson(p.t(), q.t()).mean()
    return temperature**2 * inter, temperature**2 * intra


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class DIST(EdgeLoss):
    """Correlation with the teacher over classes and over samples; one loss of a batch.

    Pixels that take part are samples, as the released code has it for segmentation. The paper's α
    is the stage's weight of the task loss.

    Attributes:
        inter_class: β, weight of the relation of a sample's classes.
        intra_class: γ, weight of the relation of a class's samples.
        temperature: τ. The paper tunes all three for each data set; these are what copies of its
            code use for CIFAR-100, not read from the paper itself.
        standardised: take z-scores of both logits first, see `mstgraph.methods.standardise`.
    """

    dense: ClassVar[bool] = True
    classes_only: ClassVar[bool] = True

    inter_class: float = 2.0
    intra_class: float = 2.0
    temperature: float = 4.0
    standardised: bool = False

    def edge(self, edge: Edge) -> Tensor:
        """Return β × inter-class + γ × intra-class loss, []: a class's samples are the batch."""
        teacher, student = (_rows(answer.logits, edge) for answer in (edge.teacher, edge.student))
        if not len(student):
            return student.sum()  # 0, and what trains is still there
        if self.standardised:
            teacher, student = standardise(teacher), standardise(student)
        inter, intra = correlation_losses(teacher.detach(), student, self.temperature)
        return self.inter_class * inter + self.intra_class * intra

    def problem(self) -> tuple[str, str] | None:
        """Refuse a temperature that divides by zero, and weights that are negative or both 0."""
        if not self.temperature > 0:
            return "temperature", f"is {self.temperature}, expected more than 0"
        for option in ("inter_class", "intra_class"):
            if not getattr(self, option) >= 0:
                return option, f"is {getattr(self, option)}, expected 0 or more"
        if not self.inter_class and not self.intra_class:
            return "intra_class", "is 0 like DIST.inter_class, expected one of them to be above 0"
        return None


def _rows(logits: Tensor, edge: Edge) -> Tensor:
    """Return the logits of all samples or pixels that take part, [samples, num_outputs] float."""
    rows, present = logits.movedim(1, -1).flatten(0, -2), edge.task.present(edge.labels)
    return rows if present is None else rows[present.flatten()]
