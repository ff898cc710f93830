"""The one training loop: any stage, from its first batch to its best epoch.

Stages of a group go through the data together and share what is frozen in all of them. Each has
its own optimiser, random state and checkpoint, and comes out as if it had been alone.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor

from mstgraph.data.feed import Feed
from mstgraph.run.artefacts.checkpoint import (
    Checkpoints,
    TrainingState,
    random_states,
    restore_random_states,
)
from mstgraph.run.averaging import Average
from mstgraph.run.batch import Batch
from mstgraph.run.evaluation import Evaluation, evaluate
from mstgraph.run.keeper import Keeper
from mstgraph.run.networks import Networks, Shared
from mstgraph.run.processes.agreement import refuse_apart
from mstgraph.run.reporter import OF, SAMPLES, Listener, means
from mstgraph.stages.parameters import groups_by_share
from mstgraph.stages.stage import StageNode, Term
from mstgraph.support.errors import RunError
from mstgraph.support.interrupt import Interrupt, Interrupted
from mstgraph.support.processes.group import ALONE, Processes
from mstgraph.support.seeds import derive_seed, seed_python, seed_torch
from mstgraph.tasks.task import Task


@dataclass(frozen=True)
class Setting:
    """What the stages of a group have in common.

    Attributes:
        networks: their networks, on the device, weights loaded.
        keeper: their constant values.
        training: the training split.
        validation: the validation split.
        task: the task.
        batch_size: samples per step.
        seed: the run's seed.
        interrupt: who may ask to stop.
        processes: who trains together.
    """

    networks: Networks
    keeper: Keeper
    training: Feed
    validation: Feed
    task: Task
    batch_size: int
    seed: int
    interrupt: Interrupt
    processes: Processes = ALONE


class Training:
    """One stage on its way.

    Args:
        node: the stage in the plan.
        setting: what it shares with its group.
        checkpoints: where its state is kept while it is under way.
        reporter: who is told.
    """

    def __init__(
        self, node: StageNode, setting: Setting, checkpoints: Checkpoints, reporter: Listener
    ):
        self.node = node
        self.setting = setting
        self.checkpoints = checkpoints
        self.reporter = reporter
        self.device = setting.training.device
        self._steps = setting.training.steps(setting.batch_size)
        self._shares = [1.0]
        self.parts = {name: setting.networks.modules[name] for name in node.trains}
        self.optimizer = self._make_optimizer()
        self.state = checkpoints.load(node.hash) or TrainingState(hash=node.hash)
        if self.state.parts:
            self._restore()
        self.average = None if node.settings.ema is None else self._make_average(node.settings.ema)
        self.own_seconds = 0.0

    def begin_epoch(self) -> None:
        """Seed what is random, unless the epoch is already under way."""
        state = self.state
        if state.batch == 0:
            state.sums = {}
            seed_torch(derive_seed(self.setting.seed, self.node.name, "epoch", state.epoch))
            state.random = random_states(self.device)
        restore_random_states(state.random, self.device)

    def step(self, shared: Shared) -> None:
        """Take one optimiser step on a batch, or its share of one."""
        started = time.monotonic()
        state, node = self.state, self.node
        self._set_rate()
        seed = derive_seed(self.setting.seed, node.name, "step", state.epoch, state.batch)
        seed_python(seed)
        self.setting.networks.begin_step(seed)
        batch = Batch(node, self.setting.networks, shared, self.setting.task)
        terms = node.settings.losses(node, batch, state.epoch)
        batch.refuse_overwritten()
        self._descend(total(terms))
        if self.average is not None and self._is_whole(state.batch + 1):
            self.average.update()
        self._add(terms, len(batch))
        state.batch += 1
        self.own_seconds += time.monotonic() - started
        self.reporter.batch_done(node, state.epoch, state.batch, state.sums)

    def end_epoch(self, result: Evaluation) -> None:
        """Keep the weights if they are the best so far, and write the record."""
        state, node = self.state, self.node
        losses = {
            name: {"value": value, "scale": state.scales[name]}
            for name, value in means(state.sums).items()
        }
        value = self._selection_value(result)
        self._check({name: term["value"] for name, term in losses.items()}, "loss term")
        self._check({"loss": result.loss, node.settings.select: value}, "validation")
        best = node.settings.select == "last" or value < state.best_value
        if best:
            self._keep_weights(state.epoch, value)
        record = {
            "epoch": state.epoch,
            "training": losses,
            "validation": result.as_dict(),
            "best": best,
            "seconds": state.seconds,
        }
        state.history.append(record)
        state.epoch, state.batch, state.sums = state.epoch + 1, 0, {}
        self.reporter.epoch_done(node, record)

    def begin(self, result: Evaluation) -> None:
        """Let the weights before the first epoch be the best so far."""
        self._keep_weights(0, self._selection_value(result))
        record = {"epoch": 0, "training": {}, "validation": result.as_dict(), "best": True}
        self.state.history.append({**record, "seconds": self.state.seconds})
        self.reporter.epoch_done(self.node, self.state.history[-1])

    @property
    def start_counts(self) -> bool:
        """Whether the weights before the first epoch are still to be measured."""
        node, settings = self.node, self.node.settings
        if not settings.start_counts or settings.select == "last" or self.state.history:
            return False
        names = settings.selecting(node)
        asked = {part for name in names for part in node.forwards[name].parts}
        return bool(names) and asked & set(node.trains) <= set(node.sources) and self._at_start

    @property
    def _at_start(self) -> bool:
        return (self.state.epoch, self.state.batch) == (1, 0)

    @property
    def over(self) -> bool:
        """Whether its last epoch is done, or nothing got better for too long."""
        settings, state = self.node.settings, self.state
        waited = state.epoch - 1 - state.best_epoch
        stopped = settings.patience is not None and waited >= settings.patience
        return state.epoch > settings.epochs or stopped

    @property
    def between_steps(self) -> bool:
        """Whether no gradient waits for more batches."""
        return self._is_whole(self.state.batch)

    def _is_whole(self, batches: int) -> bool:
        """Say whether so many batches of an epoch make up whole steps."""
        return batches % self.node.settings.accumulate == 0 or batches == self._steps

    def save(self) -> None:
        """Write the checkpoint, in the main process."""
        if not self.setting.processes.main:
            return
        self.state.parts = {name: dict(p.state_dict()) for name, p in self.parts.items()}
        self.state.optimizer = {} if self.optimizer is None else self.optimizer.state_dict()
        if self.average is not None:
            self.state.average, self.state.averaged = self.average.states, self.average.steps
        self.checkpoints.save(self.state)

    def finish(self) -> None:
        """Put the weights of the best epoch into the trained parts, and let go of all else.

        Saving weights takes memory of its own, which the optimiser need not come on top of.
        """
        for name, best in self.state.best.items():
            self.parts[name].load_state_dict(best)
        self.state.best, self.optimizer, self.average = {}, None, None

    def _keep_weights(self, epoch: int, value: float) -> None:
        state = self.state
        state.best_epoch, state.best_value = epoch, value
        state.best = {}  # the old copy goes before the new one is made
        state.best = {name: _copy(part.state_dict()) for name, part in self.parts.items()}

    def _set_rate(self) -> None:
        """Take the rate of the step, which depends on its place alone."""
        settings, state = self.node.settings, self.state
        step = (state.epoch - 1) * self._steps + state.batch
        share = settings.schedule.share(step, settings.epochs * self._steps)
        groups = self.optimizer.param_groups if self.optimizer else ()
        for group, own in zip(groups, self._shares, strict=False):
            group["lr"] = settings.learning_rate * share * own

    def _make_optimizer(self) -> torch.optim.Optimizer | None:
        """Return the optimiser, or None if the trained parts learn in their buffers alone."""
        parameters = [p for module in self.parts.values() for p in module.parameters()]
        settings = self.node.settings
        if not parameters:
            return None
        if not (settings.rates or settings.decays):
            return settings.optimizer(parameters, lr=settings.learning_rate)
        groups = groups_by_share(self.parts, settings.rates, settings.decays)
        self._shares = [share for share, _, _ in groups]
        given = [{"params": parameters} for _, _, parameters in groups]
        optimizer = settings.optimizer(given, lr=settings.learning_rate)
        for group, (_, decay, _) in zip(optimizer.param_groups, groups, strict=True):
            if settings.decays:
                group["weight_decay"] *= decay
        return optimizer

    def _make_average(self, decay: float) -> Average:
        """Return the average of the trained parts, but for what serves training alone."""
        adapters, state = set(self.node.adapters.values()), self.state
        parts = {name: part for name, part in self.parts.items() if name not in adapters}
        return Average(parts, decay, state.average, state.averaged)

    def _descend(self, loss: Tensor) -> None:
        """Take a step down the loss, if there is anything that it could move."""
        settings, batch = self.node.settings, self.state.batch
        if self.optimizer is None or not (loss.requires_grad or settings.accumulate > 1):
            return
        if settings.accumulate > 1:
            first = batch - batch % settings.accumulate
            loss = loss / min(settings.accumulate, self._steps - first)
        if loss.requires_grad:
            loss.backward()
        if not self._is_whole(batch + 1):
            return
        trained = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.setting.processes.average_gradients(trained)
        if settings.clip is not None:
            torch.nn.utils.clip_grad_norm_(trained, settings.clip)
        self.optimizer.step()
        # Gradients go before the next stage of the group needs the memory. Torch's `zero_grad` does
        # no more, but profiles itself, which costs as much as a layer of a small network.
        for parameter in trained:
            parameter.grad = None

    def _restore(self) -> None:
        for name, states in self.state.parts.items():
            self.parts[name].load_state_dict(states)
        if self.optimizer is not None:
            self.optimizer.load_state_dict(self.state.optimizer)
        self.state.sums = {
            name: value.to(self.device) if torch.is_tensor(value) else value
            for name, value in self.state.sums.items()
        }
        for record in self.state.history:
            self.reporter.epoch_done(self.node, record)

    def _add(self, terms: Mapping[str, Term], size: int) -> None:
        """Add to the running sums without waiting for the device."""
        state = self.state
        for name, term in terms.items():
            value = term.value.detach()
            if term.samples is None:
                self._increase(name, value, size)
            else:
                self._increase(name, value * term.samples)
                self._increase(OF + name, term.samples)
        state.sums[SAMPLES] = state.sums.get(SAMPLES, 0) + size
        state.scales = {name: term.scale for name, term in terms.items()}

    def _increase(self, name: str, value: Tensor, times: int = 1) -> None:
        sums = self.state.sums
        if name in sums:
            sums[name].add_(value, alpha=times)
        else:
            sums[name] = value * times

    def _check(self, values: Mapping[str, float], what: str) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise RunError(
                    f"stage {self.node.name}: the {what} '{name}' is {value} in epoch "
                    f"{self.state.epoch}; try a smaller "
                    f"{type(self.node.settings).__name__}.learning_rate"
                )

    def _selection_value(self, result: Evaluation) -> float:
        """Lower is better."""
        settings = self.node.settings
        if not settings.by_metric:
            return result.loss
        task, names = self.setting.task, settings.selecting(self.node)
        metric = task.metric(settings.select) or task.primary
        value = sum(result.metrics[name][metric.name] for name in names) / len(names)
        if math.isnan(value) and math.isfinite(result.loss):
            raise RunError(
                f"stage {self.node.name}: {metric.title} is undefined on validation, so that it "
                f"can choose no epoch; expected another {type(settings).__name__}.select"
            )
        return -metric.merit(value)


def train(group: Sequence[Training]) -> None:
    """Train stages that share a setting, each going on from its checkpoint if it has one.

    Afterwards the trained parts hold the weights of the best epoch, and each state's ``history``
    one record per epoch.

    Raises:
        Interrupted: somebody asked to stop; the states are saved.
        RunError: a loss is no longer a number.
    """
    setting = group[0].setting
    for name, module in setting.networks.modules.items():
        module.requires_grad_(name in setting.networks.trained)
    setting.networks.ready(())
    for training in group:  # a member that is only measured has no epoch
        if training.over and training.start_counts:
            training.begin(*_validated([training]))
    while together := _hindmost(group):
        try:
            train_epoch(together)
        except Interrupted:
            for training in group:
                if training not in together:
                    training.save()
            raise
    for training in group:
        training.finish()


def _hindmost(group: Sequence[Training]) -> list[Training]:
    """Return the stages that are furthest from their end, together at one place.

    A kill can leave the stages of a group at different batches; those behind catch up.
    """
    under_way = [t for t in group if not t.over]
    places = [(t.state.epoch, t.state.batch) for t in under_way]
    return [t for t, place in zip(under_way, places, strict=True) if place == min(places)]


def train_epoch(group: Sequence[Training]) -> None:
    """Train stages that are at the same place to the end of their epoch, and validate them."""
    setting, state = group[0].setting, group[0].state
    clock = _Clock(group)
    kept = setting.keeper.kept("train")
    labelled = group[0].node.settings.samples == "labelled"
    order = setting.training.order(setting.seed, state.epoch, labelled, setting.batch_size)
    if starting := [training for training in group if training.start_counts]:
        for training, result in zip(starting, _validated(starting), strict=True):
            training.begin(result)
    begin_epoch(group)
    seed = derive_seed(setting.seed, "augmentation", state.epoch)
    feed = setting.training
    for inputs, labels, places in feed.epoch(setting.batch_size, order, state.batch, seed):
        positions = feed.positions(places)
        lengths = feed.lengths(positions)
        batch = Shared(inputs, labels, positions, kept, lengths, places)
        step(group, setting.networks.shared(batch))
        # Gradients that wait for more batches are in no checkpoint.
        if setting.interrupt.requested and all(training.between_steps for training in group):
            clock.stop()
            _stop(group)
    for training in group:
        refuse_apart(setting.processes, training.node.name, training.parts)
    with ExitStack() as averages:
        for training in group:
            if training.average is not None:
                averages.enter_context(training.average.in_place())
        results = _validated(group)
        clock.stop()
        for training, result in zip(group, results, strict=True):
            training.end_epoch(result)
    over = all(training.over for training in group)
    if setting.interrupt.requested and not over:
        _stop(group)
    # All or none: a kill then leaves them at one place.
    if not over and all(t.checkpoints.due(len(group)) for t in group):
        for training in group:
            training.save()


def _validated(group: Sequence[Training]) -> list[Evaluation]:
    """Measure stages on validation; rounding must not let one process stop where others go on."""
    setting = group[0].setting
    results = evaluate(
        [training.node for training in group],
        setting.networks,
        setting.validation,
        setting.task,
        setting.batch_size,
        setting.keeper.kept("validation"),
    )
    return setting.processes.agreed(results)


def begin_epoch(group: Sequence[Training]) -> None:
    """Put random states, and which networks are in training mode, right for an epoch."""
    for training in group:
        training.begin_epoch()
    trained = {name for training in group for name in training.node.trains}
    group[0].setting.networks.ready(trained)


def step(group: Sequence[Training], shared: Shared) -> None:
    """Take one step of each stage on a batch, each with its own random state."""
    for training in group:
        if len(group) > 1:
            restore_random_states(training.state.random, training.device)
        training.step(shared)
        if len(group) > 1:
            training.state.random = random_states(training.device)


def _stop(group: Sequence[Training]) -> None:
    if len(group) == 1:
        group[0].state.random = random_states(group[0].device)
    for training in group:
        training.save()
    raise Interrupted(", ".join(training.node.name for training in group))


class _Clock:
    """Shares the time of a pass among the stages of a group.

    What a stage's own steps take is its own; what all have in common, such as reading, frozen
    networks and validation, is shared alike. Of a GPU, which works on behind the program's back,
    only starting a step is seen: there nearly everything is shared.
    """

    def __init__(self, group: Sequence[Training]):
        self._group = group
        self._started = time.monotonic()
        for training in group:
            training.own_seconds = 0.0

    def stop(self) -> None:
        elapsed = time.monotonic() - self._started
        shared = elapsed - sum(training.own_seconds for training in self._group)
        for training in self._group:
            training.state.seconds += training.own_seconds + shared / len(self._group)


def total(terms: Mapping[str, Term]) -> Tensor:
    """Return the loss: the sum of scale × value."""
    scaled = [t.value if t.scale == 1 else t.value * t.scale for t in terms.values()]
    return functools.reduce(torch.add, scaled)


def _copy(states: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in states.items()}
