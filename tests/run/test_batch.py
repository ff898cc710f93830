"""Responses of a batch: computed once, kept, cut or routed, they are the same numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import training_worlds as small
from torch import Tensor, nn

from mstgraph.distil.insertion import tapped
from mstgraph.methods.kl import KL
from mstgraph.methods.loss import Edge, EdgeLoss
from mstgraph.run.batch import Batch
from mstgraph.run.kept import InMemory, Kept, OnDisk
from mstgraph.run.networks import Networks, Shared
from mstgraph.stages.distill import Distill
from mstgraph.stages.dkd import routed
from mstgraph.stages.node import RESPONSE
from mstgraph.stages.sta import STA
from mstgraph.support.errors import UserError

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
    total = routed(batch, NAMES, losses, chosen, student)
    np.testing.assert_allclose(
        total.detach().numpy(), naive_sum(world, losses, chosen, dense), rtol=0, atol=1e-12
    )
    (gradient,) = torch.autograd.grad(total.sum(), student)
    leaf = torch.from_numpy(world.numpy("s")).requires_grad_()
    for b, own in enumerate(chosen.tolist()):
        for j in own:
            teacher = torch.from_numpy(world.numpy(NAMES[j]))[b : b + 1]
            values = losses[j].compare(world.task, teacher, leaf[b : b + 1])
            world.task.average(values, world.labels[b : b + 1]).sum().backward()
    torch.testing.assert_close(gradient, leaf.grad, rtol=0, atol=1e-12)


def test_everybody_may_choose_the_same_teacher() -> None:
    """Teachers that nobody chose are not asked."""
    world = small.world(Distill(), "distill")
    asked = count_calls(world)
    chosen = torch.full((small.BATCH, 1), NAMES.index("t"))
    batch = world.batch()
    total = routed(batch, NAMES, ONE, chosen, batch.response("s"))
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
    routed(batch, NAMES, ONE, chosen, batch.response("s"))
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
    routed(batch, NAMES, ONE, chosen, batch.response("s"))
    assert calls == [4]


def test_a_response_is_computed_once_per_batch() -> None:
    """However often a stage asks."""
    world = small.world(Distill(), "distill")
    calls = count_calls(world)
    batch = world.batch()
    for _ in range(3):
        for name in ("s", "t"):
            batch.response(name)
        batch.task_loss("s")
    assert calls == {"s": [7], "t": [7]}
    assert len(batch) == small.BATCH


def test_where_nobody_lacks_anything_nobody_is_asked_who_is_there() -> None:
    """It is what the networks say when asked; with a lack, they are asked."""
    world = small.world(Distill(), "distill")
    batch, names = world.batch(), ("s", *NAMES)
    members = [world.node.forwards[name].member for name in names]
    answers = [world.networks.there(member, batch._shared) for member in members]
    assert [batch.there(name) for name in names] == answers == [None] * len(names)
    assert batch.there(*names) is batch.each_there(names) is None
    (lacking, _) = small.INPUTS_OF["f"]
    world.lengths = {lacking: torch.tensor([0, *[1] * (small.BATCH - 1)])}
    there = world.batch().each_there(["f.joint"])
    assert there is not None
    assert there.flatten().tolist() == [False, *[True] * (small.BATCH - 1)]


def test_parts_are_put_into_another_mode_only() -> None:
    """As if each were put there every time; what somebody else changed is put right."""
    world = small.world(Distill(), "distill")
    networks, asked = world.networks, []

    def watched(name: str, train: Callable[[bool], nn.Module], mode: bool = True) -> nn.Module:
        asked.append(name)
        return train(mode)

    for name, module in networks.modules.items():
        module.register_module("dropout", nn.Dropout())
        module.train = partial(watched, name, module.train)  # type: ignore[method-assign]
    networks.ready(())
    assert asked == list(networks.modules)
    for trained in (["s"], ["s"], [], ["t", "s"], []):
        asked.clear()
        before = {name: module.training for name, module in networks.modules.items()}
        networks.ready(trained)
        for name, module in networks.modules.items():
            assert {m.training for m in module.modules()} == {name in trained}
        assert asked == [name for name in before if before[name] != (name in trained)]
    networks.modules["f"].train()
    networks.ready(())
    assert not networks.modules["f"].dropout.training


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
    routed(batch, ["f.hidden"], [KL()], chosen, batch.response("s")).sum().backward()
    assert set(world.gradients()) == {"mask.f.hidden"}


# --- edges -------------------------------------------------------------------------------------

LAYERS = {
    "s": {"penultimate": ("hidden",), "hints": ("joint", "hidden")},
    "f": {"penultimate": ("hidden",), "hints": ("hidden", "joint")},
    "t": {"penultimate": ("hidden",), "hints": ("hidden", "joint")},
}


@dataclass(frozen=True)
class Reader(EdgeLoss):
    """A loss that reads every role; the mean difference of two numbers per sample or pixel."""

    reads: ClassVar[tuple[str, ...]] = ("penultimate", "hints")
    dense: ClassVar[bool] = True

    def edge(self, edge: Edge) -> Tensor:
        """Return a value of each sample or pixel."""
        return (edge.student.logits - edge.teacher.logits).square().sum(1)


@dataclass(frozen=True)
class Whole(Reader):
    """The same, summed up by the loss itself."""

    def edge(self, edge: Edge) -> Tensor:
        """Return one number."""
        return super().edge(edge).sum()


@dataclass(frozen=True)
class Halves(Reader):
    """Reads one role of both, another one of the student alone."""

    reads: ClassVar[tuple[str, ...]] = ("penultimate",)
    reads_of_student: ClassVar[tuple[str, ...]] = ("hints",)


def reading(loss: EdgeLoss, **given: Any) -> small.World:
    """A world whose teachers' losses read layers, with the taps that a plan would have."""
    world = small.world(Distill(), "distill", losses=[loss] * 4, **given)
    roles = {True: loss.roles(of_student=True), False: loss.roles(of_student=False)}
    taps = {
        (member, of_student): tuple(
            dict.fromkeys(layer for role in roles[of_student] for layer in LAYERS[member][role])
        )
        for member in LAYERS
        for of_student in roles
    }
    forwards = {
        name: replace(forward, taps=taps[forward.member, name == "s"])
        for name, forward in world.node.forwards.items()
    }
    world.node = replace(world.node, forwards=forwards, layers=LAYERS)
    return world


