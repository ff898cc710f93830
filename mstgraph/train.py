"""The one training loop: any stage, from its first batch to its best epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from mstgraph.batch import Batch, Responder
from mstgraph.checkpoint import (
    Checkpoints,
    TrainingState,
    random_states,
    restore_random_states,
)
from mstgraph.errors import RunError
from mstgraph.evaluation import Evaluation, evaluate
from mstgraph.feed import Feed
from mstgraph.interrupt import Interrupt, Interrupted
from mstgraph.plan import StageNode
from mstgraph.seeds import derive_seed
from mstgraph.stages.stage import Term
from mstgraph.tasks import Task

SAMPLES = "samples"  # the running sum that counts samples; no loss term may have its name


class Reporter(Protocol):
    """Is told how a stage proceeds."""

    def batch_done(
        self, node: StageNode, epoch: int, batch: int, sums: Mapping[str, Tensor]
    ) -> None:
        """Called after each batch; the sums stay on the device until somebody reads them."""

    def epoch_done(self, node: StageNode, record: Mapping[str, Any]) -> None:
        """Called after each epoch with its record, also for those of an earlier session."""


@dataclass(frozen=True)
class Training:
    """One stage with all it needs to be trained.

    Attributes:
        node: the stage in the plan.
        modules: name of a part → module, on the device, weights loaded.
        inputs_of: member → its modalities.
        task: the task.
        training: the training split.
        validation: the validation split.
        batch_size: samples per step.
        seed: the run's seed.
        checkpoints: where its state is kept while it is under way.
        reporter: who is told.
        interrupt: who may ask to stop.
    """

    node: StageNode
    modules: Mapping[str, nn.Module]
    inputs_of: Mapping[str, tuple[str, ...]]
    task: Task
    training: Feed
    validation: Feed
    batch_size: int
    seed: int
    checkpoints: Checkpoints
    reporter: Reporter
    interrupt: Interrupt


def train(training: Training) -> TrainingState:
    """Train a stage, going on from its checkpoint if there is one.

    Afterwards the trained parts hold the weights of the best epoch.

    Returns:
        The final state; its ``history`` holds one record per epoch.

    Raises:
        Interrupted: somebody asked to stop; the state is saved.
        RunError: the loss is no longer a number.
    """
    node = training.node
    _freeze(training)
    optimizer = _optimizer(training)
    state = training.checkpoints.load(node.hash)
    if state is None:
        state = TrainingState(hash=node.hash)
    else:
        _restore(training, optimizer, state)
    for record in state.history:
        training.reporter.epoch_done(node, record)
    while state.epoch <= node.settings.epochs:
        _train_epoch(training, optimizer, state)
        _finish_epoch(training, state)
        over = state.epoch > node.settings.epochs
        if training.interrupt.requested or (not over and training.checkpoints.due()):
            _save(training, optimizer, state)
        if training.interrupt.requested and not over:
            raise Interrupted(node.name)
    for name, best in state.best.items():
        training.modules[name].load_state_dict(best)
    return state


def _freeze(training: Training) -> None:
    for name, module in training.modules.items():
        module.requires_grad_(name in training.node.trains)


def _optimizer(training: Training) -> torch.optim.Optimizer:
    node = training.node
    parameters = [p for name in node.trains for p in training.modules[name].parameters()]
    return node.settings.optimizer(parameters, lr=node.settings.learning_rate)


def _train_epoch(
    training: Training, optimizer: torch.optim.Optimizer, state: TrainingState
) -> None:
    node, started = training.node, time.monotonic()
    order = epoch_order(len(training.training), training.seed, node.name, state.epoch)
    if state.batch == 0:
        state.sums = {}
        torch.manual_seed(derive_seed(training.seed, node.name, "epoch", state.epoch))
    for name, module in training.modules.items():
        module.train(name in node.trains)
    responder = Responder(node, training.modules, training.inputs_of)
    for inputs, labels in training.training.epoch(training.batch_size, order, state.batch):
        batch = Batch(inputs, labels, responder, training.task)
        terms = node.settings.losses(node, batch, state.epoch)
        optimizer.zero_grad(set_to_none=True)
        total(terms).backward()
        optimizer.step()
        _add(state, terms, len(batch))
        state.batch += 1
        training.reporter.batch_done(node, state.epoch, state.batch, state.sums)
        if training.interrupt.requested:
            state.seconds += time.monotonic() - started
            _save(training, optimizer, state)
            raise Interrupted(node.name)
    state.seconds += time.monotonic() - started


def total(terms: Mapping[str, Term]) -> Tensor:
    """Return the loss: the sum of scale × value."""
    return torch.stack([term.scale * term.value for term in terms.values()]).sum()


def epoch_order(length: int, seed: int, stage: str, epoch: int) -> Tensor:
    """Return an epoch's order, [length] int64: it depends on seed, stage and epoch alone."""
    generator = torch.Generator().manual_seed(derive_seed(seed, stage, "order", epoch))
    return torch.randperm(length, generator=generator)


