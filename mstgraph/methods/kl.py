"""Knowledge distillation by Kullback–Leibler divergence of softened outputs.

Hinton et al. 2015, https://arxiv.org/abs/1503.02531; MST-Distill, Eq. 2, 8 and 14.
"""

from __future__ import annotations

from dataclasses import dataclass

import gin
from torch import Tensor
from torch.nn import functional as F

from mstgraph.methods.loss import ResponseLoss


def kl_divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Return KL(softmax(teacher / τ) ‖ softmax(student / τ)) over the classes (Eq. 2, 3, 9).

    Args:
        teacher: logits, [batch, num_outputs, ...] float.
        student: logits of the same shape.
        temperature: τ > 0.

    Returns:
        [batch, ...] float, ≥ 0 up to rounding.
    """
    log_p = F.log_softmax(teacher / temperature, dim=1)
    log_q = F.log_softmax(student / temperature, dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class KL(ResponseLoss):
    """Softened Kullback–Leibler divergence, teacher ‖ student.

    Attributes:
        temperature: τ; the paper names none, 4 is what its released code uses.
        temperature_squared: multiply by τ², which keeps the size of the gradient independent of τ
            (Hinton et al.; the released code does). The paper's equations do not.
    """

    temperature: float = 4.0
    temperature_squared: bool = False

    def __call__(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return the divergence of each sample or pixel, see `kl_divergence`."""
        divergence = kl_divergence(teacher, student, self.temperature)
        return divergence * self.temperature**2 if self.temperature_squared else divergence

    def problem(self) -> tuple[str, str] | None:
        """Refuse a temperature that divides by zero or turns the distributions round."""
        if not self.temperature > 0:
            return "temperature", f"is {self.temperature}, expected more than 0"
        return None
