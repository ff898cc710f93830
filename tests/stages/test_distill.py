"""Distillation without a gate."""

from __future__ import annotations

import pytest
import training_worlds as small

from mstgraph.methods.kl import KL
from mstgraph.stages.distill import Distill
from mstgraph.train import total

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
