"""Distillation without a gate."""

from __future__ import annotations

import numpy as np
import pytest
import training_worlds as small

from mstgraph.methods.kl import KL
from mstgraph.run.train import total
from mstgraph.stages.distill import Distill

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize(("epoch", "alpha"), [(1, 0.5), (30, 0.5), (31, 0.25), (91, 0.0625)])
def test_loss_equals_the_weighted_sum(dense: bool, epoch: int, alpha: float) -> None:
    """(1 − α) CE + α × the mean over teachers of KL(teacher ‖ student); α halves every 30."""
    losses = [KL(1.0), KL(2.0), KL(4.0), KL(4.0, temperature_squared=True)]
    world = small.world(Distill(), "distill", dense=dense, losses=losses)
    loss = total(world.node.settings.losses(world.node, world.batch(), epoch))
    labels, student = world.labels.numpy(), world.numpy("s")
    task = small.per_sample(small.cross_entropy(student, labels), labels, dense).mean()
    edges = []
    for teacher in world.node.teachers:
        tau = teacher.loss.temperature
        factor = tau**2 if teacher.loss.temperature_squared else 1.0
        values = factor * small.kl(world.numpy(teacher.name), student, tau)
        edges.append(small.per_sample(values, labels, dense).mean())
    expected = (1 - alpha) * task + alpha * sum(edges) / len(edges)
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-12)
    loss.backward()
    assert set(world.gradients()) == {"s"}


def test_a_task_weight_of_its_own_leaves_the_other_alone() -> None:
    """Then both weights are what they are given; one decays, the other does not."""
    settings = Distill(distillation_weight=3.0, distillation_decay=(0.1, 2), task_weight=0.75)
    world = small.world(settings, "distill")
    for epoch, weight in {1: 3.0, 2: 3.0, 3: 0.3, 5: 0.03}.items():
        terms = settings.losses(world.node, world.batch(), epoch)
        assert terms["task"].scale == 0.75
        assert terms["distill"].scale == pytest.approx(weight)
    assert settings.problem(world.node) is None


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (Distill(distillation_weight=1.5), ("distillation_weight", "is 1.5, expected 0 to 1")),
        (Distill(task_weight=-0.5), ("task_weight", "is -0.5, expected at least 0")),
        (
            Distill(distillation_decay=(0.5, 0)),
            (
                "distillation_decay",
                "is (0.5, 0), expected (factor of at least 0, epochs of at least 1)",
            ),
        ),
        (Distill(epochs=0), ("epochs", "is 0, expected at least 1")),
    ],
)
def test_weights_without_sense_are_refused(settings: Distill, problem: tuple[str, str]) -> None:
    """The option and what was expected are named."""
    assert settings.problem(small.world(settings, "distill").node) == problem


def test_validation_asks_no_teacher() -> None:
    """The loss of an edge may need what only training has; the student is what counts."""
    world = small.world(Distill(), "distill")
    for name in ("f", "t"):
        world.networks.modules[name].register_forward_pre_hook(lambda *_: pytest.fail("asked"))
    stage = world.node.settings
    values = stage.validation_loss(world.node, world.batch()).detach().numpy()
    expected = small.cross_entropy(world.numpy("s"), world.labels.numpy())
    np.testing.assert_allclose(values, expected)
    assert stage.validated(world.node) == stage.reported(world.node) == ("s",)
