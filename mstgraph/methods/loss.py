"""What the loss of a distillation edge looks like to a stage."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor


class EdgeLoss(ABC):
    """Loss of an edge from a teacher to a student; subclasses are dataclasses of their options."""

    @abstractmethod
    def __call__(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return the loss of each sample or pixel.

        Args:
            teacher: logits, [batch, num_outputs] or [batch, num_outputs, height, width] float.
            student: logits of the same shape.

        Returns:
            [batch] or [batch, height, width] float.
        """

    def problem(self) -> tuple[str, str] | None:
        """Return (option, what is wrong and what was expected) if the options make no sense."""
        return None
