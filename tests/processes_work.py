"""What two processes do for the tests, in one go: to start them takes longer than most of it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from tiny_graphs import ROLES, ROOT, TWO
from torch import Tensor, nn

from mstgraph.derive.experiment import Experiment
from mstgraph.derive.opening import open_experiment
from mstgraph.run import train
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.run.evaluation import Evaluation
from mstgraph.run.execute import Execution
from mstgraph.run.networks import Shared
from mstgraph.run.processes.agreement import refuse_apart
from mstgraph.run.processes.norms import Norms
from mstgraph.run.processes.sharing import SharedNetworks
from mstgraph.run.reporter import Silent
from mstgraph.stages.node import Forward
from mstgraph.support.errors import RunError, UserError
from mstgraph.support.interrupt import Interrupted
from mstgraph.support.processes.group import ALONE, Processes

sys.path.append(str(ROOT / "tools"))

from check_processes import Case, run

# Batch normalisation over the batch, between the mask points of a perceptron.
NORMED = """
import gin
from torch import nn
from mstgraph.networks.mlp import MLP


@gin.configurable
class Normed(MLP):
    def __init__(self, inputs, num_outputs, hidden=(6, 4), dropout=0.0):
        super().__init__(inputs, num_outputs, hidden)
        self.hidden1 = nn.Sequential(self.hidden1, nn.BatchNorm1d(hidden[0]), nn.Dropout(dropout))
"""
WORLD = "import normed\n" + TWO + ROLES + "rgb/Member.network = @Normed\n"
WORLD += "depth/Member.network = @Normed\nSGD.momentum = 0.9\nCRD.negatives = 3\n"
ONE = tuple(f"{s}.epochs = 1" for s in ("CI", "STA", "DKD", "Distill", "Salience", "Pretrain"))
ABSENT = ("data.absent = {'depth': 0.5}", "DKD.k = 2")
STEPS = ("CI.accumulate = 2", "CI.clip = 0.1", "CI.ema = 0.5", "STA.ema = 0.5", "CI.epochs = 2")
NOTHING = ("engine.cache = False",)
DISK = ("engine.memory_gigabytes = 0", "engine.disk_gigabytes = 1")
DROPPED = ("Normed.dropout = 0.5",)


def cases(world: str) -> list[Case]:
    """Return the experiments that have to come out alike, given the gin file of their world."""
    return [
        Case("absent", (world,), (*ONE, *STEPS, *ABSENT, *NOTHING)),
        Case("crd", with_method(world, "crd"), (*ONE, *DISK)),
        Case("mgdfr", with_method(world, "mgdfr"), ONE),
    ]


def with_method(world: str, name: str) -> tuple[str, str]:
    """Return the gin files of a method; that of mgdfr is the quickest with several stages."""
    return world, str(ROOT / f"gin/methods/{name}.gin")


def everything(processes: Processes, world: str, folder: Path) -> dict[str, Any]:
    """Do all that the tests look at."""
    for case in cases(world):
        run(case, folder, processes)
    for name in ("dropped", "again"):
        run(Case(name, with_method(world, "mgdfr"), (*ONE, *DROPPED)), folder, processes)
    return {
        "norms": [normalised(processes, sizes) for sizes in SIZES],
        "drawn": drawn(processes),
        "refused": [refused(processes, world, folder), told_apart(processes)],
        "stopped": stopped(processes, world, folder / "stopped"),
        "judged": judged(processes),
        "left": left(processes),
    }


# --- one thing each ----------------------------------------------------------------------------

SIZES = ([4, 3], [7, 0])


def norm() -> nn.BatchNorm1d:
    """Return a layer with weights that do something."""
    made = nn.BatchNorm1d(3)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([1.0, -2.0, 0.5]))
    return made


def given() -> tuple[Tensor, Tensor]:
    """Return a batch, [7, 3, 4], and what its results are weighed with in a loss."""
    generator = torch.Generator().manual_seed(3)
    batch, weights = (torch.randn(7, 3, 4, generator=generator) for _ in range(2))
    return batch * 3 + 1, weights


def normalised(processes: Processes, sizes: list[int]) -> dict[str, Tensor]:
    """Return what a layer over processes' rows gives, and the gradients of a loss of all rows."""
    layer, (batch, weights) = norm(), given()
    norms = Norms([layer], processes)
    own = batch.split(sizes)[processes.rank].clone().requires_grad_()
    counts = bool(len(own))
    with norms.together(counts):
        result = layer(layer(own if counts else batch[:1].clone()))[: len(own)]
    everyone = processes.gather(result, sizes)
    (everyone.square() * weights).sum().backward()
    slope = torch.zeros_like(own) if own.grad is None else own.grad / processes.count
    processes.average_gradients(list(layer.parameters()))
    found = {"result": everyone.detach(), "slope": processes.gather(slope, sizes)}
    return {**found, **slopes(layer)}


