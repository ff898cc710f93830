"""Samples that lack a modality: who takes part, and every mean, against plain numpy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
import training_worlds as small
from torch import Tensor, nn

from mstgraph.data.labelled import UNKNOWN
from mstgraph.methods.crd import CRD, ContrastiveMemory
from mstgraph.methods.dist import DIST
from mstgraph.methods.kl import KL
from mstgraph.methods.loss import Edge, EdgeLoss
from mstgraph.methods.mgdfr import FeatureSelection
from mstgraph.methods.mlld import MLLD
from mstgraph.methods.rkd import RKD
from mstgraph.networks.presence import InputRule
from mstgraph.run.networks import Networks, Shared
from mstgraph.run.train import total
from mstgraph.stages.ci import CI
from mstgraph.stages.distill import Distill
from mstgraph.stages.dkd import DKD
from mstgraph.stages.hint import Hint
from mstgraph.stages.node import RESPONSE, Forward
from mstgraph.stages.pretrain import Pretrain
from mstgraph.stages.salience import Salience
from mstgraph.stages.sta import STA
from mstgraph.stages.stage import Stage

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

LOST = {"a": [2], "b": [1, 4, 5]}  # samples that lack a modality
TAU = 2.0


def partly(settings: Stage, kind: str, **options: object) -> small.World:
    """Return a world that lacks modalities; what stands in their place is no number."""
    world = small.world(settings, kind, **options)
    for name, rows in LOST.items():
        world.lengths[name] = torch.full((small.BATCH,), small.WIDTHS[name])
        world.lengths[name][rows] = 0
        world.inputs[name][rows] = torch.nan
    return world


def there(member: str, lost: dict[str, list[int]] | None = None) -> np.ndarray:
    """In which samples a member takes part, [batch] bool."""
    rows = np.ones(small.BATCH, bool)
    for name in small.INPUTS_OF[member]:
        rows[(LOST if lost is None else lost)[name]] = False
    return rows


def of(world: small.World, name: str) -> np.ndarray:
    """In which samples a response takes part."""
    return there(world.node.forwards[name].member)


def task(world: small.World, name: str) -> float:
    """Cross-entropy averaged over the samples that a response takes part in."""
    return float(
        small.cross_entropy(world.numpy(name), world.labels.numpy())[of(world, name)].mean()
    )


def distance(world: small.World, one: str, other: str) -> np.ndarray:
    """KL of each sample, nan where one of the two is not there."""
    return small.kl(world.numpy(one), world.numpy(other), TAU)


def value(world: small.World, term: str) -> float:
    """Return a loss term of the batch."""
    return float(world.node.settings.losses(world.node, world.batch(), 1)[term].value.detach())


def test_the_task_loss_is_a_mean_over_those_that_are_there() -> None:
    """Of one member, and of each of several over its own samples."""
    alone = partly(Pretrain(), "pretrain")
    assert value(alone, "task") == pytest.approx(task(alone, "s"), abs=1e-13)
    world = partly(CI(alignment=KL(TAU)), "ci")
    expected = sum(task(world, name) for name in ("f", "s", "t"))
    assert value(world, "task") == pytest.approx(expected, abs=1e-13)


def test_members_are_aligned_over_the_samples_of_both() -> None:
    """Each direction of each pair."""
    world = partly(CI(alignment=KL(TAU)), "ci")
    pairs = [(a, b) for one, other in world.node.mutual for a, b in ((one, other), (other, one))]
    expected = sum(distance(world, *p)[of(world, p[0]) & of(world, p[1])].mean() for p in pairs)
    assert value(world, "align") == pytest.approx(expected, abs=1e-13)


def test_a_masked_teacher_learns_where_its_guide_is() -> None:
    """STA: mean over the samples that student and teacher have."""
    world = partly(STA(consistency=KL(TAU)), "sta", teachers=[("t", "hidden")])
    rows = there("t") & there("s")
    expected = distance(world, "s", "t.hidden")[rows].mean()
    assert value(world, "consistency") == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("way", [{}, {"cut": True}, {"keep": ["f.joint", "t"]}])
def test_the_gate_chooses_among_those_that_are_there(k: int, way: dict[str, object]) -> None:
    """DKD: confidence renormalised, absent ones exactly 0, top-k of what is left, balance."""
    world = partly(DKD(k=k), "dkd", losses=[KL(TAU)] * 4, **({} if "keep" in way else way))
    if "keep" in way:
        world.kept = kept(world, way["keep"])
    names = [teacher.name for teacher in world.node.teachers]
    own = np.stack([of(world, name) for name in names], 1)
    rows = there("s") & own.any(1)
    logits = np.where(np.isnan(world.numpy("s")), 0, world.numpy("s"))
    raw = world.networks.modules["gate"](torch.from_numpy(logits)).detach().numpy() * own
    losses, confidence = [], []
    for sample in np.flatnonzero(rows):
        share = raw[sample] / raw[sample].sum()
        best = [j for j in np.argsort(-share, kind="stable")[:k] if own[sample, j]]
        losses.append(sum(distance(world, names[j], "s")[sample] for j in best))
        confidence.append(share)
    assert value(world, "distill") == pytest.approx(np.mean(losses), abs=1e-12)
    even = (own / np.maximum(own.sum(1, keepdims=True), 1))[rows].mean(0)
    mean = np.mean(confidence, 0)
    balance = sum(u * np.log(u / c) for u, c in zip(even, mean, strict=True) if u)
    assert value(world, "balance") == pytest.approx(balance, abs=1e-12)
    statistics = world.node.settings.statistics(world.node, world.batch())
    statistics = {n: v[~v.isnan().any(1)] for n, v in statistics.items()}
    np.testing.assert_allclose(statistics["confidence"].detach(), confidence, atol=1e-12)
    assert not statistics["confidence"][~torch.from_numpy(own[rows])].any()
    np.testing.assert_allclose(statistics["share"].sum(1).detach(), 1)


def kept(world: small.World, names: list[str]) -> dict[object, object]:
    """Return what is kept of some responses, computed where they take part."""
    from mstgraph.run.kept import InMemory

    shared = Shared(world.inputs, world.labels, torch.arange(small.BATCH), {}, world.lengths)
    found = {}
    for name in names:
        with torch.no_grad():
            forward = world.node.forwards[name]
            values = world.networks.outputs(forward, shared)
        assert all(bool(tensor.isfinite().all()) for tensor in values.values())
        shapes = {n: (tuple(v.shape[1:]), v.dtype) for n, v in values.items()}
        found[forward] = InMemory(shapes, small.BATCH, False, torch.device("cpu"))
        found[forward].write(0, 0, values)
    return found


@pytest.mark.parametrize("weighting", ["mean", "correctness", "confidence"])
@pytest.mark.parametrize("ensemble", ["losses", "log-probabilities"])
def test_several_teachers_are_averaged_among_those_that_are_there(
    weighting: str, ensemble: str
) -> None:
    """Of each sample, as though there were no others; over the samples with one at least."""
    settings = Distill(
        distillation_weight=1.0, task_weight=1.0, weighting=weighting, ensemble=ensemble
    )
    world = partly(settings, "distill", teachers=[("f", ""), ("t", "")], losses=[KL(TAU)] * 2)
    values = []
    for sample in range(small.BATCH):
        names = [name for name in ("f", "t") if of(world, name)[sample]]
        if not names or not there("s")[sample]:
            continue
        costs = []
        for name in names:
            log_p = small.log_softmax(world.numpy(name))[sample]
            entropy = -(np.exp(log_p) * log_p).sum()
            right = weighting == "correctness"
            costs.append(-log_p[world.labels[sample]] if right else entropy)
        share = np.exp(costs) / np.exp(costs).sum()
        weights = (1 - share) / (len(names) - 1) if len(names) > 1 else np.ones(1)
        weights = np.full(len(names), 1 / len(names)) if weighting == "mean" else weights
        if ensemble == "losses":
            each = [distance(world, name, "s")[sample] for name in names]
            values.append((weights * each).sum())
        else:
            each = [small.log_softmax(world.numpy(name))[sample] for name in names]
            mean = (weights[:, None] * each).sum(0)
            values.append(small.kl(mean[None], world.numpy("s")[sample][None], TAU)[0])
    assert value(world, "distill") == pytest.approx(np.mean(values), abs=1e-12)
    assert value(world, "task") == pytest.approx(task(world, "s"), abs=1e-12)


LAYERS = {name: dict.fromkeys(("penultimate", "hints"), ("hidden",)) for name in ("s", "t")}


@pytest.mark.parametrize(
    "loss", [MLLD(), RKD(), DIST(), CRD(negatives=2)], ids=lambda x: type(x).__name__
)
def test_relations_between_samples_are_between_those_that_are_there(loss: EdgeLoss) -> None:
    """A loss of the batch as a whole is what it is of a batch of these samples alone."""
    rows = torch.from_numpy(there("t") & there("s")).nonzero().flatten()
    values = []
    for make in (partly, small.world):
        settings = Distill(task_weight=0.0, distillation_weight=1.0)
        world = make(settings, "distill", teachers=[("t", "")], losses=[loss])
        taps = ("hidden",) if loss.reads else ()
        forwards = {n: replace(f, taps=taps) for n, f in world.node.forwards.items()}
        world.node = replace(world.node, layers=LAYERS, forwards=forwards)
        if make is small.world:
            world.inputs = {name: tensor[rows] for name, tensor in world.inputs.items()}
            world.labels = world.labels[rows]
        edge = world.batch().edge(world.node.teachers[0])
        torch.manual_seed(0)
        memory = ContrastiveMemory(6, 6, small.BATCH, 4)
        edge = replace(edge, positions=rows, adapter=memory)
        values.append(float(loss.edge(edge).mean().detach()))
    assert values[0] == pytest.approx(values[1], abs=1e-12)


@dataclass(frozen=True)
class Squares(EdgeLoss):
    """A hint that is the squared distance of logits."""

    hinted: ClassVar[bool] = True

    def edge(self, edge: Edge) -> Tensor:
        """Not asked for here."""
        raise NotImplementedError

    def hint(self, edge: Edge) -> Tensor:
        """Of each sample."""
        return (edge.teacher.logits - edge.student.logits).square().sum(1)


def test_hints_are_averaged_among_those_that_are_there() -> None:
    """Over the teachers of each sample, then over the samples with one."""
    teachers = [("f", ""), ("t", "")]
    world = partly(Hint(), "hint", teachers=teachers, losses=[Squares()] * 2)
    world.networks.rules["f"] = InputRule(any_will_do=True)  # f sees all, t lacks some
    for name, rows in LOST.items():
        world.inputs[name][rows] = 0
    each = {n: ((world.numpy(n) - world.numpy("s")) ** 2).sum(1) for n in ("f", "t")}
    values = [
        np.mean([each["f"][i], each["t"][i]] if there("t")[i] else [each["f"][i]])
        for i in np.flatnonzero(there("s"))
    ]
    assert value(world, "hint") == pytest.approx(np.mean(values), abs=1e-12)


def test_features_are_measured_where_they_are_seen() -> None:
    """Salience: permuted among the teacher's samples, counted over those of both."""
    world = partly(Salience(), "sta", teachers=[("t", "hidden")])
    selection = FeatureSelection((6,)).train()
    world.networks.modules["mask.t.hidden"] = selection
    terms = world.node.settings.losses(world.node, world.batch(), 1)
    assert int(selection.seen) == there("t").sum()
    assert selection.tested.tolist() == [(there("t") & there("s")).sum()] * 6
    assert all(bool(term.value.isfinite()) for term in terms.values())


