"""The softened Kullback–Leibler divergence."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import training_worlds as small

from mstgraph.tasks.divergence import kl_divergence

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")


def pair(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two random logits."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(shape, generator=generator) * 3, torch.randn(shape, generator=generator)


@pytest.mark.parametrize("shape", [(6, 5), (3, 5, 4, 2)])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_equals_the_sum_over_classes(shape: tuple[int, ...], temperature: float) -> None:
    """Σ P (log P − log Q) over the classes, for vectors and for maps."""
    teacher, student = pair(*shape)
    value = kl_divergence(teacher, student, temperature).numpy()
    np.testing.assert_allclose(value, small.kl(teacher.numpy(), student.numpy(), temperature))
    assert value.shape == (shape[0], *shape[2:])


def test_is_zero_for_equal_outputs_and_positive_otherwise() -> None:
    """Gibbs' inequality."""
    teacher, student = pair(500, 5)
    assert kl_divergence(teacher, student, 1.0).min() > 0
    assert kl_divergence(teacher, teacher, 1.0).abs().max() < 1e-15


def test_does_not_change_when_logits_are_shifted() -> None:
    """A softmax does not see a constant."""
    teacher, student = pair(6, 5)
    shifted = kl_divergence(teacher + 100, student - 30, 2.0)
    torch.testing.assert_close(shifted, kl_divergence(teacher, student, 2.0))


def test_is_not_symmetric() -> None:
    """The direction matters."""
    teacher, student = pair(6, 5)
    assert (
        kl_divergence(teacher, student, 1.0) - kl_divergence(student, teacher, 1.0)
    ).abs().max() > 0.1


def test_limits_of_the_temperature() -> None:
    """Infinite: half the variance of the logits' difference over τ²; zero: log Q at the best."""
    teacher, student = pair(6, 5)
    high = 1e4
    difference = (teacher - student).numpy()
    expected = difference.var(axis=1) / 2
    value = kl_divergence(teacher, student, high).numpy() * high**2
    np.testing.assert_allclose(value, expected, rtol=1e-3)
    low = 1e-3
    best = teacher.argmax(1)
    cold = -torch.log_softmax(student / low, 1)[torch.arange(6), best]
    torch.testing.assert_close(kl_divergence(teacher, student, low), cold, atol=1e-6, rtol=1e-5)


def test_huge_logits_stay_finite() -> None:
    """No overflow, and no 0 × ∞, where a probability underflows."""
    teacher = torch.tensor([[1e4, 0.0, -1e4]])
    value = kl_divergence(teacher, -teacher, 1.0)
    torch.testing.assert_close(value, torch.tensor([2e4]))


@pytest.mark.parametrize("layout", ["vector", "map", "channels last", "differing"])
def test_gradient_against_central_differences(layout: str) -> None:
    """Both sides get the gradient of the value, in whatever order maps lie in memory."""
    teacher, student = pair(3, 4) if layout == "vector" else pair(2, 4, 2, 3)
    if layout == "channels last":
        teacher = teacher.contiguous(memory_format=torch.channels_last)
    if layout in ("channels last", "differing"):
        student = student.contiguous(memory_format=torch.channels_last)
    for leaf in (teacher, student):
        leaf.requires_grad_()
    kl_divergence(teacher, student, 2.0).sum().backward()
    for leaf in (teacher, student):
        p, q = teacher.detach().numpy(), student.detach().numpy()
        changed = p if leaf is teacher else q
        numeric = small.numeric_gradient(lambda p=p, q=q: small.kl(p, q, 2.0).sum(), changed)
        np.testing.assert_allclose(leaf.grad.numpy(), numeric, atol=1e-8)


@pytest.mark.parametrize("constant", ["teacher", "student"])
def test_of_maps_is_what_autograd_makes_of_the_formula(constant: str) -> None:
    """Value and gradient, each pixel weighted differently, one side constant."""
    teacher, student = pair(3, 7, 5, 4)
    weights = torch.rand(3, 5, 4)
    leaf = student if constant == "teacher" else teacher
    leaf.requires_grad_()
    log_p, log_q = torch.log_softmax(teacher / 4, 1), torch.log_softmax(student / 4, 1)
    expected = (log_p.exp() * (log_p - log_q)).sum(1)
    found = kl_divergence(teacher, student, 4.0)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    gradients = [torch.autograd.grad((v * weights).sum(), leaf)[0] for v in (expected, found)]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=1e-14)
