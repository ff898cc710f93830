"""Unlabelled samples: out of the task loss, in distillation; the means against plain numpy."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import training_worlds as small
from tiny_graphs import ROOT

from mstgraph.data.labelled import UNKNOWN
from mstgraph.methods.decoupled import DecoupledKD
from mstgraph.methods.dist import DIST
from mstgraph.methods.kl import KL
from mstgraph.methods.mlld import MLLD
from mstgraph.methods.rkd import RKD
from mstgraph.run.train import total
from mstgraph.stages.ci import CI
from mstgraph.stages.distill import Distill
from mstgraph.stages.dkd import DKD
from mstgraph.stages.pretrain import Pretrain
from mstgraph.stages.sta import STA
from mstgraph.stages.stage import Stage

pytest_plugins = ("training_fixtures",)

ROWS = [1, 4, 5]  # samples whose label is unknown
TAU = 2.0


def partly(settings: Stage, kind: str, dense: bool = False, **options: object) -> small.World:
    """Return a world in which some samples, or pixels too, have no label."""
    world = small.world(settings, kind, dense=dense, **options)
    world.labels[ROWS] = UNKNOWN
    if dense:
        world.labels[0, 0, :] = UNKNOWN
    world.task = replace(world.task, unlabelled=True)
    return world


def task_mean(world: small.World, name: str) -> float:
    """Cross-entropy averaged over each sample's known pixels, then over the samples with one."""
    labels = world.labels.numpy()
    known = labels != UNKNOWN
    if world.task.labels.ignored is not None:
        known &= labels != small.IGNORED
    losses = small.cross_entropy(world.numpy(name), np.where(known, labels, 0))
    means = [loss[own].mean() for loss, own in zip(losses, known, strict=True) if own.any()]
    return float(np.mean(means))


def distance(world: small.World, one: str, other: str) -> np.ndarray:
    """KL of each sample over its pixels that are not ignored for good, [batch]."""
    values, labels = small.kl(world.numpy(one), world.numpy(other), TAU), world.labels.numpy()
    if labels.ndim == 1:
        return values
    pairs = zip(values, labels, strict=True)
    return np.array([value[own != small.IGNORED].mean() for value, own in pairs])


@pytest.fixture(autouse=True)
def precise(float64: None) -> None:
    """Sums agree to the last digits."""


@pytest.mark.parametrize("dense", [False, True])
def test_the_task_loss_is_a_mean_over_the_labelled(dense: bool) -> None:
    """Neither the number of unlabelled samples nor what they look like changes it."""
    world = partly(Pretrain(), "pretrain", dense)
    loss = total(world.node.settings.losses(world.node, world.batch(), 1))
    assert float(loss.detach()) == pytest.approx(task_mean(world, "s"), abs=1e-13)
    world.inputs["a"][ROWS] += 7
    again = total(world.node.settings.losses(world.node, world.batch(), 1))
    assert float(again.detach()) == float(loss.detach())


@pytest.mark.parametrize("dense", [False, True])
def test_distillation_is_a_mean_over_all(dense: bool) -> None:
    """DKD: task over the labelled, the chosen teacher's divergence over all, ignored pixels out."""
    world = partly(DKD(), "dkd", dense, losses=[KL(TAU)] * 4)
    terms = world.node.settings.losses(world.node, world.batch(), 1)
    assert float(terms["task"].value.detach()) == pytest.approx(task_mean(world, "s"), abs=1e-13)
    gate = world.networks.modules["gate"]
    chosen = gate(torch.from_numpy(world.numpy("s"))).argmax(1).numpy()
    every = np.stack([distance(world, t.name, "s") for t in world.node.teachers], 1)
    expected = every[np.arange(small.BATCH), chosen].mean()
    assert float(terms["distill"].value.detach()) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("ensemble", ["losses", "log-probabilities"])
