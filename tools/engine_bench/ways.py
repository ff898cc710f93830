"""The ways that are compared, and a group of stages made ready to be measured in one of them."""

from __future__ import annotations

import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from mstgraph.derive.experiment import Experiment
from mstgraph.derive.keeping.passes import group_stages
from mstgraph.derive.opening import open_experiment
from mstgraph.distil.gate import Gate
from mstgraph.run.artefacts.checkpoint import Checkpoints
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.run.execute import Execution
from mstgraph.run.networks import Shared
from mstgraph.run.reporter import Silent
from mstgraph.run.train import Setting, Training, begin_epoch, step
from mstgraph.stages.stage import StageNode
from tools.engine_bench.plain import PlainNetworks, unfold
from tools.engine_bench.shapes import ROOT, SPLIT, Shape

ON, UNCACHED, OFF, RELEASED = "on", "cache off", "off", "released"
WAYS = (OFF, UNCACHED, ON)


@dataclass(frozen=True)
class Place:
    """Where is measured, and in which numbers.

    Attributes:
        store: the shape's store.
        folder: for whatever a run leaves.
        device: where is computed.
        precision: see `mstgraph.declare.settings.Engine`.
    """

    store: Path
    folder: Path
    device: torch.device
    precision: str = "fp32"


def opened(
    shape: Shape, way: str, place: Place, epochs: tuple[int, int, int], *, alone: bool = True
) -> Experiment:
    """Return the experiment of a shape; ``epochs`` are those of CI, STA and DKD."""
    gigabytes = shape.gigabytes * min(1.0, shape.samples / shape.real)
    statements = [
        *filter(None, shape.gin.splitlines()),
        f"data.store = '{place.store}'",
        "data.recipe = 'tools/engine_bench/shapes.py'",
        f"data.split = '{SPLIT}'",
        f"data.batch_size = {shape.batch}",
        f"graph.alone = {alone}",
        f"engine.cache = {way == ON}",
        f"engine.precision = '{place.precision}'",
        f"engine.memory_gigabytes = {gigabytes}",
        "engine.disk_gigabytes = 0.0",
        *(f"{kind}.epochs = {n}" for kind, n in zip(("CI", "STA", "DKD"), epochs, strict=True)),
    ]
    if way in (OFF, RELEASED):  # what torch takes by itself
        statements.append(f"Adam.foreach = {place.device.type == 'cuda'}")
    return open_experiment([ROOT / file for file in shape.files], statements)


class PlainExecution(Execution):
    """A run by the plain schedule."""

    tracked = False

    def setting(self, group: Sequence[StageNode]) -> Setting:
        """Make a group ready, without anything of the engine."""
        setting = super().setting(group)
        unfold(list(setting.networks.modules.values()))
        networks = PlainNetworks(
            setting.networks.modules,
            setting.networks.inputs_of,
            setting.networks.trained,
            {},
            setting.networks.precision,
        )
        networks.tracked = self.tracked
        return replace(setting, networks=networks)


def execution(
    experiment: Experiment, way: str, folder: RunFolder, device: torch.device
) -> Execution:
    """Return the run of an experiment in one of the ways, which tells nobody about it."""
    if way not in (OFF, RELEASED):
        return Execution(experiment, folder, device, Silent())
    plain = PlainExecution(experiment, folder, device, Silent())
    plain.tracked = way == RELEASED
    return plain


class Untrained(RunFolder):
    """A run's folder whose earlier stages left the initial weights."""

    def load(self, stage: str, part: str, module: torch.nn.Module) -> None:
        """Leave the module as it is."""


class EvenGate(Gate):
    """A gate that sends every N-th sample of a batch to the same teacher, unless told not to."""

    even = True

    def forward(self, logits: Tensor) -> Tensor:
        """Return the confidence, with an arbitrary teacher on top for each sample."""
        confidence = super().forward(logits)
        if not self.even:
            return confidence
        return confidence.lerp(_turns(len(logits), confidence.shape[1], logits.device), 0.5)


def as_it_is(trainings: Sequence[Training]) -> None:
    """Let the gates of stages decide for themselves."""
    for module in trainings[0].setting.networks.modules.values():
        if isinstance(module, EvenGate):
            module.even = False


@functools.cache
def _turns(batch: int, teachers: int, device: torch.device) -> Tensor:
    turns = torch.arange(batch, device=device) % teachers
    return F.one_hot(turns, teachers).float()


class Unsaved(Checkpoints):
    """Never due."""

    def due(self, stages: int = 1) -> bool:
        """Return no."""
        return False


def ready(
    shape: Shape, way: str, kind: str, place: Place, epochs: tuple[int, int, int]
) -> list[Training]:
    """Return the stages of one kind, ready to train from initial weights."""
    experiment = opened(shape, way, place, epochs)
    groups = group_stages(list(experiment.plan.stages.values()))
    group = next(group for group in groups if group[0].kind == kind)
    with experiment.entered():
        return _trainings(
            group, execution(experiment, way, Untrained(place.folder), place.device), way
        )


def _trainings(group: Sequence[StageNode], run: Execution, way: str) -> list[Training]:
    setting = run.setting(group)
    for name, module in setting.networks.modules.items():
        module.requires_grad_(name in setting.networks.trained or way == RELEASED)
        if isinstance(module, Gate):
            module.__class__ = EvenGate
    checkpoints = Unsaved(run.folder.path / "checkpoint.pt")
    return [Training(node, setting, checkpoints, Silent()) for node in group]


def finished(device: torch.device) -> float:
    """Return the time when the device is done; of one CPU thread, the processor's time.

    Others on the same machine then disturb less.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    if device.type == "cpu" and torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def step_seconds(trainings: Sequence[Training]) -> Iterator[float]:
    """Yield the seconds of one step of all stages after the other, reading the batch included."""
    setting = trainings[0].setting
    feed, device = setting.training, setting.training.device
    kept = setting.keeper.kept("train")
    while True:
        for training in trainings:
            training.state.batch = 0
        begin_epoch(trainings)
        items = feed.epoch(setting.batch_size, feed.order(setting.seed, 1))
        while True:
            started = finished(device)
            item = next(items, None)
            if item is None:
                break
            step(trainings, Shared(*item, kept))
            yield finished(device) - started