def by_hooks(world: small.World, name: str) -> dict[str, Tensor]:
    """What the layers of a response return, and its logits: a network run by hand."""
    forward = world.node.forwards[name]
    network, mask = world.networks.modules[forward.member], None
    if forward.masknet:
        mask = world.networks.modules[forward.masknet]
    seen: dict[str, Tensor] = {}
    handles = []
    for layer in ("joint", "hidden"):

        def hook(_module: Any, _inputs: Any, output: Tensor, layer: str = layer) -> Tensor:
            seen[layer] = mask(output) if mask is not None and layer == forward.point else output
            return seen[layer]

        handles.append(getattr(network, layer).register_forward_hook(hook))
    with torch.no_grad():
        seen["logits"] = network(*(world.inputs[m] for m in small.INPUTS_OF[forward.member]))
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("way", ["whole", "cut", "untraceable"])
def test_an_edge_sees_the_layers_of_both_ends(dense: bool, way: str) -> None:
    """In the order in which each member names them; at a mask point the masked feature."""
    world = reading(Reader(), dense=dense, **WAYS[way])
    batch = world.batch()
    student = by_hooks(world, "s")
    for teacher in world.node.teachers:
        edge, expected = batch.edge(teacher), by_hooks(world, teacher.name)
        for answer, seen, name in (
            (edge.student, student, "s"),
            (edge.teacher, expected, teacher.member),
        ):
            torch.testing.assert_close(answer.logits, seen["logits"], rtol=0, atol=1e-12)
            assert set(answer.features) == {"penultimate", "hints"}
            torch.testing.assert_close(answer.penultimate, seen["hidden"], rtol=0, atol=1e-12)
            wanted = [seen[layer] for layer in LAYERS[name]["hints"]]
            assert len(answer.hints) == len(wanted)
            for feature, value in zip(answer.hints, wanted, strict=True):
                torch.testing.assert_close(feature, value, rtol=0, atol=1e-12)
        assert edge.labels is world.labels
        assert edge.task is world.task
        assert edge.adapter is None
        assert torch.equal(edge.positions, torch.arange(small.BATCH))
    masked, plain = batch.edge(world.node.teachers[2]), batch.edge(world.node.teachers[3])
    assert not torch.allclose(masked.teacher.penultimate, plain.teacher.penultimate)
    torch.testing.assert_close(masked.teacher.hints[1], plain.teacher.hints[1])


def test_a_role_of_the_student_alone_is_not_read_of_the_teacher() -> None:
    """Neither tapped nor kept."""
    world = reading(Halves())
    edge = world.batch().edge(world.node.teachers[0])
    assert set(edge.teacher.features) == {"penultimate"}
    assert set(edge.student.features) == {"penultimate", "hints"}


