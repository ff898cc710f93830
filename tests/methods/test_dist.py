"""DIST, against correlations of one sample and one class at a time in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import training_worlds as small
from torch import Tensor

from mstgraph.methods.dist import DIST, EPSILON, correlation_losses, pearson
from mstgraph.methods.loss import Answer, Edge

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    """Two random logits."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(shape, generator=generator) * 3, torch.randn(shape, generator=generator)


def loss(
    teacher: Tensor, student: Tensor, made: DIST, labels: Tensor | None = None, ignored: int = -1
) -> Tensor:
    """The loss of a batch."""
    shape = (len(teacher), *teacher.shape[2:])
    labels = torch.zeros(shape, dtype=torch.int64) if labels is None else labels
    task = small.class_task(teacher.shape[1], shape[1:], ignored)
    return made.edge(
        Edge(Answer(teacher), Answer(student), labels, torch.arange(len(labels)), task)
    )


def by_hand(teacher: np.ndarray, student: np.ndarray, temperature: float) -> tuple[float, float]:
    """Both losses from the definition of a correlation."""

    def rho(a: np.ndarray, b: np.ndarray) -> float:
        sizes = len(a) * a.std() * b.std()
        return len(a) * np.cov(a, b, ddof=0)[0, 1] / (sizes + EPSILON)

    p, q = (np.exp(small.log_softmax(z / temperature)) for z in (teacher, student))
    inter = 1 - np.mean([rho(a, b) for a, b in zip(p, q, strict=True)])
    intra = 1 - np.mean([rho(a, b) for a, b in zip(p.T, q.T, strict=True)])
    return temperature**2 * inter, temperature**2 * intra


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("shape", [(6, 5), (3, 8), (12, 2)])
def test_equals_the_correlations(shape: tuple[int, int], temperature: float) -> None:
    """Over the classes of each sample, and over the samples of each class."""
    teacher, student = pair(*shape)
    expected = by_hand(teacher.numpy(), student.numpy(), temperature)
    found = correlation_losses(teacher, student, temperature)
    assert [float(part) for part in found] == pytest.approx(expected, rel=1e-12)
    value = loss(teacher, student, DIST(0.5, 3.0, temperature))
    assert value.shape == ()
    assert float(value) == pytest.approx(0.5 * expected[0] + 3.0 * expected[1], rel=1e-12)


def test_correlation_sees_neither_shift_nor_positive_scale() -> None:
    """A sign turns it round; 1 with itself; symmetric; 0 where a row does not vary."""
    one, other = pair(6, 5)
    value = pearson(one, other)
    expected = [np.corrcoef(a, b)[0, 1] for a, b in zip(one.numpy(), other.numpy(), strict=True)]
    np.testing.assert_allclose(value.numpy(), expected, atol=1e-7)
    torch.testing.assert_close(pearson(3 * one + 7, other / 2 - 1), value)
    torch.testing.assert_close(pearson(other, one), value)
    torch.testing.assert_close(pearson(-one, other), -value)
    torch.testing.assert_close(pearson(one, one), torch.ones(6))
    assert (pearson(torch.ones(6, 5), other) == 0).all()


def test_is_zero_where_outputs_agree_and_no_more_than_twice_both_weights() -> None:
    """Equal outputs correlate; opposite ones by −1 at most."""
    teacher, student = pair(6, 5)
    made = DIST(1.0, 1.0, 1.0)
    assert float(loss(teacher, teacher, made)) < 1e-6
    assert 0 < float(loss(teacher, student, made)) < 4
    opposite = torch.tensor([[3.0, -3.0], [-1.0, 1.0]])
    assert float(loss(opposite, -opposite, made)) == pytest.approx(4, rel=1e-6)


def test_symmetries_of_the_batch() -> None:
    """Blind to shifts of logits, the order of samples and that of classes."""
    teacher, student = pair(6, 5)
    value = loss(teacher, student, DIST())
    shift = torch.arange(6.0)[:, None]
    torch.testing.assert_close(loss(teacher + 9, student - shift, DIST()), value)
    order, classes = torch.tensor([2, 0, 5, 1, 4, 3]), torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(loss(teacher[order], student[order], DIST()), value)
    torch.testing.assert_close(loss(teacher[:, classes], student[:, classes], DIST()), value)
    assert abs(float(loss(teacher[order], student, DIST()) - value)) > 1e-3


def test_labelled_pixels_are_samples() -> None:
    """All of the batch together; those without a label neither count nor learn."""
    teacher, student = pair(3, 5, 4, 2)
    student.requires_grad_()
    labels = torch.randint(5, (3, 4, 2))
    labels[0, 0] = labels[2, 1, 0] = 0
    value = loss(teacher, student, DIST(), labels, ignored=0)
    counted = labels != 0
    rows = [z.detach().movedim(1, -1)[counted].numpy() for z in (teacher, student)]
    assert float(value.detach()) == pytest.approx(2 * sum(by_hand(*rows, 4.0)), rel=1e-12)
    value.backward()
    gradient = student.grad.movedim(1, -1)
    assert not gradient[~counted].any()
    assert gradient[counted].any(1).all()


def test_unlabelled_samples_take_no_part() -> None:
    """The loss is that of the others; without any it is 0 and can still be stepped down."""
    teacher, student = pair(6, 5)
    student.requires_grad_()
    labels = torch.tensor([0, -1, 2, 3, -1, 0])
    kept = labels >= 0
    expected = loss(teacher[kept], student[kept], DIST())
    torch.testing.assert_close(loss(teacher, student, DIST(), labels), expected)
    none = loss(teacher, student, DIST(), torch.full((6,), -1))
    none.backward()
    assert float(none.detach()) == 0


def test_gradient_against_central_differences_and_none_for_the_teacher() -> None:
    """The student gets the gradient of the value, the teacher none."""
    teacher, student = (logits.requires_grad_() for logits in pair(4, 3))
    loss(teacher, student, DIST(1.0, 2.0, 2.0)).backward()
    p, q = teacher.detach().numpy(), student.detach().numpy().copy()

    def value() -> float:
        inter, intra = by_hand(p, q, 2.0)
        return inter + 2 * intra

    np.testing.assert_allclose(student.grad.numpy(), small.numeric_gradient(value, q), atol=1e-8)
    assert teacher.grad is None


def test_outputs_that_do_not_vary_have_a_finite_gradient() -> None:
    """One sample alone, a student that answers all alike, and one that is sure."""
    teacher, _ = pair(6, 5)
    for given, answer in (
        (teacher[:1], torch.zeros(1, 5)),
        (teacher, torch.zeros(6, 5)),
        (1e4 * teacher, -1e4 * teacher),
    ):
        student = answer.clone().requires_grad_()
        value = loss(given, student, DIST())
        value.backward()
        assert value.isfinite()
        assert student.grad.isfinite().all()


def test_senseless_options_are_refused() -> None:
    """The option and what was expected are named."""
    assert DIST().problem() is None
    assert DIST(temperature=0.0).problem() == ("temperature", "is 0.0, expected more than 0")
    assert DIST(-1.0).problem() == ("inter_class", "is -1.0, expected 0 or more")
    option, words = DIST(0.0, 0.0).problem()  # type: ignore[misc]
    assert option == "intra_class"
    assert words == "is 0 like DIST.inter_class, expected one of them to be above 0"
