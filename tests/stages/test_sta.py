"""Specialised teacher adaptation against Eq. 8–10 in numpy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import training_worlds as small

from mstgraph.distil.masknet import MaskNet
from mstgraph.methods.kl import KL
from mstgraph.run.train import total
from mstgraph.stages.node import Forward
from mstgraph.stages.sta import STA

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


@pytest.mark.parametrize("cut", [False, True])
def test_a_collapsed_mask_is_seen(cut: bool) -> None:
    """Mean, spread over channels and spread over samples; a constant mask has no spread."""
    world = small.world(STA(), "sta", teachers=[("f", "hidden")], cut=cut)
    masknet = MaskNet((6,), factor=1, heads=2).eval()
    world.networks.modules["mask.f.hidden"] = masknet
    settings, node = world.node.settings, world.node

    def statistics() -> dict[str, np.ndarray]:
        batch = world.batch()
        settings.validation_loss(node, batch)
        return {n: v.detach().numpy() for n, v in settings.statistics(node, batch).items()}

    found = statistics()
    network = world.networks.modules["f"]
    hidden = network.hidden(torch.cat([world.inputs["a"], world.inputs["b"]], dim=1))
    mask = masknet.mask(hidden).detach().numpy()
    np.testing.assert_allclose(found["mask_mean"], mask.mean(1), atol=1e-12)
    np.testing.assert_allclose(found["mask_spread_channels"], mask.std(1), atol=1e-12)
    variation = np.full(small.BATCH, mask.std(0).mean())
    np.testing.assert_allclose(found["mask_spread_samples"], variation, atol=1e-12)
    assert variation[0] > 1e-6
    torch.nn.init.zeros_(masknet.linear.weight)
    found = statistics()
    assert found["mask_spread_channels"].max() == found["mask_spread_samples"].max() == 0


def test_the_spread_of_masks_is_in_the_record(workspace: object) -> None:
    """Of every epoch, and of the test split."""
    experiment = small.mfeat("graph.alone = False", "CI.epochs = 1", "DKD.epochs = 1")
    small.run(experiment, "run")
    folder = Path("run/stages/sta-zer-fou.hidden1")
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    tested = json.loads((folder / "artefact.json").read_text())["test"]
    for result in (*(record["validation"] for record in records), tested):
        assert 0 < result["mask_mean"] < 1
        assert result["mask_spread_channels"] > 0
        assert result["mask_spread_samples"] > 0


@pytest.mark.parametrize("dense", [False, True])
def test_the_teachers_mean_can_be_the_guide(dense: bool) -> None:
    """KL(mean of the log-probabilities of all teachers, unmasked ‖ specialised teacher)."""
    settings = STA(consistency=KL(2.0), target="teachers")
    world = small.world(settings, "sta", dense=dense, teachers=[("f", "hidden")])
    own = world.node.forwards["f.hidden"]
    forwards = {"f": Forward("f"), "t": Forward("t"), "f.hidden": own}
    world.node = replace(world.node, forwards=forwards)
    mean = sum(small.log_softmax(world.numpy(name)) for name in ("f", "t")) / 2
    values = small.kl(mean, world.numpy("f.hidden"), 2.0)
    expected = small.per_sample(values, world.labels.numpy(), dense).mean()
    loss = total(settings.losses(world.node, world.batch(), 1))
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-13)


def test_the_plan_asks_all_teachers_where_they_are_the_guide(workspace: object) -> None:
    """Unmasked and frozen, as they are before STA; the student is not asked then."""
    stages = small.mfeat("STA.target = 'teachers'").plan.stages
    node = stages["sta-zer-fou.hidden1"]
    assert set(node.forwards) == {"fused", "fou", "fou.hidden1"}
    assert not node.forwards["fou"].masknet
    assert node.sources == {"fused": "ci", "fou": "ci"}
