"""The loss of softened outputs: what the task's divergence becomes with a temperature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import training_worlds as small
from torch import Tensor

from mstgraph.methods.kl import KL

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

TASK = small.class_task()


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two random logits."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(shape, generator=generator) * 3, torch.randn(shape, generator=generator)


class _Asked:
    """A task that only notes what it is asked."""

    def divergence(self, *given: Any) -> Tensor:
        """Return the sum over the outputs of what is asked about."""
        self.given = given
        return given[0].sum(1)


def test_of_classes_it_is_their_divergence() -> None:
    """KL(teacher ‖ student) at the loss's temperature, for classification."""
    teacher, student = pair(6, 5)
    value = KL(4.0).compare(TASK, teacher, student).numpy()
    np.testing.assert_allclose(value, small.kl(teacher.numpy(), student.numpy(), 4.0))


def test_the_task_says_what_diverges() -> None:
    """Any task is asked, with the temperature; τ² comes on top of its answer."""
    task: Any = _Asked()
    teacher, student = pair(6, 5)
    value = KL(3.0, temperature_squared=True).compare(task, teacher, student)
    assert task.given[0] is teacher
    assert task.given[1:] == (student, 3.0)
    torch.testing.assert_close(value, 9 * teacher.sum(1))


def test_temperature_squared_keeps_the_gradient() -> None:
    """With τ² the gradient at high temperatures tends to a limit; without, it vanishes."""
    teacher, student = pair(6, 5)
    sides = TASK, teacher, student
    plain, squared = KL(3.0), KL(3.0, temperature_squared=True)
    torch.testing.assert_close(squared.compare(*sides), 9 * plain.compare(*sides))
    sizes = []
    for temperature in (1e3, 2e3):
        leaf = student.clone().requires_grad_()
        KL(temperature, temperature_squared=True).compare(TASK, teacher, leaf).sum().backward()
        sizes.append(leaf.grad.norm().item())
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-2)
