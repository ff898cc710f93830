"""Multi-level logit distillation: samples, pairs of samples and pairs of classes.

Jin, Wang, Lin 2023, https://doi.org/10.1109/CVPR52729.2023.02325; without its augmentation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import gin
from torch import Tensor
from torch.nn import functional as F

from mstgraph.methods.loss import Edge, EdgeLoss
from mstgraph.methods.standardise import standardise
from mstgraph.tasks.divergence import kl_divergence


def gram_distance(teacher: Tensor, student: Tensor, elementwise: bool) -> Tensor:
    """Return ‖TTᵀ − SSᵀ‖² over the number of its entries, or of its rows.

    Args:
        teacher: probabilities, [rows, columns] float.
        student: probabilities of the same shape.
        elementwise: divide by rows² rather than by rows.

    Returns:
        [] float.
    """
    squares = (teacher @ teacher.t() - student @ student.t()).square()
    return squares.mean() if elementwise else squares.sum(dim=1).mean()


def multi_level(teacher: Tensor, student: Tensor, temperature: float, elementwise: bool) -> Tensor:
    """Return the mean of the losses of samples, of the batch and of the classes at one temperature.

    With probabilities P at temperature τ these are τ²·KL, averaged over the samples, and the
    distances of the Gram matrices PPᵀ (similarity of samples) and PᵀP (correlation of classes).

    Args:
        teacher: logits, [batch, num_outputs] float.
        student: logits of the same shape.
        temperature: τ > 0.
        elementwise: see `gram_distance`.

    Returns:
        [] float.
    """
    p, q = F.softmax(teacher / temperature, dim=1), F.softmax(student / temperature, dim=1)
    samples = kl_divergence(teacher, student, temperature).mean() * temperature**2
    batch = gram_distance(p, q, elementwise)
    classes = gram_distance(p.t(), q.t(), elementwise)
    return (samples + batch + classes) / 3


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class MLLD(EdgeLoss):
    """Multi-level logit distillation, averaged over levels and temperatures; one loss of a batch.

    Attributes:
        temperatures: the temperatures τ, one at least.
        elementwise: divide the squared distance of two Gram matrices by the number of entries, as
            the released code of MST-Distill does. The method's own paper divides by the number of
            rows, which weighs batch and classes more, and it adds up where this averages.
        standardised: take z-scores of both logits first, see `mstgraph.methods.standardise`.
    """

    classes_only: ClassVar[bool] = True

    temperatures: tuple[float, ...] = (2.0, 3.0, 4.0, 5.0, 6.0)
    elementwise: bool = True
    standardised: bool = False

    def edge(self, edge: Edge) -> Tensor:
        """Return the mean of `multi_level` over the temperatures, []: pairs belong to no sample."""
        edge = edge.present()
        if not len(edge.labels):
            return edge.student.logits.sum()  # 0, and what trains is still there
        teacher, student = edge.teacher.logits.detach(), edge.student.logits
        if self.standardised:
            teacher, student = standardise(teacher), standardise(student)
        levels = [multi_level(teacher, student, t, self.elementwise) for t in self.temperatures]
        return sum(levels[1:], levels[0]) / len(levels)

    def problem(self) -> tuple[str, str] | None:
        """Refuse what is no list of positive temperatures."""
        given = self.temperatures
        if not isinstance(given, tuple | list) or not given or not all(t > 0 for t in given):
            return "temperatures", f"is {given}, expected one or more temperatures above 0"
        return None