def test_distill_learns_from_frozen_teachers_on_all(dense: bool, ensemble: str) -> None:
    """The mean of the teachers' losses, or the loss to their mean log-probabilities."""
    settings = Distill(task_weight=1.0, distillation_weight=1.0, ensemble=ensemble)
    plain = [("f", ""), ("t", "")]
    world = partly(settings, "distill", dense, teachers=plain, losses=[KL(TAU)] * 2)
    terms = settings.losses(world.node, world.batch(), 1)
    assert float(terms["task"].value.detach()) == pytest.approx(task_mean(world, "s"), abs=1e-13)
    if ensemble == "losses":
        expected = np.mean([distance(world, name, "s").mean() for name in ("f", "t")])
    else:
        mean = sum(small.log_softmax(world.numpy(name)) for name in ("f", "t")) / 2
        values = small.kl(mean, world.numpy("s"), TAU)
        labels = world.labels.numpy()
        kept = labels != small.IGNORED if dense else np.ones_like(labels, bool)
        expected = np.mean([v[k].mean() for v, k in zip(values, kept, strict=True)])
    assert float(terms["distill"].value.detach()) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("unlabelled", [False, True])
def test_alignment_looks_at_the_labelled_unless_told(unlabelled: bool) -> None:
    """CI as the paper has it never sees a sample that nobody knows the label of."""
    settings = CI(alignment=KL(TAU), detach=unlabelled, unlabelled=unlabelled)
    world = partly(settings, "ci")
    rows = np.ones(small.BATCH, bool)
    if not unlabelled:
        rows[ROWS] = False
    pairs = [(a, b) for one, other in world.node.mutual for a, b in ((one, other), (other, one))]
    expected = sum(distance(world, *pair)[rows].mean() for pair in pairs)
    terms = settings.losses(world.node, world.batch(), 1)
    assert float(terms["align"].value.detach()) == pytest.approx(expected, abs=1e-13)
    task = sum(task_mean(world, name) for name in ("f", "s", "t"))
    assert float(terms["task"].value.detach()) == pytest.approx(task, abs=1e-13)


def test_alignment_that_collapses_is_refused() -> None:
    """Unlabelled pairs with gradients both ways: one sentence, with what would do."""
    world = small.world(CI(unlabelled=True), "ci")
    assert world.node.settings.problem(world.node) == (
        "unlabelled",
        "is True, which collapses without CI.detach = True; expected both",
    )


@pytest.mark.usefixtures("workspace")
def test_members_that_know_the_labels_agree_without_forgetting_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Real digits, a strong pull to agree on all pairs: detached, every member gains by it.

    With gradients both ways, which is refused, the same members end far below.
    """
    torch.set_default_dtype(torch.float32)
    monkeypatch.setattr(CI, "problem", lambda *_: None)
    settings = (
        "graph.alone = False",
        "graph.initialisation = (@Pretrain, @CI)",
        "Pretrain.epochs = 10",
        "CI.epochs = 10",
        "CI.unlabelled = True",
        "CI.learning_rate = 1e-2",
        "CI.alignment_weight = 10.0",
        "CI.average_peers = False",
        "KL.temperature = 4.0",
        "data.labelled = 0.1",
    )
    accuracy = {}
    for detach in (True, False):
        files = ["gin/mfeat_zer.gin", "gin/methods/dml.gin"]
        experiment = small.open_experiment(files, [*settings, f"CI.detach = {detach}"])
        small.run(experiment, "run")
        for path in Path("run/stages").glob("*/artefact.json"):
            for name, metrics in json.loads(path.read_text())["test"]["metrics"].items():
                accuracy[detach, path.parent.name.partition("-")[0], name] = metrics["OA"]
    for name in ("fused", "fou", "zer"):
        assert accuracy[True, "ci", name] > accuracy[True, "pretrain", name] + 0.05
        assert accuracy[True, "ci", name] > accuracy[False, "ci", name] + 0.05


@pytest.mark.parametrize("unlabelled", [False, True])
def test_consistency_looks_at_the_labelled_unless_told(unlabelled: bool) -> None:
    """STA: KL(student ‖ specialised teacher)."""
    settings = STA(consistency=KL(TAU), unlabelled=unlabelled)
    world = partly(settings, "sta", teachers=[("f", "hidden")])
    rows = np.ones(small.BATCH, bool)
    if not unlabelled:
        rows[ROWS] = False
    expected = distance(world, "s", "f.hidden")[rows].mean()
    loss = total(settings.losses(world.node, world.batch(), 1))
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize("loss", [MLLD(), RKD(), DIST()], ids=lambda loss: type(loss).__name__)
def test_relations_between_samples_are_between_all(loss: object) -> None:
    """A loss of the batch as a whole is what it is with every label known."""
    values = []
    for make in (small.world, partly):
        settings = Distill(task_weight=0.0, distillation_weight=1.0)
        world = make(settings, "distill", teachers=[("f", "")], losses=[loss])
        world.node = replace(world.node, layers=LAYERS, forwards=tapped(world, loss))
        values.append(settings.losses(world.node, world.batch(), 1)["distill"].value)
    assert float(values[0].detach()) == pytest.approx(float(values[1].detach()), abs=1e-13)


LAYERS = {name: dict.fromkeys(("penultimate", "hints"), ("hidden",)) for name in ("s", "f")}


def tapped(world: small.World, loss: object) -> dict[str, object]:
    """Return the forwards of a world with the layers tapped that a loss reads."""
    taps = ("hidden",) if getattr(loss, "reads", ()) else ()
    return {name: replace(forward, taps=taps) for name, forward in world.node.forwards.items()}


def test_a_loss_that_needs_the_class_is_plain_without_one() -> None:
    """Decoupled distillation: the target class of an unknown label is nobody's."""
    settings = Distill(task_weight=0.0, distillation_weight=1.0)
    loss = DecoupledKD(temperature=TAU)
    world = partly(settings, "distill", teachers=[("f", "")], losses=[loss])
    edge = world.batch().edge(world.node.teachers[0])
    values = loss.edge(edge).detach().numpy()
    expected = TAU**2 * distance(world, "f", "s")
    np.testing.assert_allclose(values[ROWS], expected[ROWS], atol=1e-12)