class Normed(small.Plain):
    """With batch normalisation in it."""

    def __init__(self, widths: list[int], dense: bool):
        super().__init__(widths, dense)
        self.hidden = nn.Sequential(self.hidden, nn.BatchNorm1d(6))


def normed(lost: dict[str, list[int]]) -> tuple[Networks, Shared, nn.Module]:
    """Return a network that trains, over a batch that lacks something."""
    world = small.world(Pretrain(), "pretrain", network=Normed)
    for name, rows in lost.items():
        world.lengths[name] = torch.ones(small.BATCH, dtype=torch.int64).index_fill(
            0, torch.tensor(rows), 0
        )
        world.inputs[name][rows] = torch.nan
    network = world.networks.modules["s"].train()
    shared = Shared(world.inputs, world.labels, torch.arange(small.BATCH), {}, world.lengths)
    return world.networks, shared, network


def test_absent_samples_do_not_enter_batch_statistics() -> None:
    """The running mean is that of the samples that are there, which is what is answered for."""
    networks, shared, network = normed({"a": [0, 3]})
    answer = networks.outputs(Forward("s"), shared)[RESPONSE]
    rows = [1, 2, 4, 5, 6]
    _, whole, same = normed({})
    expected = same(whole.inputs["a"][rows])
    np.testing.assert_allclose(answer[rows].detach(), expected.detach(), atol=1e-12)
    assert not answer[[0, 3]].any()
    for one, two in zip(network.buffers(), same.buffers(), strict=True):
        torch.testing.assert_close(one, two)


