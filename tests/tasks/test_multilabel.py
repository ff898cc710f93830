"""Multi-label: each equation against NumPy, scikit-learn's definitions by hand, and limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn

from mstgraph.certainty.bootstrap import draws, resampled
from mstgraph.certainty.verdict import gain_over
from mstgraph.data.labelled import UNKNOWN
from mstgraph.methods.kl import KL
from mstgraph.store.recipe import Labels
from mstgraph.tasks.choice import task_for
from mstgraph.tasks.ranking import average_precision

NAMES = ("loop", "line", "dot", "never")
TASK = task_for(Labels("multilabel", NAMES))
SOME = replace(TASK, unlabelled=True)


def sample(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits with ties, and labels of which the last class never applies."""
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.randn(count, 4, generator=generator) * 4).round() / 4
    labels = torch.randint(0, 2, (count, 4), generator=generator)
    labels[:, 3] = 0
    return logits, labels


def sigmoid(values: np.ndarray) -> np.ndarray:
    """1 / (1 + e⁻ˣ)."""
    return 1 / (1 + np.exp(-values))


def precision_by_hand(scores: np.ndarray, applies: np.ndarray) -> float:
    """Σ (R_n − R_{n−1}) P_n, one threshold after the other."""
    value, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = scores >= threshold
        recall = applies[chosen].sum() / applies.sum()
        value += (recall - before) * applies[chosen].mean()
        before = recall
    return value


def test_a_label_is_as_long_as_there_are_names() -> None:
    """The recipe need not say so; outputs are vectors, not maps."""
    assert TASK.labels.shape == (4,)
    assert (TASK.num_outputs, TASK.extent, TASK.dense) == (4, (), False)
    assert not TASK.exclusive_classes


def test_loss_is_the_mean_binary_cross_entropy_over_known_places() -> None:
    """Of each sample; one without any known place has the loss 0, and gets no gradient."""
    logits, labels = sample(6)
    chance = sigmoid(logits.numpy())
    each = -np.log(np.where(labels.numpy() == 1, chance, 1 - chance))
    np.testing.assert_allclose(TASK.loss(logits, labels), each.mean(1), rtol=1e-4)
    labels[0, 2], labels[1] = UNKNOWN, UNKNOWN
    logits.requires_grad_()
    losses = SOME.loss(logits, labels)
    np.testing.assert_allclose(losses[0].item(), each[0, [0, 1, 3]].mean(), rtol=1e-4)
    losses.sum().backward()
    assert losses[1] == 0
    assert (logits.grad[1] == 0).all()
    assert logits.grad[0, 2] == 0


def test_divergence_is_that_of_bernoulli_variables() -> None:
    """Zero for equals alone, the same with yes and no exchanged, (p − q)² / 8 when softened."""
    torch.set_default_dtype(torch.float64)
    try:
        teacher, student = torch.randn(5, 4), torch.randn(5, 4)
        p, q = sigmoid(teacher.numpy() / 3), sigmoid(student.numpy() / 3)
        expected = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean(1)
        np.testing.assert_allclose(TASK.divergence(teacher, student, 3.0), expected, rtol=1e-9)
        assert (TASK.divergence(teacher, teacher, 2.0) == 0).all()
        assert (TASK.divergence(teacher, student, 2.0) > 0).all()
        turned = TASK.divergence(-teacher, -student, 3.0)
        torch.testing.assert_close(turned, torch.from_numpy(expected))
        soft = KL(1e4, temperature_squared=True).compare(TASK, teacher, student)
        limit = (teacher - student).square().mean(1) / 8
        torch.testing.assert_close(soft, limit, rtol=1e-3, atol=0)
    finally:
        torch.set_default_dtype(torch.float32)


def test_several_responses_are_one_by_the_mean_of_log_probabilities() -> None:
    """Normalised over yes and no, that is the mean of logits, at any temperature."""
    responses, weights = torch.randn(3, 5, 4).double(), torch.rand(5, 3).double()
    weights /= weights.sum(1, keepdim=True)
    for temperature in (1.0, 4.0):
        p = sigmoid(responses.numpy() / temperature)
        share = weights.numpy().T[:, :, None]
        yes, no = (np.exp((share * np.log(chance)).sum(0)) for chance in (p, 1 - p))
        found = sigmoid(TASK.combine(list(responses), weights).numpy() / temperature)
        np.testing.assert_allclose(found, yes / (yes + no), rtol=1e-9)


