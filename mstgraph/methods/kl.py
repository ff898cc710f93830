"""Knowledge distillation by the divergence of softened outputs; over classes, Kullback–Leibler's.

Hinton et al. 2015, https://arxiv.org/abs/1503.02531; MST-Distill, Eq. 2, 8 and 14.
"""

from __future__ import annotations

from dataclasses import dataclass

import gin
from torch import Tensor

from mstgraph.methods.loss import ResponseLoss
from mstgraph.methods.standardise import standardise
from mstgraph.tasks.task import Task


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class KL(ResponseLoss):
    """Divergence of softened outputs, teacher ‖ student; which one, the task says.

    Attributes:
        temperature: τ; the paper names none, 4 is what its released code uses.
        temperature_squared: multiply by τ², which keeps the size of the gradient independent of τ
            (Hinton et al.; the released code does). The paper's equations do not.
        standardised: take z-scores of both logits first, see `mstgraph.methods.standardise`.
    """

    temperature: float = 4.0
    temperature_squared: bool = False
    standardised: bool = False

    def compare(self, task: Task, teacher: Tensor, student: Tensor) -> Tensor:
        """Return the divergence of each sample or pixel, see `Task.divergence`."""
        if self.standardised:
            teacher, student = standardise(teacher), standardise(student)
        divergence = task.divergence(teacher, student, self.temperature)
        return divergence * self.temperature**2 if self.temperature_squared else divergence

    def problem(self) -> tuple[str, str] | None:
        """Refuse a temperature that divides by zero or turns the distributions round."""
        if not self.temperature > 0:
            return "temperature", f"is {self.temperature}, expected more than 0"
        return None
