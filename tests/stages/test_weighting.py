"""What several teachers count, against sums over samples and teachers, one at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import training_worlds as small

from mstgraph.methods.kl import KL
from mstgraph.methods.rkd import RKD
from mstgraph.run.train import total
from mstgraph.stages.distill import Distill
from mstgraph.stages.dkd import DKD
from mstgraph.stages.weighting import teacher_weights, weights_by_cost
from mstgraph.tasks.responses import agreement, entropy, mean_response

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

TEACHERS = len(small.DEFAULT_TEACHERS)


def numpy_weights(world: small.World, weighting: str) -> np.ndarray:
    """CA-MKD's weights, one sample after the other; entropy where there is no label."""
    labels, names = world.labels.numpy(), [t.name for t in world.node.teachers]
    ignored = world.task.labels.ignored
    rows = []
    for sample, own in enumerate(labels):
        counted = np.ones_like(own, bool) if ignored is None else own != ignored
        costs = []
        for name in names:
            log_p = small.log_softmax(world.numpy(name))[sample]
            if weighting == "correctness" and counted.any():
                picked = np.take_along_axis(log_p, own[None], axis=0)[0]
                costs.append(-picked[counted].mean())
            else:
                costs.append(-(np.exp(log_p) * log_p).sum(0).mean())
        share = np.exp(costs) / np.exp(costs).sum()
        rows.append((1 - share) / (len(names) - 1))
    return np.array(rows)


def unlabelled(world: small.World) -> small.World:
    """The same world in which two samples have no label."""
    ignored = 0 if world.task.dense else -1
    world.labels[[1, 4]] = ignored
    world.task = replace(world.task, labels=replace(world.task.labels, ignored=ignored))
    return world


@pytest.mark.parametrize("weighting", ["correctness", "confidence"])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("labelled", [True, False])
def test_weights_equal_the_equation(weighting: str, dense: bool, labelled: bool) -> None:
    """By cross-entropy; by entropy if asked for, and for samples without a label."""
    world = small.world(Distill(), "distill", dense=dense)
    world = world if labelled else unlabelled(world)
    names = [t.name for t in world.node.teachers]
    found = teacher_weights(world.batch(), names, weighting).numpy()
    np.testing.assert_allclose(found, numpy_weights(world, weighting), atol=1e-12)
    np.testing.assert_allclose(found.sum(1), 1)


def test_without_labels_who_is_right_is_who_is_sure() -> None:
    """The labelled samples beside them are judged as before."""
    world = unlabelled(small.world(Distill(), "distill"))
    names = [t.name for t in world.node.teachers]
    right, sure = (teacher_weights(world.batch(), names, w) for w in ("correctness", "confidence"))
    without = torch.zeros(small.BATCH, dtype=torch.bool)
    without[[1, 4]] = True
    assert torch.equal(world.batch().labelled(), ~without)
    torch.testing.assert_close(right[without], sure[without])
    assert (right[~without] - sure[~without]).abs().max(1).values.min() > 1e-4


def test_who_costs_less_counts_more_up_to_a_limit() -> None:
    """Alike for equal costs, blind to a shift; a hopeless teacher counts 0, one alone 1."""
    costs = torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0], [0.0, 1e4, 0.0]])
    weights = weights_by_cost(costs)
    assert weights[0, 0] > weights[0, 1] > weights[0, 2]
    torch.testing.assert_close(weights[1], torch.full((3,), 1 / 3))
    torch.testing.assert_close(weights[2], torch.tensor([0.5, 0.0, 0.5]))
    torch.testing.assert_close(weights_by_cost(costs + 7), weights)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(weights_by_cost(costs[:, order]), weights[:, order])
    assert (weights_by_cost(costs[:, :1]) == 1).all()


def test_entropy_by_hand() -> None:
    """Log 2 for two equal classes, 0 for a sure one, the mean over pixels."""
    logits = torch.tensor([[0.0, 0.0, -1e4], [1e4, 0.0, 0.0]])
    torch.testing.assert_close(entropy(logits), torch.tensor([np.log(2.0), 0.0]))
    pixels = torch.stack([logits[0], logits[1]], dim=1)[None, :, :, None]
    torch.testing.assert_close(entropy(pixels), torch.tensor([np.log(2.0) / 2]))


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_the_mean_response_has_the_mean_of_log_probabilities_at_any_temperature(
    temperature: float,
) -> None:
    """Softened, it is their mean at that temperature, normalised; of equal ones it is they."""
    generator = torch.Generator().manual_seed(5)
    responses = [3 * torch.randn(6, 5, generator=generator) for _ in range(3)]
    weights = torch.rand(6, 3, generator=generator).softmax(1)
    logs = [small.log_softmax(z.numpy() / temperature) for z in responses]
    mean = sum(w[:, None] * log for w, log in zip(weights.numpy().T, logs, strict=True))
    expected = np.exp(mean) / np.exp(mean).sum(1, keepdims=True)
    found = torch.softmax(mean_response(responses, weights) / temperature, 1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)
    shifted = [z + 7 * j for j, z in enumerate(responses)]
    torch.testing.assert_close(mean_response(shifted, weights), mean_response(responses, weights))
    same = mean_response([responses[0]] * 3, weights)
    torch.testing.assert_close(same, torch.log_softmax(responses[0], 1))