def _add(state: TrainingState, terms: Mapping[str, Term], size: int) -> None:
    """Add to the running sums without waiting for the device."""
    for name, term in terms.items():
        state.sums[name] = state.sums.get(name, 0) + term.value.detach() * size
    state.sums[SAMPLES] = state.sums.get(SAMPLES, 0) + size
    state.scales = {name: term.scale for name, term in terms.items()}


def _finish_epoch(training: Training, state: TrainingState) -> None:
    """Validate, keep the weights if they are the best so far, and write the record."""
    node, started = training.node, time.monotonic()
    losses = {
        name: {"value": float(value) / state.sums[SAMPLES], "scale": state.scales[name]}
        for name, value in state.sums.items()
        if name != SAMPLES
    }
    for name, term in losses.items():
        if not math.isfinite(term["value"]):
            raise RunError(
                f"stage {node.name}: the loss term '{name}' is {term['value']} in epoch "
                f"{state.epoch}; try a smaller {type(node.settings).__name__}.learning_rate"
            )
    result = evaluate(
        node,
        training.modules,
        training.inputs_of,
        training.validation,
        training.task,
        training.batch_size,
    )
    value = _selection_value(training, result)
    best = node.settings.select == "last" or value < state.best_value
    if best:
        state.best_epoch, state.best_value = state.epoch, value
        state.best = {n: _copy(training.modules[n].state_dict()) for n in node.trains}
    state.seconds += time.monotonic() - started
    record = {
        "epoch": state.epoch,
        "training": losses,
        "validation": result.as_dict(),
        "best": best,
        "seconds": state.seconds,
    }
    state.history.append(record)
    state.epoch, state.batch, state.sums = state.epoch + 1, 0, {}
    training.reporter.epoch_done(node, record)


def _selection_value(training: Training, result: Evaluation) -> float:
    """Lower is better."""
    if training.node.settings.select != "metric":
        return result.loss
    values = [metrics[training.task.primary] for metrics in result.metrics.values()]
    return -sum(values) / len(values)


def _copy(states: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in states.items()}


def _save(training: Training, optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
    state.parts = {n: dict(training.modules[n].state_dict()) for n in training.node.trains}
    state.optimizer = optimizer.state_dict()
    state.random = random_states()
    training.checkpoints.save(state)


def _restore(training: Training, optimizer: torch.optim.Optimizer, state: TrainingState) -> None:
    for name, states in state.parts.items():
        training.modules[name].load_state_dict(states)
    optimizer.load_state_dict(state.optimizer)
    restore_random_states(state.random)
    device = training.training.device
    state.sums = {n: v.to(device) if torch.is_tensor(v) else v for n, v in state.sums.items()}
    state.best = {n: {k: t.to(device) for k, t in s.items()} for n, s in state.best.items()}
