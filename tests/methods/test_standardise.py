"""Logit standardisation, against z-scores by hand, in each loss that has the option."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import training_worlds as small
from torch import Tensor

from mstgraph.methods.decoupled import DecoupledKD
from mstgraph.methods.dist import DIST
from mstgraph.methods.fitnets import FitNets
from mstgraph.methods.kl import KL
from mstgraph.methods.loss import Answer, Edge, EdgeLoss
from mstgraph.methods.mlld import MLLD
from mstgraph.methods.standardise import EPSILON, standardise

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

LOSSES = (KL, FitNets, MLLD, DIST, DecoupledKD)


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    """Two random logits."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(shape, generator=generator) * 3, torch.randn(shape, generator=generator)


def by_hand(logits: np.ndarray) -> np.ndarray:
    """Z-scores over axis 1."""
    mean, std = logits.mean(axis=1, keepdims=True), logits.std(axis=1, keepdims=True)
    return (logits - mean) / (std + EPSILON)


def value(loss: EdgeLoss, teacher: Tensor, student: Tensor) -> Tensor:
    """The loss of a batch of labelled samples."""
    numbers = torch.arange(len(student))
    task = small.class_task(student.shape[1], tuple(student.shape[2:]))
    labels = numbers % student.shape[1]
    return loss.edge(Edge(Answer(teacher), Answer(student), labels, numbers, task))


@pytest.mark.parametrize("shape", [(6, 5), (3, 5, 4, 2), (4, 2)])
def test_equals_the_z_scores(shape: tuple[int, ...]) -> None:
    """Over the classes, of samples and of pixels."""
    logits, _ = pair(*shape)
    found = standardise(logits).numpy()
    np.testing.assert_allclose(found, by_hand(logits.numpy()), rtol=1e-12)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-12)
    np.testing.assert_allclose(found.std(axis=1), 1, rtol=1e-6)


def test_neither_shift_nor_scale_is_seen() -> None:
    """The order of the classes and their distances relative to each other remain."""
    logits, _ = pair(6, 5)
    moved = standardise(7 * logits - torch.arange(6.0)[:, None])
    torch.testing.assert_close(moved, standardise(logits), rtol=1e-6, atol=1e-6)
    assert torch.equal(standardise(logits).argsort(1), logits.argsort(1))
    torch.testing.assert_close(standardise(-logits), -standardise(logits))


def test_classes_that_are_all_alike_give_zero_and_a_finite_gradient() -> None:
    """A network that answers nothing yet, and a task of one class."""
    for shape in ((3, 5), (3, 1)):
        logits = torch.full(shape, 2.0, requires_grad=True)
        scores = standardise(logits)
        scores.square().sum().backward()
        assert (scores == 0).all()
        assert (logits.grad == 0).all()


@pytest.mark.parametrize("made", LOSSES)
def test_a_loss_with_the_option_is_that_of_the_z_scores(made: type[EdgeLoss]) -> None:
    """And without it, nothing is standardised."""
    teacher, student = pair(6, 5)
    plain, option = made(), made(standardised=True)  # type: ignore[call-arg]
    scores = [torch.from_numpy(by_hand(logits.numpy())) for logits in (teacher, student)]
    torch.testing.assert_close(value(option, teacher, student), value(plain, *scores))
    difference = value(option, teacher, student) - value(plain, teacher, student)
    assert difference.abs().max() > 1e-3


@pytest.mark.parametrize("made", LOSSES)
def test_a_student_that_ranks_as_the_teacher_does_has_learned_all(made: type[EdgeLoss]) -> None:
    """Logits ten times smaller are no fault with the option, and one without it."""
    teacher, _ = pair(6, 5)
    without = value(made(), teacher, teacher / 10)
    assert value(made(standardised=True), teacher, teacher / 10).max() < 1e-4  # type: ignore[call-arg]
    assert without.max() > 1e-2


def test_the_gradient_against_central_differences() -> None:
    """Through the z-scores, into the student."""
    teacher, student = pair(3, 4)
    student.requires_grad_()
    KL(2.0, standardised=True).compare(small.class_task(4), teacher, student).sum().backward()
    p, q = teacher.numpy(), student.detach().numpy().copy()
    numeric = small.numeric_gradient(lambda: small.kl(by_hand(p), by_hand(q), 2.0).sum(), q)
    np.testing.assert_allclose(student.grad.numpy(), numeric, atol=1e-8)