def test_only_the_student_carries_gradient() -> None:
    """Logits and features of a frozen teacher need no graph; those of a trained one do."""
    world = reading(Reader())
    edge = world.batch().edge(world.node.teachers[0])
    student = [edge.student.logits, edge.student.penultimate, edge.student.hints[1]]
    assert all(value.requires_grad for value in student)
    teacher = [edge.teacher.logits, edge.teacher.penultimate, *edge.teacher.hints]
    assert not any(value.requires_grad for value in teacher)
    edge.student.hints[1].square().sum().backward()
    assert set(world.gradients()) == {"s"}

    world = reading(Reader())
    world.networks.trained = frozenset({"s", "t"})
    world.networks.modules["t"].requires_grad_(True)
    edge = world.batch().edge(world.node.teachers[3])
    (edge.teacher.penultimate.sum() + edge.student.logits.sum()).backward()
    assert set(world.gradients()) == {"s", "t"}


def test_networks_answer_once_for_all_edges() -> None:
    """The student once; each teacher once, also if several edges and the task ask."""
    world = reading(Reader())
    calls = count_calls(world)
    batch = world.batch()
    for _ in range(2):
        for teacher in world.node.teachers:
            batch.edge_loss(teacher)
        batch.task_loss("s")
    assert calls == {"s": [7], "f": [7, 7], "t": [7, 7]}


@pytest.mark.parametrize("dense", [False, True])
def test_the_loss_of_an_edge_is_averaged_over_labelled_pixels_and_samples(dense: bool) -> None:
    """Each sample counts alike, however many of its pixels are labelled; [] is left as it is."""
    world = reading(Reader(), dense=dense)
    labels = world.labels.numpy()
    for teacher in world.node.teachers:
        squares = (world.numpy("s") - world.numpy(teacher.name)) ** 2
        values = small.per_sample(squares.sum(1), labels, dense)
        loss = world.batch().edge_loss(teacher)
        assert loss.shape == ()
        assert float(loss.detach()) == pytest.approx(values.mean(), abs=1e-12)
    whole = reading(Whole(), dense=dense)
    total = whole.batch().edge_loss(whole.node.teachers[0])
    squares = (whole.numpy("s") - whole.numpy("f.joint")) ** 2
    assert float(total.detach()) == pytest.approx(squares.sum(), abs=1e-9)


def test_an_edge_hands_its_adapter_to_the_loss() -> None:
    """The part that the plan names for the teacher, and for no other one."""
    world = reading(Reader())
    world.networks.modules["adapter"] = torch.nn.Linear(2, 2)
    world.node = replace(world.node, adapters={"t": "adapter"})
    batch = world.batch()
    found = [batch.edge(teacher).adapter for teacher in world.node.teachers]
    assert found == [None, None, None, world.networks.modules["adapter"]]


@pytest.mark.parametrize("place", ["memory", "disk"])
@pytest.mark.parametrize("name", NAMES)
def test_kept_features_are_the_computed_ones_bit_for_bit(
    place: str, name: str, tmp_path: Path
) -> None:
    """Logits and layers, masked ones too, wherever they are kept, and for any samples."""
    world = reading(Reader(), cut=True)
    forward = world.node.forwards[name]
    shared = Shared(world.inputs, world.labels, torch.arange(small.BATCH), {})
    with torch.no_grad():
        outputs = world.networks.outputs(forward, shared)
    assert set(outputs) == {RESPONSE, "joint", "hidden"}
    shapes = {n: (tuple(v.shape[1:]), v.dtype) for n, v in outputs.items()}
    kept: Kept = (
        InMemory(shapes, small.BATCH, False, torch.device("cpu"))
        if place == "memory"
        else OnDisk(shapes, small.BATCH, False, torch.device("cpu"), tmp_path / "kept", 4)
    )
    for block, rows in enumerate(torch.arange(small.BATCH).split(4)):
        kept.write(block, 4 * block, {n: v[rows] for n, v in outputs.items()})
    kept.finish()
    calls = count_calls(world)
    order = torch.tensor([4, 1, 6, 0, 2, 5, 3])
    mixed = {n: v[order] for n, v in world.inputs.items()}
    shared = Shared(mixed, world.labels[order], order, {forward: kept})
    edge = Batch(world.node, world.networks, shared, world.task).edge(
        next(t for t in world.node.teachers if t.name == name)
    )
    assert calls == {"s": [7]}
    assert torch.equal(edge.teacher.logits, outputs[RESPONSE][order])
    assert torch.equal(edge.teacher.penultimate, outputs["hidden"][order])
    assert torch.equal(edge.teacher.hints[1], outputs["joint"][order])
    kept.release()


