"""Decoupled distillation, against its two divergences one sample at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import training_worlds as small
from torch import Tensor

from mstgraph.methods.decoupled import DecoupledKD, decoupled_divergences
from mstgraph.methods.loss import Answer, Edge
from mstgraph.tasks.divergence import kl_divergence
from mstgraph.tasks.task import Task

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    """Two random logits."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(shape, generator=generator) * 3, torch.randn(shape, generator=generator)


def by_hand(p: np.ndarray, q: np.ndarray, target: int, temperature: float) -> tuple[float, float]:
    """Both divergences of one sample, from probabilities."""
    p, q = (np.exp(small.log_softmax(z[None] / temperature))[0] for z in (p, q))
    others = [c for c in range(len(p)) if c != target]
    of_target = p[target] * np.log(p[target] / q[target])
    of_target += (1 - p[target]) * np.log((1 - p[target]) / (1 - q[target]))
    p_hat, q_hat = p[others] / (1 - p[target]), q[others] / (1 - q[target])
    return of_target, float((p_hat * np.log(p_hat / q_hat)).sum())


def task(shape: tuple[int, ...], ignored: int | None = None) -> Task:
    """A task with as many classes as the logits."""
    return small.class_task(shape[1], tuple(shape[2:]), ignored)


def loss(
    teacher: Tensor, student: Tensor, labels: Tensor, made: DecoupledKD, ignored: int | None = None
) -> Tensor:
    """The loss of a batch."""
    about = task(tuple(teacher.shape), ignored)
    return made.edge(
        Edge(Answer(teacher), Answer(student), labels, torch.arange(len(labels)), about)
    )


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("shape", [(6, 5), (3, 2), (3, 5, 4, 2)])
def test_equals_both_divergences(shape: tuple[int, ...], temperature: float) -> None:
    """Of each sample and of each pixel; with two classes there is nothing among the others."""
    teacher, student = pair(*shape)
    labels = torch.randint(shape[1], (shape[0], *shape[2:]))
    found = decoupled_divergences(teacher, student, labels, temperature)
    for place in np.ndindex(*labels.shape):
        at = (place[0], slice(None), *place[1:])
        expected = by_hand(
            teacher[at].numpy(), student[at].numpy(), int(labels[place]), temperature
        )
        assert [float(f[place]) for f in found] == pytest.approx(expected, abs=1e-12)
    made = DecoupledKD(0.5, 3.0, temperature)
    value = loss(teacher, student, labels, made)
    torch.testing.assert_close(value, temperature**2 * (0.5 * found[0] + 3.0 * found[1]))


def test_the_parts_make_up_the_plain_divergence() -> None:
    """KL = target part + (1 − p) × other part, which is what the paper sets out from."""
    teacher, student = pair(6, 5)
    labels = torch.arange(6) % 5
    of_target, of_others = decoupled_divergences(teacher, student, labels, 2.0)
    p = torch.softmax(teacher / 2, 1)[torch.arange(6), labels]
    whole = kl_divergence(teacher, student, 2.0)
    torch.testing.assert_close(of_target + (1 - p) * of_others, whole)


@pytest.mark.parametrize("shape", [(6, 5), (3, 5, 4, 2)])
def test_without_a_label_it_is_the_plain_divergence(shape: tuple[int, ...]) -> None:
    """There is no target class to take apart; whatever number stands for the missing label."""
    teacher, student = pair(*shape)
    labels = torch.randint(shape[1], (shape[0], *shape[2:]))
    labels[1], labels[2] = 0, 1
    made = DecoupledKD(temperature=2.0)
    whole = 4 * kl_divergence(teacher, student, 2.0)
    for ignored in (0, -1, 255):
        given = torch.where(labels == 0, ignored, labels)
        found = loss(teacher, student, given, made, ignored)
        torch.testing.assert_close(found[1], whole[1])
        counted = given != ignored
        expected = loss(teacher, student, labels, made)
        torch.testing.assert_close(found[counted], expected[counted])
        torch.testing.assert_close(found[~counted], whole[~counted])


def test_symmetries() -> None:
    """Blind to shifts and to the order of classes; 0 for equal outputs, else positive."""
    teacher, student = pair(6, 5)
    labels, made = torch.arange(6) % 5, DecoupledKD()
    value = loss(teacher, student, labels, made)
    assert (value > 0).all()
    shifted = loss(teacher + 9, student - torch.arange(6.0)[:, None], labels, made)
    torch.testing.assert_close(shifted, value)
    order = torch.tensor([3, 0, 4, 1, 2])
    moved = loss(teacher[:, order], student[:, order], order.argsort()[labels], made)
    torch.testing.assert_close(moved, value)
    assert loss(teacher, teacher, labels, made).abs().max() < 1e-12


def test_gradient_against_central_differences_and_none_for_the_teacher() -> None:
    """The student gets the gradient of the value, the teacher none."""
    teacher, student = (logits.requires_grad_() for logits in pair(3, 4))
    labels, made = torch.tensor([0, 3, 1]), DecoupledKD(0.5, 2.0, 2.0)
    loss(teacher, student, labels, made).sum().backward()
    p, q = teacher.detach().numpy(), student.detach().numpy().copy()

    def value() -> float:
        parts = [by_hand(a, b, int(c), 2.0) for a, b, c in zip(p, q, labels, strict=True)]
        return 4 * sum(0.5 * one + 2.0 * other for one, other in parts)

    np.testing.assert_allclose(student.grad.numpy(), small.numeric_gradient(value, q), atol=1e-8)
    assert teacher.grad is None


def test_huge_logits_stay_finite() -> None:
    """A teacher that is sure leaves the other classes no probability; they still compare."""
    teacher = torch.tensor([[1e4, 0.0, -1e4]])
    student = (-teacher).requires_grad_()
    value = loss(teacher, student, torch.tensor([0]), DecoupledKD())
    value.sum().backward()
    assert value.isfinite().all()
    assert student.grad.isfinite().all()


def test_senseless_options_are_refused() -> None:
    """The option and what was expected are named; the defaults are the paper's."""
    assert DecoupledKD().problem() is None
    assert DecoupledKD(temperature=0.0).problem() == ("temperature", "is 0.0, expected more than 0")
    assert DecoupledKD(-1.0).problem() == ("target_weight", "is -1.0, expected 0 or more")
    option, words = DecoupledKD(0.0, 0.0).problem()  # type: ignore[misc]
    assert option == "other_weight"
    assert words == "is 0 like DecoupledKD.target_weight, expected one of them to be above 0"