@pytest.mark.parametrize("left", [1, 0])
def test_one_sample_or_none_is_no_error(left: int) -> None:
    """One has no variance: it is normalised by the running statistics, which it does not touch."""
    networks, shared, network = normed({"a": list(range(left, small.BATCH))})
    before = [buffer.clone() for buffer in network.buffers()]
    answer = networks.outputs(Forward("s", taps=("hidden",)), shared)
    assert answer[RESPONSE].shape == (small.BATCH, small.CLASSES)
    assert answer["hidden"].shape == (small.BATCH, 6)
    assert bool(answer[RESPONSE][left:].eq(0).all())
    assert bool(answer[RESPONSE][:left].ne(0).all())
    assert all(map(torch.equal, before, network.buffers()))
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize("kind", ["dkd", "distill", "ci", "sta", "pretrain"])
@pytest.mark.parametrize("lost", ["a", "b", "ab"])
def test_nobody_there_is_no_error(kind: str, lost: str) -> None:
    """A batch in which a modality, or all, is missing: finite losses and gradients."""
    settings = {
        "dkd": DKD(k=2),
        "distill": Distill(label_gate=True),
        "ci": CI(),
        "sta": STA(),
        "pretrain": Pretrain(),
    }[kind]
    options = {"teachers": [("f", "hidden")]} if kind == "sta" else {}
    world = small.world(settings, kind, **options)
    for name in lost:
        world.lengths[name] = torch.zeros(small.BATCH, dtype=torch.int64)
        world.inputs[name][:] = torch.nan
    loss = total(settings.losses(world.node, world.batch(), 1))
    assert torch.isfinite(loss)
    if loss.requires_grad:
        loss.backward()
    assert all(np.isfinite(found) for found in world.gradients().values())
    assert loss.requires_grad or lost != "b" or kind == "sta"


