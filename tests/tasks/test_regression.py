"""Regression: losses, divergence and metrics against NumPy, and what is unknown."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mstgraph.certainty.bootstrap import draws, resampled
from mstgraph.methods.kl import KL
from mstgraph.store.recipe import Labels
from mstgraph.tasks.choice import task_for

TASK = task_for(Labels("regression", ("height", "width")))
SOME = replace(TASK, unlabelled=True)


def sample(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs that know something of the labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randn(count, 2, generator=generator) * 2 + 1
    return labels + torch.randn(count, 2, generator=generator), labels


def measured(task: object, outputs: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Metrics of two pieces."""
    found = task.accumulator()
    for rows in (slice(0, 3), slice(3, None)):
        found.update(outputs[rows], labels[rows])
    return found.metrics()


def huber(error: np.ndarray, delta: float) -> np.ndarray:
    """Half the square near zero, a line beyond."""
    away = np.abs(error)
    return np.where(away <= delta, error**2 / 2, delta * away - delta**2 / 2)


def test_losses_of_a_sample() -> None:
    """Means over its numbers; the Huber loss is half the squared error where δ is large."""
    outputs, labels = sample(7)
    error = (outputs - labels).numpy()
    for name, expected in {
        "mse": error**2,
        "mae": np.abs(error),
        "huber": huber(error, 0.7),
    }.items():
        task = replace(TASK, error=name, delta=0.7)
        np.testing.assert_allclose(task.loss(outputs, labels), expected.mean(1), rtol=1e-4)
    wide = replace(TASK, error="huber", delta=1e6).loss(outputs, labels)
    torch.testing.assert_close(wide, TASK.loss(outputs, labels) / 2)


def test_divergence_is_that_of_normal_distributions_of_width_tau() -> None:
    """(t − s)² / 2τ², by the integral; times τ² half the squared error at any temperature."""
    teacher, student = torch.tensor([[1.5, 0.0]]), torch.tensor([[-0.5, 0.0]])
    x = np.linspace(-30, 30, 200001)
    p, q = (np.exp(-((x - mean) ** 2) / 8) / math.sqrt(8 * math.pi) for mean in (1.5, -0.5))
    log_ratio = ((x + 0.5) ** 2 - (x - 1.5) ** 2) / 8
    assert np.isclose(np.log(p[100000] / q[100000]), log_ratio[100000])
    integral = (p * log_ratio).sum() * (x[1] - x[0])
    assert TASK.divergence(teacher, student, 2.0).item() == pytest.approx(integral / 2, rel=1e-5)
    both = [KL(t, temperature_squared=True).compare(TASK, teacher, student) for t in (1.0, 7.0)]
    torch.testing.assert_close(both[0], (teacher - student).square().mean(1) / 2)
    torch.testing.assert_close(both[0], both[1])


def test_several_teachers_are_one_by_their_mean() -> None:
    """Weighted; nobody is surer than another."""
    responses, weights = torch.randn(3, 5, 2), torch.rand(5, 3)
    expected = np.einsum("nbk,bn->bk", responses.numpy(), weights.numpy())
    np.testing.assert_allclose(TASK.combine(list(responses), weights), expected, rtol=1e-5)
    assert TASK.uncertainty(responses[0]).tolist() == [0.0] * 5
    assert not TASK.probabilities


def test_metrics_are_means_over_the_numbers() -> None:
    """MAE, R² as scikit-learn has it, Pearson's r; lower is better for the first alone."""
    outputs, labels = sample(50)
    y, found = labels.numpy(), outputs.numpy()
    spread = ((y - y.mean(0)) ** 2).sum(0)
    r = [np.corrcoef(y[:, k], found[:, k])[0, 1] for k in range(2)]
    assert measured(TASK, outputs, labels) == pytest.approx(
        {
            "MAE": np.abs(y - found).mean(),
            "R2": (1 - ((y - found) ** 2).sum(0) / spread).mean(),
            "r": np.mean(r),
        },
        rel=1e-5,
    )
    assert [m.higher_is_better for m in TASK.metrics] == [False, True, True]


def test_limits_of_the_metrics() -> None:
    """The truth has R² and r of 1, the mean R² of 0, a line up r of 1; of a constant none."""
    _, labels = sample(20)
    assert measured(TASK, labels, labels) == pytest.approx({"MAE": 0.0, "R2": 1.0, "r": 1.0})
    mean = labels.mean(0).expand_as(labels)
    constant = measured(TASK, mean, labels)
    assert constant["R2"] == pytest.approx(0, abs=1e-6)
    assert math.isnan(constant["r"])
    assert measured(TASK, labels * 3 - 70, labels)["r"] == pytest.approx(1)
    assert math.isnan(measured(TASK, labels, mean)["R2"])


def test_large_numbers_lose_no_digits() -> None:
    """Labels far from zero have the metrics of the same ones near it."""
    outputs, labels = sample(30)
    near = measured(TASK, outputs.double(), labels.double())
    far = measured(TASK, outputs.double() + 1e4, labels.double() + 1e4)
    assert far == pytest.approx(near, rel=1e-5)


def test_accuracies_of_sentiment_as_their_papers_count_them() -> None:
    """Seven whole numbers, ends clipped; two halves, without labels that are zero."""
    task = replace(task_for(Labels("regression", ("sentiment",))), measure=("acc7", "acc2"))
    assert task.problem() is None
    labels = torch.tensor([[-3.0], [-1.2], [0.0], [0.6], [2.6], [1.0]])
    outputs = torch.tensor([[-5.0], [-0.4], [0.4], [1.2], [2.2], [-0.1]])
    found = measured(task, outputs, labels)
    first, second = (np.round(np.clip(v.numpy(), -3, 3)) for v in (outputs, labels))
    assert found["acc7"] == pytest.approx((first == second).mean())
    assert found["acc2"] == pytest.approx(4 / 5)
    wrong = replace(task, measure=("acc5",)).problem()
    assert wrong is not None
    assert wrong[1].startswith("names 'acc5'; did you mean 'acc")


def test_unknown_numbers_count_nowhere() -> None:
    """Nan is unknown: no loss, no gradient, no part of a metric."""
    outputs, labels = sample(12)
    full = labels.clone()
    labels[0, 1], labels[1] = math.nan, math.nan
    outputs.requires_grad_()
    losses = SOME.loss(outputs, labels)
    losses.sum().backward()
    assert losses[1] == 0
    assert outputs.grad.isfinite().all()
    assert (outputs.grad[1] == 0).all()
    assert losses[0].item() == pytest.approx(float((outputs - full)[0, 0].detach() ** 2))
    found = measured(SOME, outputs.detach(), labels)
    error = (outputs.detach() - full).abs().numpy()
    expected = (np.delete(error[:, 0], 1).mean() + error[2:, 1].mean()) / 2
    assert found["MAE"] == pytest.approx(expected)


def test_metrics_of_a_draw_are_those_of_its_samples() -> None:
    """What intervals are made of."""
    outputs, labels = sample(15)
    drawn = draws(15, 4)
    found = resampled(drawn, TASK.contributions(outputs, labels).numpy(), TASK.metrics_of)
    for row, counts in enumerate(drawn.astype(int)):
        again = np.repeat(np.arange(15), counts)
        expected = measured(TASK, outputs[again], labels[again])
        assert {n: float(v[row]) for n, v in found.items()} == pytest.approx(expected)
