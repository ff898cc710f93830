"""Specialised teacher adaptation against Eq. 8–10 in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import training_worlds as small

from mstgraph.methods.kl import KL
from mstgraph.stages.sta import STA
from mstgraph.train import total

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")


def expected_loss(world: small.World, dense: bool, tau: float) -> float:
    """L_S2 (Eq. 10): the mean of KL(student ‖ specialised teacher) (Eq. 8, 9)."""
    values = small.kl(world.numpy("s"), world.numpy(world.node.teachers[0].name), tau)
    return float(small.per_sample(values, world.labels.numpy(), dense).mean())


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize("point", ["hidden", "joint"])
def test_loss_and_gradient_equal_the_equations(dense: bool, cut: bool, point: str) -> None:
    """The student is the first argument; only the MaskNet gets a gradient, the right one."""
    world = small.world(
        STA(consistency=KL(2.0)), "sta", dense=dense, teachers=[("f", point)], cut=cut
    )
    loss = total(world.node.settings.losses(world.node, world.batch(), 1))
    assert float(loss.detach()) == pytest.approx(expected_loss(world, dense, 2.0), abs=1e-13)
    loss.backward()
    mask = f"mask.f.{point}"
    assert set(world.gradients()) == {mask}
    parameter = world.networks.modules[mask].logits
    numeric = small.numeric_gradient(
        lambda: expected_loss(world, dense, 2.0), parameter.detach().numpy()
    )
    np.testing.assert_allclose(parameter.grad.numpy(), numeric, atol=1e-8)


def test_ignored_pixels_have_no_influence() -> None:
    """Other values at unlabelled pixels change neither loss nor gradient."""
    results = []
    for offset in (0.0, 50.0):
        world = small.world(STA(), "sta", dense=True, teachers=[("f", "hidden")])
        ignored = (world.labels == small.IGNORED)[:, None]
        for name, values in world.inputs.items():
            world.inputs[name] = torch.where(ignored, values + offset, values)
        loss = total(world.node.settings.losses(world.node, world.batch(), 1))
        loss.backward()
        gradient = world.networks.modules["mask.f.hidden"].logits.grad
        results.append((loss.detach(), gradient))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-14)


def test_reports_the_specialised_teacher() -> None:
    """Its metrics are those of the masked network."""
    world = small.world(STA(), "sta", teachers=[("f", "hidden")])
    assert world.node.settings.reported(world.node) == ("f.hidden",)
    values = world.node.settings.validation_loss(world.node, world.batch())
    assert values.shape == (small.BATCH,)