def test_a_response_can_be_computed_anew() -> None:
    """For a stage that changes a part between two calls; what was kept or seen is not asked."""
    world = small.world(STA(), "sta", teachers=[("f", "hidden")], keep=["s"])
    batch = world.batch()
    before = batch.response("f.hidden").detach().clone()
    mask = world.networks.modules["mask.f.hidden"]
    with torch.no_grad():
        mask.logits.add_(1.0)
    assert torch.equal(batch.response("f.hidden").detach(), before)
    anew = batch.response("f.hidden", anew=True).detach().numpy()
    np.testing.assert_allclose(anew, world.numpy("f.hidden"), rtol=0, atol=1e-12)
    assert not np.allclose(anew, before.numpy())


def test_taps_leave_no_trace() -> None:
    """Neither hooks nor features, also after a network that failed."""
    world = reading(Reader())
    network = world.networks.modules["t"]
    with tapped(network, ("hidden", "joint")) as seen:
        network(world.inputs["b"])
    assert list(seen) == ["joint", "hidden"], "in the order of the calls"
    with pytest.raises(RuntimeError), tapped(network, ("hidden",)):
        network(world.inputs["a"])
    network(world.inputs["b"] * 2)
    assert not network.hidden._forward_hooks
    assert not network.joint._forward_hooks
    with (
        pytest.raises(UserError, match="Plain has no layer 'hiden'; did you mean 'hidden'"),
        tapped(network, ("hidden", "hiden")),
    ):
        pass
    assert not network.hidden._forward_hooks


@pytest.mark.parametrize("dense", [False, True])
def test_a_loss_between_responses_is_averaged_over_what_counts(dense: bool) -> None:
    """Of each sample, over its labelled pixels."""
    world = small.world(STA(), "sta", dense=dense)
    batch, (teacher, student) = world.batch(), (world.numpy("f.joint"), world.numpy("s"))
    found = batch.divergence(KL(2.0), batch.response("f.joint"), batch.response("s"))
    expected = small.per_sample(small.kl(teacher, student, 2.0), world.labels.numpy(), dense)
    np.testing.assert_allclose(found.detach(), expected)


def test_means_over_the_samples_are_taken_here() -> None:
    """Of values of any shape; what is of the batch as a whole stays what it is."""
    batch = small.world(STA(), "sta").batch()
    values = torch.rand(small.BATCH, 3)
    np.testing.assert_allclose(batch.mean(values), values.numpy().mean(0))
    np.testing.assert_allclose(batch.total(values), values.numpy().sum(0))
    assert batch.mean(values[:, 0]).item() == values[:, 0].mean().item()
    assert batch.mean(values[0, 0]).item() == values[0, 0].item()


class Shifts(nn.Module):
    """Overwrites what it is given."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits."""
        for values in inputs:
            values.sub_(1.0)
        return self.network(*inputs)


def test_a_network_that_overwrites_its_input_leaves_that_of_others() -> None:
    """Another member reads the same modality, in every batch."""
    world = small.world(Distill(), "distill")
    plain = {name: world.batch().response(name).detach() for name in ("t", "f.hidden")}
    modules = {**world.networks.modules, "t": Shifts(world.networks.modules["t"])}
    networks = Networks(modules, world.networks.inputs_of, frozenset("s"), {})
    before = {name: values.clone() for name, values in world.inputs.items()}
    for _ in range(3):
        shared = Shared(world.inputs, world.labels, torch.arange(small.BATCH), {})
        batch = Batch(world.node, networks, shared, world.task)
        assert not torch.allclose(batch.response("t"), plain["t"])
        torch.testing.assert_close(batch.response("f.hidden"), plain["f.hidden"])
        assert all(torch.equal(values, before[name]) for name, values in world.inputs.items())


@pytest.mark.parametrize("name", ["s", "t"])
def test_a_loss_that_overwrites_a_response_is_refused(name: str) -> None:
    """Another loss of the batch, and another stage, reads the same one."""
    batch = small.world(Distill(), "distill").batch()
    response = batch.response(name)
    response.detach().clone().mul_(2)
    batch.refuse_overwritten()
    response.mul_(2)
    with pytest.raises(UserError, match=f"a loss overwrites the response of '{name}'"):
        batch.refuse_overwritten()