def test_the_unlabelled_and_the_absent_are_both_left_out() -> None:
    """Of the task loss; distillation wants the modalities alone."""
    world = partly(Distill(), "distill", teachers=[("t", "")], losses=[KL(TAU)])
    world.labels[[0, 2]] = UNKNOWN
    world.task = replace(world.task, unlabelled=True)
    rows = there("s")
    rows[0] = False
    labels = np.where(world.labels.numpy() < 0, 0, world.labels.numpy())
    expected = small.cross_entropy(world.numpy("s"), labels)[rows].mean()
    assert value(world, "task") == pytest.approx(expected, abs=1e-13)
    both = there("s") & there("t")
    expected = distance(world, "t", "s")[both].mean()
    assert value(world, "distill") == pytest.approx(expected, abs=1e-13)


class Told(small.Plain):
    """Remembers what it was told."""

    takes_lengths = True

    def forward(self, *inputs: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Return logits."""
        self.lengths, self.seen = lengths, inputs
        return super().forward(*inputs)


def test_a_fused_member_may_do_with_what_is_there() -> None:
    """Under absent = 'zeros' it takes part with any input, and is told which there are."""
    world = small.world(Pretrain(), "pretrain", network=Told)
    for name, rows in LOST.items():
        world.lengths[name] = torch.full((small.BATCH,), small.WIDTHS[name])
        world.lengths[name][rows] = 0
        world.inputs[name][rows] = 0
    world.networks.rules["f"] = InputRule(any_will_do=True)
    shared = Shared(world.inputs, world.labels, torch.arange(small.BATCH), {}, world.lengths)
    assert world.networks.there("f", shared) is None
    world.networks.outputs(Forward("f"), shared)
    own = np.stack([there("s") * 3, there("t") * 4], 1)
    np.testing.assert_array_equal(world.networks.modules["f"].lengths, own)


def test_modality_dropout_is_of_training_alone() -> None:
    """Dropped inputs are zeros; the same draws under the same seed, none in evaluation."""
    world = small.world(Pretrain(), "pretrain", network=Told)
    world.networks.rules["f"] = InputRule(dropout=0.5)
    network = world.networks.modules["f"].train()
    shared = Shared(world.inputs, world.labels, torch.arange(small.BATCH), {})
    seen = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        world.networks.computed(Forward("f"), shared)
        seen.append(network.lengths)
        dropped = torch.stack([values.eq(0).all(1) for values in network.seen], 1)
        assert torch.equal(dropped, network.lengths == 0)
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    network.eval()
    world.networks.computed(Forward("f"), shared)
    assert network.lengths is None


def test_maps_are_averaged_over_pixels_then_over_the_samples_of_both() -> None:
    """Ignored pixels are out of the first mean, absent samples out of the second."""
    settings = Distill(distillation_weight=1.0, task_weight=1.0)
    world = partly(settings, "distill", dense=True, teachers=[("t", "")], losses=[KL(TAU)])
    rows, labels = there("s") & there("t"), world.labels.numpy()
    each = small.per_sample(distance(world, "t", "s"), labels, True)
    assert value(world, "distill") == pytest.approx(each[rows].mean(), abs=1e-13)
    losses = small.per_sample(small.cross_entropy(world.numpy("s"), labels), labels, True)
    assert value(world, "task") == pytest.approx(losses[there("s")].mean(), abs=1e-13)
    gated = partly(DKD(), "dkd", dense=True, losses=[KL(TAU)] * 4)
    loss = total(gated.node.settings.losses(gated.node, gated.batch(), 1))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(np.isfinite(found) for found in gated.gradients().values())