def test_agreement_is_one_for_equals_and_zero_for_strangers() -> None:
    """One minus half the sum of differences; symmetric, blind to shifts."""
    generator = torch.Generator().manual_seed(5)
    one, other = (torch.randn(6, 5, generator=generator) for _ in range(2))
    p, q = (np.exp(small.log_softmax(z.numpy())) for z in (one, other))
    expected = 1 - np.abs(p - q).sum(1) / 2
    np.testing.assert_allclose(agreement(one, other).numpy(), expected, atol=1e-12)
    torch.testing.assert_close(agreement(other + 3, one), agreement(one, other))
    torch.testing.assert_close(agreement(one, one), torch.ones(6))
    sure = torch.tensor([[1e4, 0.0], [0.0, 1e4]])
    assert (agreement(sure, sure.flip(1)) == 0).all()


LOSSES = [KL(1.0), KL(2.0), KL(4.0), KL(4.0, temperature_squared=True)]


@pytest.mark.parametrize("weighting", ["correctness", "confidence"])
@pytest.mark.parametrize("dense", [False, True])
def test_distillation_weighs_the_losses_of_each_sample(weighting: str, dense: bool) -> None:
    """Σ_j w_j ℓ_j, averaged over the batch; the weights themselves get no gradient."""
    world = small.world(Distill(weighting=weighting), "distill", dense=dense, losses=LOSSES)
    labels, student = world.labels.numpy(), world.numpy("s")
    losses = []
    for teacher in world.node.teachers:
        tau = teacher.loss.temperature
        factor = tau**2 if teacher.loss.temperature_squared else 1.0
        values = factor * small.kl(world.numpy(teacher.name), student, tau)
        losses.append(small.per_sample(values, labels, dense))
    expected = (numpy_weights(world, weighting) * np.stack(losses, 1)).sum(1).mean()
    terms = world.node.settings.losses(world.node, world.batch(), 1)
    assert float(terms["distill"].value.detach()) == pytest.approx(expected, abs=1e-12)
    total(terms).backward()
    assert set(world.gradients()) == {"s"}


@pytest.mark.parametrize("weighting", ["mean", "correctness", "confidence"])
@pytest.mark.parametrize("dense", [False, True])
def test_an_ensemble_teaches_by_one_response(weighting: str, dense: bool) -> None:
    """KL from the weighted mean of log-probabilities at τ = 2, times τ²."""
    loss = KL(2.0, temperature_squared=True)
    settings = Distill(ensemble="log-probabilities", weighting=weighting)
    world = small.world(settings, "distill", dense=dense, losses=[loss] * TEACHERS)
    labels, student = world.labels.numpy(), world.numpy("s")
    weights = np.full((small.BATCH, TEACHERS), 1 / TEACHERS)
    if weighting != "mean":
        weights = numpy_weights(world, weighting)
    shape = (small.BATCH, *[1] * (student.ndim - 1))
    logs = [small.log_softmax(world.numpy(t.name) / 2) for t in world.node.teachers]
    mean = sum(w.reshape(shape) * log for w, log in zip(weights.T, logs, strict=True))
    values = 4 * small.kl(2 * mean, student, 2.0)
    expected = small.per_sample(values, labels, dense).mean()
    found = settings.losses(world.node, world.batch(), 1)["distill"].value
    assert float(found.detach()) == pytest.approx(expected, abs=1e-12)


def test_one_teacher_is_its_own_ensemble() -> None:
    """Whatever the weighting, and whichever way it is averaged."""
    values = []
    for weighting in ("mean", "correctness", "confidence"):
        for ensemble in ("losses", "log-probabilities"):
            settings = Distill(weighting=weighting, ensemble=ensemble)
            world = small.world(settings, "distill", teachers=[("t", "hidden")])
            values.append(settings.losses(world.node, world.batch(), 1)["distill"].value.item())
    assert values == pytest.approx([values[0]] * 6, rel=1e-12)


