"""Small worlds to train in: one batch over linear networks, and runs over tiny stores.

Beside them stand the same sums in plain numpy, written from the paper's equations alone.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch import Tensor, nn

from mstgraph.derive.experiment import Experiment
from mstgraph.derive.keeping.constants import trunk_points
from mstgraph.derive.opening import open_experiment
from mstgraph.distil.cuts import Cut
from mstgraph.distil.gate import Gate
from mstgraph.methods.kl import KL
from mstgraph.methods.loss import EdgeLoss
from mstgraph.report.progress import ConsoleReporter
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.run.batch import Batch
from mstgraph.run.execute import Execution
from mstgraph.run.kept import InMemory
from mstgraph.run.networks import Networks, Shared
from mstgraph.stages.node import Forward, Part, Question, Teacher, Trunk
from mstgraph.stages.stage import Stage, StageNode
from mstgraph.store.recipe import Labels
from mstgraph.tasks.choice import task_for
from mstgraph.tasks.task import Task

ROOT = Path(__file__).parents[1]
CLASSES, BATCH, EXTENT = 5, 7, (4, 3)
IGNORED = 0
INPUTS_OF = {"s": ("a",), "t": ("b",), "f": ("a", "b")}
WIDTHS = {"a": 3, "b": 4}


# --- numpy -------------------------------------------------------------------------------------


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log of the softmax over axis 1."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def kl(p_logits: np.ndarray, q_logits: np.ndarray, temperature: float) -> np.ndarray:
    """KL(P ‖ Q) of softened outputs over axis 1."""
    log_p, log_q = log_softmax(p_logits / temperature), log_softmax(q_logits / temperature)
    return (np.exp(log_p) * (log_p - log_q)).sum(axis=1)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """−log P(label), per sample or pixel."""
    return -np.take_along_axis(log_softmax(logits), labels[:, None], axis=1)[:, 0]


def per_sample(values: np.ndarray, labels: np.ndarray, dense: bool) -> np.ndarray:
    """Mean over each sample's labelled pixels, one loop over samples."""
    if not dense:
        return values
    return np.array([v[own != IGNORED].mean() for v, own in zip(values, labels, strict=True)])


def numeric_gradient(function: Callable[[], float], values: np.ndarray) -> np.ndarray:
    """Central differences of a function of an array that is changed in place."""
    gradient, step = np.zeros_like(values), 1e-5
    for index in np.ndindex(*values.shape):
        before = values[index]
        values[index] = before + step
        above = function()
        values[index] = before - step
        gradient[index] = (above - function()) / (2 * step)
        values[index] = before
    return gradient


# --- one batch ---------------------------------------------------------------------------------


def class_task(
    classes: int = CLASSES, extent: tuple[int, ...] = (), ignored: int | None = None
) -> Task:
    """Return classification, or segmentation of maps of an extent; classes are numbered."""
    kind: Any = "segmentation" if extent else "classification"
    return task_for(Labels(kind, tuple(map(str, range(classes))), ignored, extent))


class Plain(nn.Module):
    """Two linear layers over all inputs side by side; with maps, over the channels of each pixel.

    Mask points: ``hidden``, before its ReLU, and ``joint``, the inputs side by side.
    """

    def __init__(self, widths: Sequence[int], dense: bool):
        super().__init__()
        self.count, features = len(widths), sum(widths)
        self.joint = Joint()
        self.hidden = nn.Conv2d(features, 6, 1) if dense else nn.Linear(features, 6)
        self.classifier = nn.Conv2d(6, CLASSES, 1) if dense else nn.Linear(6, CLASSES)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, CLASSES, ...]."""
        streams = [inputs[index] for index in range(self.count)]  # a proxy cannot be iterated
        return self.classifier(torch.relu(self.hidden(self.joint(*streams))))


class Joint(nn.Module):
    """Puts inputs side by side."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return [batch, sum of the features, ...]."""
        return torch.cat(inputs, dim=1)