@pytest.mark.parametrize("kind", ["dkd", "distill", "ci", "sta", "pretrain"])
def test_no_label_at_all_is_no_error(kind: str) -> None:
    """A batch of unlabelled samples: the task says 0, the gradient stays finite."""
    settings = {
        "dkd": DKD(),
        "distill": Distill(),
        "ci": CI(),
        "sta": STA(),
        "pretrain": Pretrain(),
    }
    options = {"teachers": [("f", "hidden")]} if kind == "sta" else {}
    world = partly(settings[kind], kind, **options)
    world.labels[:] = UNKNOWN
    loss = total(world.node.settings.losses(world.node, world.batch(), 1))
    assert torch.isfinite(loss)
    if kind in ("pretrain", "sta"):
        assert float(loss.detach()) == 0
    loss.backward()
    assert all(np.isfinite(value) for value in world.gradients().values())


METHODS = sorted(path.stem for path in (ROOT / "gin/methods").glob("*.gin"))


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_with_few_labels(name: str) -> None:
    """Real digits, a tenth of the labels: every stage ends, and is tested with all labels."""
    torch.set_default_dtype(torch.float32)
    stages = ("CI", "STA", "DKD", "Distill", "Hint", "Pretrain")
    short = [*(f"{stage}.epochs = 1" for stage in stages), "MaskNet.factor = 8"]
    files = ["gin/mfeat_zer.gin", f"gin/methods/{name}.gin"]
    experiment = small.open_experiment(files, [*short, "data.labelled = 0.1"])
    summary = small.run(experiment, "run")
    for stage in experiment.plan.stages:
        artefact = json.loads(Path(f"run/stages/{stage}/artefact.json").read_text())
        for metrics in artefact["test"]["metrics"].values():
            assert 0 <= metrics["OA"] <= 1
    assert summary["students"]["zer"]


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("setting", ["data.labelled = 0.1", "data.labelled = 120"])
def test_labels_that_are_hidden_are_not_read(setting: str, make: Callable[..., object]) -> None:
    """Other labels of the hidden samples change no weight of any stage."""
    torch.set_default_dtype(torch.float32)
    one, other = (make(setting, wrong) for wrong in (False, True))
    assert one.keys() == other.keys()
    for file, states in one.items():
        for name, tensor in states.items():
            assert torch.equal(tensor, other[file][name]), (file, name)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """Return a function that trains on digits, the labels that it hides made wrong or not."""
    from mstgraph.data.feed import Feed

    def run(setting: str, wrong: bool) -> object:
        known = Feed._known

        def spoilt(self: Feed, labels: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
            if wrong and self._hidden is not None:
                labels = torch.where(self._hidden[places], (labels + 1) % 10, labels)
            return known(self, labels, places)

        with monkeypatch.context() as patched:
            patched.setattr(Feed, "_known", spoilt)
            small.run(small.mfeat(setting, "CI.epochs = 1", "DKD.epochs = 2"), f"run-{wrong}")
        return small.weights_of(f"run-{wrong}")

    return run