def slopes(layer: nn.BatchNorm1d) -> dict[str, Tensor]:
    """Return gradients of the weights, and the running statistics."""
    assert layer.weight.grad is not None
    assert layer.bias.grad is not None
    grads = {"weight": layer.weight.grad, "bias": layer.bias.grad}
    return {**grads, **{n: v.clone() for n, v in layer.named_buffers()}}


def drawn(processes: Processes) -> list[Tensor]:
    """Return what dropout leaves of ones in two steps and the first again, and what all draw."""
    networks = SharedNetworks(processes, {"a": nn.Dropout(0.5)}, {"a": ("x",)}, frozenset("a"), {})
    torch.manual_seed(0)
    found = []
    for seed in (1, 2, 1):
        networks.begin_step(seed)
        ones = {"x": torch.ones(1, 50)}
        shared = networks.shared(Shared(ones, torch.zeros(1), torch.arange(2), {}))
        (answer,) = networks.outputs(Forward("a"), shared).values()
        found.append(answer.detach())
    return [*found, processes.gather(torch.rand(1, 5), [1, 1])]


def refused(processes: Processes, world: str, folder: Path) -> str:
    """Return what is said of a batch with fewer samples than there are processes."""
    try:
        run(Case("refused", (world,), ("STA.batch_size = 1",)), folder, processes)
    except UserError as error:
        return str(error)
    return ""


def told_apart(processes: Processes) -> str:
    """Return what is said of a network that counts what its process sees."""
    module = nn.Module()
    module.register_buffer("seen", torch.tensor(float(processes.rank)))
    try:
        refuse_apart(processes, "ci", {"rgb": module})
    except RunError as error:
        return str(error)
    return ""


def judged(processes: Processes) -> tuple[float, int]:
    """Return what is decided by, where validation comes to the process's own number."""
    keeper = SimpleNamespace(kept=lambda part: {})
    own = dict.fromkeys(("networks", "validation", "task", "batch_size"))
    setting = SimpleNamespace(keeper=keeper, processes=processes, **own)
    measured, train.evaluate = train.evaluate, lambda *_: [Evaluation(processes.rank, {})]
    try:
        (result,) = train._validated([SimpleNamespace(node=None, setting=setting)])
    finally:
        train.evaluate = measured
    return processes.least(result.loss), -processes.least(-result.loss)


class Asking(Silent):
    """Asks to stop in the middle of an epoch, in one process alone."""

    def __init__(self, here: bool):
        self.here = here
        self.execution: Execution | None = None

    def batch_done(self, node: Any, epoch: int, batch: int, sums: Any) -> None:
        """Ask after the first batch."""
        if self.here and (node.name, epoch, batch) == ("ci", 1, 1):
            assert self.execution is not None
            self.execution.interrupt.requested = True


def opened(world: str) -> Experiment:
    """Return the experiment that is stopped and continued."""
    return open_experiment(with_method(world, "mgdfr"), ONE)


def stopped(processes: Processes, world: str, folder: Path) -> str:
    """Return the stage in which a run stops that the second process is asked to stop."""
    asking = Asking(processes.rank == 1)
    execution = execute(opened(world), folder, processes)
    execution.reporter = asking
    asking.execution = execution
    try:
        execution.run()
    except Interrupted as where:
        return str(where)
    return ""


def execute(experiment: Experiment, folder: Path, processes: Processes = ALONE) -> Execution:
    """Return the execution of an experiment that says nothing."""
    return Execution(
        experiment, RunFolder(folder), torch.device("cpu"), Silent(), processes=processes
    )


def left(processes: Processes) -> str:
    """Return what the main process says when the other one is gone, all of a sudden."""
    if not processes.main:
        os._exit(0)
    try:
        processes.wait()
    except RunError as error:
        return str(error)
    return ""