@pytest.mark.parametrize(
    ("settings", "losses", "problem"),
    [
        (
            Distill(weighting="means"),
            LOSSES,
            (
                "weighting",
                "is 'means'; did you mean 'mean'? (valid: confidence, correctness, mean)",
            ),
        ),
        (
            Distill(weighting="correctness"),
            [*LOSSES[:3], RKD()],
            (
                "weighting",
                "is 'correctness', but the loss RKD of member 't' is one of the batch as a whole, "
                "expected 'mean', or a loss of each sample such as KL",
            ),
        ),
        (
            Distill(ensemble="log-probabilities"),
            [*LOSSES[:3], RKD()],
            (
                "ensemble",
                "is 'log-probabilities', but the losses of the teachers are KL, RKD, expected one "
                "of logits alone, with the same options for all teachers",
            ),
        ),
    ],
)
def test_losses_that_do_not_fit_are_refused(
    settings: Distill, losses: list[KL], problem: tuple[str, str]
) -> None:
    """The option, the member and what was expected are named."""
    assert settings.problem(small.world(settings, "distill", losses=losses).node) == problem


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("keep", [False, True])
def test_under_a_gate_those_who_are_right_teach_more(dense: bool, keep: bool) -> None:
    """Routing by correctness: Σ_j w_j ℓ_j, no use for the gate, its weights are what is told."""
    names = [f"{member}.{point}".strip(".") for member, point in small.DEFAULT_TEACHERS]
    world = small.world(DKD(routing="correctness"), "dkd", dense=dense, keep=names if keep else ())
    labels, student = world.labels.numpy(), world.numpy("s")
    losses = [
        small.per_sample(small.kl(world.numpy(name), student, 4.0), labels, dense) for name in names
    ]
    weights = numpy_weights(world, "correctness")
    stage = world.node.settings
    terms = stage.losses(world.node, world.batch(), 1)
    assert set(terms) == {"task", "distill"}
    expected = (weights * np.stack(losses, 1)).sum(1).mean()
    assert float(terms["distill"].value.detach()) == pytest.approx(expected, abs=1e-12)
    share = stage.statistics(world.node, world.batch())["share"].numpy()
    np.testing.assert_allclose(share, weights, atol=1e-12)
    assert stage.validated(world.node) == ("s", *names)
    terms["distill"].value.backward()
    assert {name for name, size in world.gradients().items() if size > 0} == {"s"}


@pytest.mark.parametrize("dense", [False, True])
def test_a_label_gate_weakens_labels_where_student_and_teachers_disagree(dense: bool) -> None:
    """Each sample's cross-entropy times the overlap with the teachers' mean; else as without."""
    made = {g: small.world(Distill(label_gate=g), "distill", dense=dense) for g in (False, True)}
    terms = {g: w.node.settings.losses(w.node, w.batch(), 1) for g, w in made.items()}
    world = made[True]
    labels, student = world.labels.numpy(), world.numpy("s")
    logs = [small.log_softmax(world.numpy(t.name)) for t in world.node.teachers]
    teachers = np.exp(small.log_softmax(sum(logs) / TEACHERS))
    overlap = np.minimum(teachers, np.exp(small.log_softmax(student))).sum(1)
    kappa = small.per_sample(overlap, labels, dense)
    losses = small.per_sample(small.cross_entropy(student, labels), labels, dense)
    expected = (kappa * losses).mean()
    assert float(terms[True]["task"].value.detach()) == pytest.approx(expected, abs=1e-12)
    assert float(terms[False]["task"].value.detach()) == pytest.approx(losses.mean(), abs=1e-12)
    distill = [float(terms[gate]["distill"].value.detach()) for gate in (False, True)]
    assert distill[0] == distill[1]
    # κ is a weight, not something to be made small.
    terms[True]["task"].value.backward()
    bias = world.networks.modules["s"].classifier.bias

    def loss() -> float:
        values = small.cross_entropy(world.numpy("s"), labels)
        return float((kappa * small.per_sample(values, labels, dense)).mean())

    numeric = small.numeric_gradient(loss, bias.detach().numpy())
    np.testing.assert_allclose(bias.grad.numpy(), numeric, atol=1e-8)


def test_those_that_are_missing_count_nothing() -> None:
    """The weights of the others are what they are without them; 0 without any."""
    costs = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    rows = [[1, 1, 1], [1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 1, 1]]
    found = weights_by_cost(costs, torch.tensor(rows).bool())
    for row, own in enumerate(rows):
        places = [place for place, there in enumerate(own) if there]
        expected = torch.zeros(3)
        if places:
            expected[places] = weights_by_cost(costs[row : row + 1, places])[0]
        torch.testing.assert_close(found[row], expected)
