"""Multi-level logit distillation, against sums over samples and pairs, one at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import training_worlds as small
from torch import Tensor

from mstgraph.methods.loss import Answer, Edge
from mstgraph.methods.mlld import MLLD, gram_distance, multi_level

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")


def pair(batch: int = 6, classes: int = 5) -> tuple[Tensor, Tensor]:
    """Two random logits."""
    generator = torch.Generator().manual_seed(5)
    shape = (batch, classes)
    return torch.randn(shape, generator=generator) * 3, torch.randn(shape, generator=generator)


def loss(teacher: Tensor, student: Tensor, **options: Any) -> Tensor:
    """The loss of a batch."""
    batch, classes = student.shape
    numbers = torch.arange(batch)
    task = small.class_task(classes)
    edge = Edge(Answer(teacher), Answer(student), numbers % classes, numbers, task)
    return MLLD(**options).edge(edge)


def by_hand(
    teacher: np.ndarray, student: np.ndarray, temperatures: tuple[float, ...], elementwise: bool
) -> float:
    """The same, one pair at a time."""
    total, (batch, classes) = 0.0, student.shape
    for temperature in temperatures:
        p = np.exp(small.log_softmax(teacher / temperature))
        q = np.exp(small.log_softmax(student / temperature))
        total += temperature**2 * small.kl(teacher, student, temperature).mean()
        samples = sum((p[i] @ p[j] - q[i] @ q[j]) ** 2 for i, j in np.ndindex(batch, batch))
        other = sum(
            (p[:, a] @ p[:, b] - q[:, a] @ q[:, b]) ** 2 for a, b in np.ndindex(classes, classes)
        )
        power = 2 if elementwise else 1
        total += samples / batch**power + other / classes**power
    return total / (3 * len(temperatures))


@pytest.mark.parametrize("elementwise", [True, False])
@pytest.mark.parametrize("temperatures", [(2.0, 3.0, 4.0, 5.0, 6.0), (1.0,)])
@pytest.mark.parametrize("shape", [(6, 5), (3, 8), (1, 4), (2, 2)])
def test_equals_the_sums_over_pairs(
    shape: tuple[int, int], temperatures: tuple[float, ...], elementwise: bool
) -> None:
    """Divergence, batch and class level, for any batch and any number of temperatures."""
    teacher, student = pair(*shape)
    value = loss(teacher, student, temperatures=temperatures, elementwise=elementwise)
    expected = by_hand(teacher.numpy(), student.numpy(), temperatures, elementwise)
    assert value.shape == ()
    np.testing.assert_allclose(value.item(), expected, rtol=1e-12)


def test_default_is_a_fifteenth_of_all_terms() -> None:
    """Five temperatures, 2 to 6, and three levels."""
    teacher, student = pair()
    terms = []
    for temperature in range(2, 7):
        divergence = small.kl(teacher.numpy(), student.numpy(), temperature).mean()
        terms.append(divergence * temperature**2)
        p, q = torch.softmax(teacher / temperature, 1), torch.softmax(student / temperature, 1)
        terms.append(float(torch.nn.functional.mse_loss(q.t() @ q, p.t() @ p)))
        terms.append(float(torch.nn.functional.mse_loss(q @ q.t(), p @ p.t())))
    assert loss(teacher, student).item() == pytest.approx(sum(terms) / 15, rel=1e-12)


def test_gram_distance_of_two_rows_by_hand() -> None:
    """[[1, 0], [0, 1]] against [[1, 0], [1, 0]]: two entries differ by one."""
    teacher, student = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    assert gram_distance(teacher, student, True).item() == 2 / 4
    assert gram_distance(teacher, student, False).item() == 2 / 2


def test_is_zero_without_gradient_for_equal_outputs() -> None:
    """Nothing is left to learn."""
    teacher, _ = pair()
    student = teacher.clone().requires_grad_()
    value = loss(teacher, student)
    value.backward()
    assert abs(value.item()) < 1e-15
    assert student.grad.abs().max() < 1e-15


def test_one_class_is_zero() -> None:
    """One class has probability 1 on both sides."""
    assert loss(*pair(4, 1)).item() == 0


def test_uniform_teacher_by_hand() -> None:
    """A sure student against a uniform teacher, one sample, two classes, τ = 1."""
    student = torch.tensor([[0.0, np.log(3.0)]])  # 1/4, 3/4
    divergence = 0.5 * np.log(0.5 / 0.25) + 0.5 * np.log(0.5 / 0.75)
    batch = (1 / 2 - 10 / 16) ** 2
    classes = ((1 / 4 - 1 / 16) ** 2 + 2 * (1 / 4 - 3 / 16) ** 2 + (1 / 4 - 9 / 16) ** 2) / 4
    value = multi_level(torch.zeros(1, 2), student, 1.0, True).item()
    assert value == pytest.approx((divergence + batch + classes) / 3, rel=1e-12)


def test_does_not_change_when_logits_are_shifted_or_the_batch_permuted() -> None:
    """A softmax does not see a constant, and the batch has no order."""
    teacher, student = pair()
    value = loss(teacher, student)
    torch.testing.assert_close(loss(teacher + 9, student - torch.arange(6.0)[:, None]), value)
    order, classes = torch.randperm(6), torch.randperm(5)
    torch.testing.assert_close(loss(teacher[order], student[order]), value)
    torch.testing.assert_close(loss(teacher[:, classes], student[:, classes]), value)
    assert (loss(teacher[order], student) - value).abs() > 1e-3


def test_gradient_against_central_differences_and_none_for_the_teacher() -> None:
    """The student gets the gradient of the value, the teacher none."""
    teacher, student = (logits.requires_grad_() for logits in pair(3, 4))
    loss(teacher, student, temperatures=(2.0, 3.0)).backward()
    p, q = teacher.detach().numpy(), student.detach().numpy().copy()
    numeric = small.numeric_gradient(lambda: by_hand(p, q, (2.0, 3.0), True), q)
    np.testing.assert_allclose(student.grad.numpy(), numeric, atol=1e-9)
    assert teacher.grad is None


def test_huge_logits_stay_finite() -> None:
    """No 0 × ∞ where a probability underflows."""
    teacher = torch.tensor([[1e4, 0.0, -1e4]])
    student = (-teacher).requires_grad_()
    value = loss(teacher, student)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("temperatures", [(), (2.0, 0.0), (-1.0,), 4.0, (float("nan"),)])
def test_senseless_temperatures_are_refused(temperatures: Any) -> None:
    """None at all, a division by zero, a number where a list belongs."""
    option, problem = MLLD(temperatures=temperatures).problem()  # type: ignore[misc]
    assert option == "temperatures"
    assert problem == f"is {temperatures}, expected one or more temperatures above 0"


def test_sensible_options_pass_and_dense_labels_do_not_fit() -> None:
    """The defaults make sense; pixels are not samples of a batch."""
    assert MLLD().problem() is None
    assert MLLD(temperatures=[1.0]).problem() is None  # type: ignore[arg-type]
    assert not MLLD.dense
    assert MLLD.reads == ()
    assert not MLLD().adapts


def test_unlabelled_samples_take_no_part() -> None:
    """The loss is that of the others, and no gradient reaches them; without any it is 0."""
    teacher, student = pair()
    student.requires_grad_()
    task = small.class_task(ignored=-1)
    numbers = torch.arange(6)
    labels = torch.tensor([0, -1, 2, 3, -1, 0])
    value = MLLD().edge(Edge(Answer(teacher), Answer(student), labels, numbers, task))
    kept = labels >= 0
    assert float(value.detach()) == pytest.approx(
        float(loss(teacher[kept], student[kept]).detach())
    )
    value.backward()
    assert not student.grad[~kept].any()
    assert student.grad[kept].any(1).all()
    none = Edge(Answer(teacher), Answer(student), torch.full((6,), -1), numbers, task)
    assert float(MLLD().edge(none).detach()) == 0