def test_how_sure_and_how_alike_responses_are() -> None:
    """Mean entropy, at most log 2; overlap 1 − |p − q|, 1 for equals and 0 for opposites."""
    one, other = torch.randn(5, 4).double(), torch.randn(5, 4).double()
    p, q = sigmoid(one.numpy()), sigmoid(other.numpy())
    entropy = -(p * np.log(p) + (1 - p) * np.log(1 - p)).mean(1)
    np.testing.assert_allclose(TASK.uncertainty(one), entropy, rtol=1e-9)
    assert TASK.uncertainty(torch.zeros(1, 4)).item() == pytest.approx(np.log(2))
    np.testing.assert_allclose(TASK.agreement(one, other), 1 - np.abs(p - q).mean(1), rtol=1e-9)
    sure = torch.tensor([[50.0, -50.0, 50.0, -50.0]])
    assert TASK.agreement(sure, sure).item() == 1
    assert TASK.agreement(sure, -sure).item() < 1e-6


def test_metrics_are_those_of_scikit_learn() -> None:
    """But for mAP, which leaves out a class that never applies; in pieces as at once."""
    logits, labels = sample(40)
    found = TASK.accumulator()
    for rows in (slice(0, 7), slice(7, 40)):
        found.update(logits[rows], labels[rows])
    values, scores, truth = found.metrics(), logits.numpy(), labels.numpy()
    predicted = scores > 0
    hits, sizes = (predicted * truth).sum(0), predicted.sum(0) + truth.sum(0)
    precisions = [precision_by_hand(scores[:, c], truth[:, c]) for c in range(3)]
    assert values == pytest.approx(
        {
            "mAP": np.mean(precisions),
            "F1-macro": np.mean(2 * hits / np.maximum(sizes, 1)),
            "F1-micro": 2 * hits.sum() / sizes.sum(),
            "subset": (predicted == truth).all(1).mean(),
        }
    )
    assert list(values) == [metric.name for metric in TASK.metrics]
    options = {"average": "macro", "zero_division": 0}
    assert values["F1-macro"] == pytest.approx(sklearn.f1_score(truth, predicted, **options))
    ranked = sklearn.average_precision_score(truth[:, :3], scores[:, :3], average="macro")
    assert values["mAP"] == pytest.approx(ranked)
    own = replace(TASK, measure=("recall:line",)).accumulator()
    own.update(logits, labels)
    assert own.metrics()["recall:line"] == pytest.approx(hits[1] / truth[:, 1].sum())


def test_unknown_places_count_nowhere() -> None:
    """A split with them measures what the rest of each sample does."""
    logits, labels = sample(30)
    hidden = labels.clone()
    hidden[4], hidden[7, 1] = UNKNOWN, UNKNOWN
    found = SOME.accumulator()
    found.update(logits, hidden)
    predicted, truth = (logits > 0).numpy(), labels.numpy()
    known = hidden.numpy() != UNKNOWN
    right = ((predicted == truth) | ~known).all(1)[known.any(1)]
    assert found.metrics()["subset"] == pytest.approx(right.mean())
    assert (SOME.contributions(logits, hidden)[4] == 0).all()
    precisions = [
        precision_by_hand(logits.numpy()[known[:, c], c], truth[known[:, c], c]) for c in range(3)
    ]
    assert found.metrics()["mAP"] == pytest.approx(np.mean(precisions))


def test_average_precision_of_weighed_samples_is_that_of_repeated_ones() -> None:
    """Weights are how often a draw holds a sample; of no positive one nothing is known."""
    logits, labels = sample(25)
    scores, applies = logits[:, 0].double(), labels[:, 0].double()
    drawn = draws(25, 6)
    found = average_precision(scores, applies, torch.from_numpy(drawn))
    for row, counts in zip(found, drawn.astype(int), strict=True):
        again = np.repeat(np.arange(25), counts)
        assert float(row) == pytest.approx(
            precision_by_hand(scores.numpy()[again], applies.numpy()[again])
        )
    assert average_precision(scores, applies * 0, torch.ones(1, 25).double()).isnan().all()


def test_intervals_of_map_come_from_the_same_draws() -> None:
    """Against a network itself the difference is nothing; a better one gains."""
    logits, labels = sample(60)
    rows = [TASK.contributions(z, labels).numpy() for z in (logits, labels * 4.0 - 2 + logits)]
    assert gain_over(TASK, rows[0], rows[0]).intervals["mAP"] == (0.0, 0.0)
    gain = gain_over(TASK, rows[1], rows[0])
    assert gain.intervals["mAP"][0] > 0
    assert gain.p < 0.01
    values = resampled(np.ones((1, 60)), rows[0], TASK.metrics_of, TASK.ranked)
    found = TASK.accumulator()
    found.update(logits, labels)
    assert {name: float(value) for name, value in values.items()} == pytest.approx(found.metrics())


def test_whom_two_networks_answer_alike() -> None:
    """Where they predict the same classes, whatever their logits are."""
    logits, labels = sample(9)
    other = logits * 2
    other[3] = -other[3] - 0.1
    alike = TASK.alike(*(TASK.contributions(z, labels) for z in (logits, other)))
    expected = ((logits > 0) == (other > 0)).all(1)
    assert alike.tolist() == expected.tolist()
    assert not alike[3]