class Untraceable(Plain):
    """The same network with a decision that torch.fx cannot trace."""

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits."""
        if float(inputs[0].detach().abs().sum()) < 0:
            raise AssertionError
        return super().forward(*inputs)


class Scale(nn.Module):
    """A stand-in for a MaskNet: a factor for each feature."""

    def __init__(self, features: int):
        super().__init__()
        self.logits = nn.Parameter(torch.randn(features))

    def forward(self, feature: Tensor) -> Tensor:
        """Return the feature, each channel times its factor."""
        factor = torch.sigmoid(self.logits).reshape(1, -1, *[1] * (feature.dim() - 2))
        return factor * feature


def numpy_response(
    network: Plain, inputs: Sequence[np.ndarray], point: str = "", mask: Scale | None = None
) -> np.ndarray:
    """Logits of a `Plain` network with a `Scale` at a point, computed by hand."""
    factor = 1.0
    if mask is not None:
        factor = 1 / (1 + np.exp(-mask.logits.detach().numpy()))
    shape = (1, -1, *[1] * (inputs[0].ndim - 2))

    def layer(module: nn.Module, values: np.ndarray) -> np.ndarray:
        weight = module.weight.detach().numpy().reshape(len(module.bias), -1)
        bias = module.bias.detach().numpy().reshape(shape)
        return np.einsum("oc,bc...->bo...", weight, values) + bias

    joint = np.concatenate(inputs, axis=1)
    joint = joint * np.reshape(factor, shape) if point == "joint" else joint
    hidden = layer(network.hidden, joint)
    hidden = hidden * np.reshape(factor, shape) if point == "hidden" else hidden
    return layer(network.classifier, np.maximum(hidden, 0))


@dataclass
class World:
    """One stage, one batch of data, and the networks."""

    node: StageNode
    networks: Networks
    task: Task
    inputs: dict[str, Tensor]
    labels: Tensor
    kept: Mapping[Any, Any]
    lengths: dict[str, Tensor] = field(default_factory=dict)

    def batch(self) -> Batch:
        """Return the batch as the stage sees it, nothing computed yet."""
        positions = torch.arange(len(self.labels))
        shared = Shared(self.inputs, self.labels, positions, self.kept, self.lengths)
        return Batch(self.node, self.networks, shared, self.task)

    def numpy(self, name: str) -> np.ndarray:
        """Return the logits of a response, computed by hand."""
        forward = self.node.forwards[name]
        modules = self.networks.modules
        inputs = [self.inputs[m].numpy() for m in INPUTS_OF[forward.member]]
        mask = modules[forward.masknet] if forward.masknet else None
        return numpy_response(modules[forward.member], inputs, forward.point, mask)

    def gradients(self) -> dict[str, float]:
        """Return part → largest gradient; parts that got none are left out."""
        found = {}
        for name, module in self.networks.modules.items():
            grads = [p.grad.abs().max().item() for p in module.parameters() if p.grad is not None]
            if grads:
                found[name] = max(grads)
        return found


DEFAULT_TEACHERS = (("f", "joint"), ("f", "hidden"), ("t", "hidden"), ("t", ""))


def world(
    settings: Stage,
    kind: str,
    *,
    dense: bool = False,
    teachers: Sequence[tuple[str, str]] = DEFAULT_TEACHERS,
    losses: Sequence[EdgeLoss] | None = None,
    cut: bool = False,
    keep: Sequence[str] = (),
    network: type[Plain] = Plain,
    gate: Callable[[], Gate] | None = None,
) -> World:
    """Return a small world for a stage: members ``s`` (the student), ``t`` and ``f``.

    Args:
        settings: the stage's settings.
        kind: its kind.
        dense: labels per pixel, some of them ignored.
        teachers: (member, mask point) of each, "" for none.
        losses: the loss of each teacher's edge.
        cut: cut frozen networks at their mask points.
        keep: responses, and members' trunks, that are kept.
        network: the networks' class.
        gate: makes the gate; None takes the default one.
    """
    generator = torch.Generator().manual_seed(3)
    torch.manual_seed(1)
    extent = EXTENT if dense else ()
    inputs = {n: torch.randn(BATCH, w, *extent, generator=generator) for n, w in WIDTHS.items()}
    labels = torch.randint(1, CLASSES, (BATCH, *extent), generator=generator)
    if dense:
        labels[:, :2, 1] = IGNORED
        labels[3, :, 0] = IGNORED
    task = class_task(CLASSES, extent, IGNORED if dense else None)
    losses = losses or [KL()] * len(teachers)
    chosen = {"ci": (), "pretrain": (), "alone": ()}.get(kind, teachers)
    chosen = chosen[:1] if kind == "sta" else chosen
    made = tuple(
        Teacher(j, member, point, losses[j - 1]) for j, (member, point) in enumerate(chosen, 1)
    )
    members = {"ci": ("f", "s", "t"), "sta": ()}.get(kind, ("s",))
    modules: dict[str, nn.Module] = {
        n: network([WIDTHS[m] for m in INPUTS_OF[n]], dense).eval() for n in ("f", "s", "t")
    }
    forwards = {name: Forward(name) for name in (*members, "s")}
    for teacher in made:
        mask = f"mask.{teacher.name}" if teacher.point else ""
        forwards[teacher.name] = Forward(teacher.member, mask, teacher.point)
        if mask:
            width = sum(WIDTHS[m] for m in INPUTS_OF[teacher.member])
            modules[mask] = Scale(6 if teacher.point == "hidden" else width)
    if kind == "dkd":
        modules["gate"] = gate() if gate else Gate(CLASSES, len(made), dense)
    trains = {"sta": tuple(n for n in modules if n.startswith("mask"))}.get(kind, members)
    trains = (*trains, "gate") if kind == "dkd" else trains
    node = StageNode(
        name=kind,
        kind=kind,
        scope="",
        settings=settings,
        members=members,
        forwards=forwards,
        parts={name: Part("network", name) for name in modules},
        trains=trains,
        sources={},
        student="" if kind in ("ci", "pretrain", "alone") else "s",
        teachers=made,
        mutual=(("f", "s"), ("f", "t"), ("s", "t")) if kind == "ci" else (),
        gate="gate" if kind == "dkd" else "",
    )
    for name, module in modules.items():
        module.requires_grad_(name in trains)
    cuts = {m: Cut(modules[m], p) for m, p in trunk_points([node]).items()} if cut else {}
    networks = Networks(modules, INPUTS_OF, frozenset(trains), cuts)
    found = World(node, networks, task, inputs, labels, {})
    found.kept = _kept(found, keep)
    return found


def _kept(found: World, names: Sequence[str]) -> dict[Any, InMemory]:
    shared = Shared(found.inputs, found.labels, torch.arange(BATCH), {})
    kept = {}
    for name in names:
        with torch.no_grad():
            trunk = name in found.networks.cuts
            owner: Question = Trunk(name) if trunk else found.node.forwards[name]
            values = found.networks.outputs(owner, shared)
        shapes = {n: (tuple(v.shape[1:]), v.dtype) for n, v in values.items()}
        kept[owner] = InMemory(shapes, BATCH, False, torch.device("cpu"))
        kept[owner].write(0, 0, values)
    return kept


# --- runs --------------------------------------------------------------------------------------

MFEAT = (
    "data.split = 'numbered'",
    "data.batch_size = 128",
    "MLP.hidden = (16, 16)",
    "FusedMLP.branch = (16,)",
    "FusedMLP.hidden = (16, 12)",
    "CI.epochs = 2",
    "STA.epochs = 2",
    "DKD.epochs = 2",
)
ROOMS = (
    "FuseNet.width = 0.03125",
    "FuseNetBranch.width = 0.03125",
    "data.options = {'samples': 20, 'size': (32, 32)}",
    "data.batch_size = 4",
    "MaskNet.heads = 2",
    "CI.epochs = 1",
    "STA.epochs = 2",
    "DKD.epochs = 2",
    # All that the engine has to cope with, which the demonstration is the quicker for leaving out.
    "graph.initialisation = ()",
    "STA.target = 'student'",
    "STA.unlabelled = False",
    "data.labelled = None",
    "data.split = 'numbered'",
    *(f"{network}.dropout = 0.4" for network in ("FuseNet", "FuseNetBranch")),
)
# Fewer stages over rooms, where it does not matter how many there are.
ONE_MASK = ("rgbd/Member.masks = ('fusion',)", "depth/Member.masks = ('decoder.stage5',)")
ROOMS_FILES = ("gin/nyudepth_rgb.gin", "gin/base/rooms.gin")


def mfeat(*bindings: str) -> Experiment:
    """Return the experiment over digits, small."""
    return open_experiment(["gin/mfeat_zer.gin"], [*MFEAT, *bindings])


def rooms(*bindings: str) -> Experiment:
    """Return the experiment over rooms, small."""
    return open_experiment(list(ROOMS_FILES), [*ROOMS, *bindings])


def quiet(experiment: Experiment, folder: Path | str) -> Execution:
    """Return an execution that reports into `Execution.reporter.console.file`."""
    console = Console(file=io.StringIO(), width=200)
    reporter = ConsoleReporter(console, experiment.task, experiment.source.synthetic)
    return Execution(experiment, RunFolder(Path(folder)), torch.device("cpu"), reporter)


def told(execution: Execution) -> str:
    """Return what an execution has reported."""
    return execution.reporter.console.file.getvalue()


def run(experiment: Experiment, folder: Path | str) -> dict[str, Any]:
    """Run an experiment in this process and return the summary."""
    return quiet(experiment, folder).run()


def weights_of(folder: Path | str) -> dict[str, dict[str, Tensor]]:
    """Return every weights file of a run folder: relative path → name → tensor."""
    paths = sorted(Path(folder).rglob("*.safetensors"))
    return {str(path.relative_to(folder)): load_file(path) for path in paths}


def assert_weights(one: Path | str, other: Path | str, tolerance: float = 0.0) -> None:
    """Compare all weights of two run folders."""
    first, second = weights_of(one), weights_of(other)
    assert first.keys() == second.keys()
    assert first
    for path, states in first.items():
        for name, tensor in states.items():
            difference = (tensor.double() - second[path][name].double()).abs().max().item()
            assert difference <= tolerance, f"{path} {name} differs by {difference}"
