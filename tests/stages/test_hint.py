"""The stage before the last one: features guide features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
import training_worlds as small
from torch import Tensor, nn

from mstgraph.methods.loss import Edge, EdgeLoss, EdgeShapes
from mstgraph.run.train import total
from mstgraph.stages.hint import Hint

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

TEACHERS = (("f", "joint"), ("t", ""))


@dataclass(frozen=True)
class Guide(EdgeLoss):
    """The squared error of a linear map from the student's hidden layer to the teacher's."""

    reads: ClassVar[tuple[str, ...]] = ("hints",)
    hinted: ClassVar[bool] = True
    weight: float = 1.0

    def edge(self, edge: Edge) -> Tensor:
        """Return nothing that a hint stage may ask for."""
        raise AssertionError

    def hint(self, edge: Edge) -> Tensor:
        """Return the error of each sample."""
        assert edge.adapter is not None
        return self.weight * (
            edge.adapter(edge.student.hints[0]) - edge.teacher.hints[0]
        ).square().sum(1)

    def adapter(self, shapes: EdgeShapes) -> nn.Module:
        """Return the map."""
        return nn.Linear(6, 6)


def hinting() -> small.World:
    """Two teachers, one of them masked, each with a map of its own."""
    losses = [Guide(), Guide(3.0)]
    world = small.world(Hint(), "hint", teachers=TEACHERS, losses=losses)
    adapters = {"f.joint": "map.f", "t": "map.t"}
    for name in adapters.values():
        world.networks.modules[name] = nn.Linear(6, 6)
    world.networks.trained |= frozenset(adapters.values())
    forwards = {n: replace(f, taps=("hidden",)) for n, f in world.node.forwards.items()}
    layers = {member: {"hints": ("hidden",), "penultimate": ()} for member in ("s", "t", "f")}
    trains = ("s", *adapters.values())
    world.node = replace(
        world.node, forwards=forwards, layers=layers, adapters=adapters, trains=trains
    )
    return world


def hidden_of(world: small.World, name: str) -> np.ndarray:
    """The hidden layer of a response, computed by hand."""
    forward = world.node.forwards[name]
    network = world.networks.modules[forward.member]
    joint = np.concatenate([world.inputs[m].numpy() for m in small.INPUTS_OF[forward.member]], 1)
    if forward.masknet:
        joint = joint / (
            1 + np.exp(-world.networks.modules[forward.masknet].logits.detach().numpy())
        )
    return joint @ network.hidden.weight.detach().numpy().T + network.hidden.bias.detach().numpy()


def expected_loss(world: small.World) -> np.ndarray:
    """The mean over the teachers of each sample's error."""
    student, losses = hidden_of(world, "s"), []
    for name, weight in (("f.joint", 1.0), ("t", 3.0)):
        linear = world.networks.modules[world.node.adapters[name]]
        guided = student @ linear.weight.detach().numpy().T + linear.bias.detach().numpy()
        losses.append(weight * ((guided - hidden_of(world, name)) ** 2).sum(1))
    return np.mean(losses, axis=0)


def test_loss_is_the_mean_over_the_teachers() -> None:
    """Of each sample in validation, and of the batch in training."""
    world = hinting()
    stage = world.node.settings
    expected = expected_loss(world)
    values = stage.validation_loss(world.node, world.batch()).detach().numpy()
    np.testing.assert_allclose(values, expected, atol=1e-12)
    terms = stage.losses(world.node, world.batch(), 1)
    assert set(terms) == {"hint"}
    assert float(total(terms).detach()) == pytest.approx(expected.mean(), abs=1e-12)


def test_who_learns_from_hints() -> None:
    """The student up to the guided layer, and the maps; no teacher, no MaskNet."""
    world = hinting()
    world.node.settings.losses(world.node, world.batch(), 1)["hint"].value.backward()
    assert set(world.gradients()) == {"s", "map.f", "map.t"}
    student = world.networks.modules["s"]
    assert student.classifier.weight.grad is None, "the layers after it wait for the last stage"
    bias = student.hidden.bias
    numeric = small.numeric_gradient(
        lambda: float(expected_loss(world).mean()), bias.detach().numpy()
    )
    np.testing.assert_allclose(bias.grad.numpy(), numeric, atol=1e-7)


def test_nothing_is_measured_and_so_nothing_is_selected_by_a_metric() -> None:
    """The classifier has not learned; the lowest hint loss selects, for which all are read."""
    world = hinting()
    stage = world.node.settings
    assert stage.reported(world.node) == ()
    assert set(stage.validated(world.node)) == {"s", "f.joint", "t"}
    assert stage.problem(world.node) is None
    assert Hint(select="metric").problem(world.node) == (
        "select",
        "is 'metric', expected 'loss' or 'last': no response is measured here",
    )
    named = Hint(select="F1").problem(world.node)
    assert named == ("select", "is 'F1', expected 'loss' or 'last': nothing is measured")
    assert Hint(epochs=0).problem(world.node) == ("epochs", "is 0, expected at least 1")


def test_validation_keeps_no_graph() -> None:
    """Without gradients it is the same number."""
    world = hinting()
    with torch.no_grad():
        values = world.node.settings.validation_loss(world.node, world.batch())
    assert not values.requires_grad
    np.testing.assert_allclose(values.numpy(), expected_loss(world), atol=1e-12)
