"""Responses of a batch: computed once, kept, cut or routed, they are the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import training_worlds as small

from mstgraph.methods.kl import KL
from mstgraph.stages.distill import Distill
from mstgraph.stages.sta import STA

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

TEACHERS = small.DEFAULT_TEACHERS
NAMES = [f"{member}.{point}".strip(".") for member, point in TEACHERS]
MIXED = [KL(1.0), KL(2.0), KL(1.0), KL(4.0, temperature_squared=True)]
ONE = [KL(4.0)] * 4
WAYS = {
    "whole": {},
    "cut": {"cut": True},
    "trunks kept": {"cut": True, "keep": ["f", "t"]},
    "some kept": {"cut": True, "keep": ["f.joint", "t"]},
    "all kept": {"keep": NAMES},
    "untraceable": {"network": small.Untraceable},
}


def naive_sum(
    world: small.World, losses: list[KL], chosen: torch.Tensor, dense: bool
) -> np.ndarray:
    """All networks on all samples; then each sample adds up its own."""
    student, labels = world.numpy("s"), world.labels.numpy()
    values = []
    for name, loss in zip(NAMES, losses, strict=True):
        factor = loss.temperature**2 if loss.temperature_squared else 1.0
        divergence = factor * small.kl(world.numpy(name), student, loss.temperature)
        values.append(small.per_sample(divergence, labels, dense))
    return np.array([sum(values[j][b] for j in own) for b, own in enumerate(chosen.numpy())])


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("losses", [ONE, MIXED], ids=["one loss", "mixed losses"])
def test_routed_equals_the_naive_sum(dense: bool, k: int, way: str, losses: list[KL]) -> None:
    """Value and the student's gradient, to rounding in double precision."""
    world = small.world(Distill(), "distill", dense=dense, **WAYS[way])
    generator = torch.Generator().manual_seed(k)
    chosen = torch.stack([torch.randperm(4, generator=generator)[:k] for _ in world.labels])
    batch = world.batch()
    student = batch.response("s")
    total = batch.routed(NAMES, losses, chosen, student)
    np.testing.assert_allclose(
        total.detach().numpy(), naive_sum(world, losses, chosen, dense), rtol=0, atol=1e-12
    )
    (gradient,) = torch.autograd.grad(total.sum(), student)
    leaf = torch.from_numpy(world.numpy("s")).requires_grad_()
    for b, own in enumerate(chosen.tolist()):
        for j in own:
            teacher = torch.from_numpy(world.numpy(NAMES[j]))[b : b + 1]
            values = losses[j](teacher, leaf[b : b + 1])
            world.task.average(values, world.labels[b : b + 1]).sum().backward()
    torch.testing.assert_close(gradient, leaf.grad, rtol=0, atol=1e-12)


def test_everybody_may_choose_the_same_teacher() -> None:
    """Teachers that nobody chose are not asked."""
    world = small.world(Distill(), "distill")
    asked = count_calls(world)
    chosen = torch.full((small.BATCH, 1), NAMES.index("t"))
    batch = world.batch()
    total = batch.routed(NAMES, ONE, chosen, batch.response("s"))
    np.testing.assert_allclose(total.detach().numpy(), naive_sum(world, ONE, chosen, False))
    assert asked == {"s": [small.BATCH], "t": [small.BATCH]}


def count_calls(world: small.World) -> dict[str, list[int]]:
    """Member → sizes of the batches it is called with."""
    calls: dict[str, list[int]] = {}
    for name in ("s", "t", "f"):
        module = world.networks.modules[name].hidden
        module.register_forward_pre_hook(
            lambda _module, inputs, name=name: calls.setdefault(name, []).append(len(inputs[0]))
        )
    return calls


def test_each_sample_runs_through_its_own_teachers_alone() -> None:
    """With k = 1 the sizes of the routed batches add up to the batch."""
    world = small.world(Distill(), "distill")
    calls = count_calls(world)
    chosen = torch.tensor([0, 1, 2, 3, 3, 1, 0])[:, None]
    batch = world.batch()
    batch.routed(NAMES, ONE, chosen, batch.response("s"))
    assert calls == {"s": [7], "f": [2, 2], "t": [1, 2]}


def test_teachers_of_one_member_share_the_part_before_their_masks() -> None:
    """With cuts, the trunk of ``f`` sees the union of the samples that chose its teachers."""
    world = small.world(Distill(), "distill", cut=True)
    calls: list[int] = []
    world.networks.modules["f"].joint.register_forward_hook(
        lambda _module, _inputs, output: calls.append(len(output))
    )
    chosen = torch.tensor([[0, 1], [1, 2], [2, 3], [3, 2], [1, 0], [0, 3], [2, 3]])
    batch = world.batch()
    batch.routed(NAMES, ONE, chosen, batch.response("s"))
    assert calls == [4]


def test_a_response_is_computed_once_per_batch() -> None:
    """However often a stage asks."""
    world = small.world(Distill(), "distill")
    calls = count_calls(world)
    batch = world.batch()
    for _ in range(3):
        for name in ("s", "t"):
            batch.response(name)
        batch.cross_entropy("s")
    assert calls == {"s": [7], "t": [7]}
    assert len(batch) == small.BATCH


@pytest.mark.parametrize("way", ["whole", "cut", "trunks kept", "untraceable"])
@pytest.mark.parametrize("name", NAMES)
def test_every_way_gives_the_same_response(way: str, name: str) -> None:
    """As computed by hand."""
    world = small.world(Distill(), "distill", **WAYS[way])
    value = world.batch().response(name).detach().numpy()
    np.testing.assert_allclose(value, world.numpy(name), rtol=0, atol=1e-12)


@pytest.mark.parametrize("way", ["whole", "cut"])
def test_frozen_networks_keep_no_graph(way: str) -> None:
    """A response that nothing trained takes part in needs no memory for gradients."""
    world = small.world(STA(), "sta", teachers=[("f", "hidden")], **WAYS[way])
    batch = world.batch()
    assert not batch.response("s").requires_grad
    assert batch.response("f.hidden").requires_grad


def test_routing_through_a_mask_that_trains_keeps_its_gradient() -> None:
    """Routed or not, what is trained gets its gradient."""
    world = small.world(STA(), "sta", teachers=[("f", "hidden")], cut=True)
    batch = world.batch()
    chosen = torch.zeros(small.BATCH, 1, dtype=torch.int64)
    batch.routed(["f.hidden"], [KL()], chosen, batch.response("s")).sum().backward()
    assert set(world.gradients()) == {"mask.f.hidden"}
