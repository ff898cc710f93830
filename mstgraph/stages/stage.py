"""What a stage tells the executor: its loss on a batch, what to validate, how to select.

The executor knows this interface and nothing of any stage; a stage knows tensors, not files.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor

from mstgraph.stages.node import Batch, Forward, Part, Teacher
from mstgraph.stages.optimizers import Adam
from mstgraph.stages.rates import ConstantRate, Schedule
from mstgraph.support.errors import nearest
from mstgraph.tasks.task import Task

Selection = str
SELECTIONS = ("loss", "metric", "last")
Samples = Literal["all", "labelled"]
Place = Literal["members", "member", "mask", "hint", "student"]
"""Where a stage stands, and thereby what it trains: all members of a component of mutual edges
together (as CI), one member by itself (as Pretrain), what is inserted at one mask point (as STA),
a student up to the layers that are guided (as Hint), or a student under its teachers (as DKD)."""


@dataclass(frozen=True)
class Term:
    """One loss term of a batch: the loss is the sum of scale × value over the terms.

    Attributes:
        value: [] float, the mean over the batch.
        scale: the weight it enters the loss with.
        samples: over how many samples of the batch the value is a mean, [] int, by which batches
            count in the epoch's mean; None for all.
    """

    value: Tensor
    scale: float = 1.0
    samples: Tensor | None = None


@dataclass(frozen=True)
class Stage(ABC):
    """A stage's settings and its equations.

    A stage of one's own is one file with one such class, named in gin by ``graph.initialisation``,
    ``graph.adaptation`` or ``graph.distillation``, alone or in a row of stages of which each starts
    from the weights that the one before it left.

    Attributes:
        kind: begins the names of its stages in a plan.
        place: where it stands and what it trains, see `Place`.
        reads_edges: whether it reads `Batch.edge` or `Batch.edge_loss`, layers included.
        gated: whether it has a gate, ``graph.gate``, which it trains with the student.
        epochs: passes over the training split.
        learning_rate: of its optimiser.
        schedule: how the rate changes from step to step, such as ``@CosineDecay()``.
        optimizer: gin reference, called with the trained parameters and ``lr``.
        batch_size: samples per step; None takes ``data.batch_size``.
        samples: which samples an epoch goes through: ``'all'``, or the ``'labelled'`` ones, as
            often as it takes to make as many steps as all would.
        select: which epoch's weights are kept: lowest validation ``'loss'``, best validation
            ``'metric'`` (the task's primary one, its mean over `selecting`) or that of a name
            (``'F1'``, ``'recall:owl'``), or the ``'last'``.
        start_counts: whether the weights before the first epoch may be kept, too, where all that
            `selecting` answers with is trained already and ``select`` is not ``'last'``.
        patience: end after so many epochs without a better one; None goes through all.
        ema: share of the old that a moving average of the weights keeps at each step, such as
            0.999; the average is what is validated, selected and left (mean teacher, Tarvainen
            and Valpola 2017). None leaves the weights themselves.
        clip: largest norm of a step's gradient, over all that the stage trains; a longer one is
            made shorter (Pascanu, Mikolov and Bengio 2013). None leaves it.
        accumulate: batches whose gradients make one step together, their mean; what is left at the
            end of an epoch makes one, too.
        rates: path of a module → share of the learning rate that it is trained with,
            ``{'encoder': 0.1}``; 1 for all others. See `mstgraph.stages.parameters`.
        decays: path of a module → share of the optimiser's weight decay that its parameters have,
            ``{'encoder': 0.1}``; ``{'vectors': 0}`` lets biases and scales decay no more.
        resources: what it takes on a Ray cluster, ``{'num_cpus': 1, 'num_gpus': 0.5}``, ``memory``
            in bytes, or a name of the cluster's own; changes no result. Empty: one core.
        learns_by_gradient: whether it needs parameters to train; else buffers are enough.
    """

    kind: ClassVar[str]
    place: ClassVar[Place]
    reads_edges: ClassVar[bool] = False
    gated: ClassVar[bool] = False
    learns_by_gradient: ClassVar[bool] = True

    epochs: int = 100
    learning_rate: float = 1e-4
    schedule: Schedule = field(default_factory=ConstantRate)
    optimizer: Callable[..., torch.optim.Optimizer] = Adam
    batch_size: int | None = None
    samples: Samples = "all"
    select: Selection = "loss"
    start_counts: bool = False
    patience: int | None = None
    ema: float | None = None
    clip: float | None = None
    accumulate: int = 1
    rates: Mapping[str, float] = field(default_factory=dict)
    decays: Mapping[str, float] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)

    @abstractmethod
    def losses(self, node: StageNode, batch: Batch, epoch: int) -> Mapping[str, Term]:
        """Return the loss terms of a batch.

        Args:
            node: the stage's place in the plan: its student, members, teachers.
            batch: labels, and the responses of networks, computed when asked for.
            epoch: 1 for the first, for schedules.
        """

    @abstractmethod
    def validation_loss(self, node: StageNode, batch: Batch) -> Tensor:
        """Return the loss of each sample ([batch] float) whose mean selects the best epoch."""

    def judged(self, node: StageNode, batch: Batch) -> Tensor | None:
        """Return of which samples `validation_loss` counts, [batch] bool; None: of all.

        Those that all responses of `reported` take part in, unless a stage says otherwise.
        """
        return batch.there(*self.reported(node))

    @abstractmethod
    def reported(self, node: StageNode) -> tuple[str, ...]:
        """Return the names of the responses whose metrics are reported."""

    def guides(self, student: str, teachers: tuple[str, ...]) -> tuple[str, ...]:
        """Return the members whose plain responses guide what trains at a mask point.

        Args:
            student: whom the specialised teacher is to teach.
            teachers: the members that teach it.
        """
        return (student,)

    def selecting(self, node: StageNode) -> tuple[str, ...]:
        """Return those whose mean metric chooses the epoch if ``select`` is one."""
        return self.reported(node)

    def validated(self, node: StageNode) -> tuple[str, ...]:
        """Return the names of the responses that validation reads."""
        return tuple(node.forwards)

    def statistics(self, node: StageNode, batch: Batch) -> Mapping[str, Tensor]:
        """Return values of each sample ([batch, ...] float) whose means are reported.

        Those of samples that take part in none of it are nan.
        """
        return {}

    def problem(self, node: StageNode) -> tuple[str, str] | None:
        """Return (parameter, what is wrong and what was expected) if the settings make no sense."""
        if self.epochs < 1:
            return "epochs", f"is {self.epochs}, expected at least 1"
        if not 0 < self.learning_rate < math.inf:
            return "learning_rate", f"is {self.learning_rate}, expected more than 0"
        if wrong := self.schedule.problem():
            return "schedule", wrong
        if self.patience is not None and self.patience < 1:
            return "patience", f"is {self.patience}, expected at least 1, or None"
        if self.patience is not None and self.select == "last":
            return "patience", "has no meaning with select = 'last', expected 'loss' or 'metric'"
        if self.batch_size is not None and self.batch_size < 1:
            return "batch_size", f"is {self.batch_size}, expected at least 1"
        if self.ema is not None and not 0 < self.ema < 1:
            return "ema", f"is {self.ema}, expected more than 0 and less than 1, or None"
        if self.ema is not None and not self.learns_by_gradient:
            return "ema", f"is {self.ema}, expected None: what is measured here is a mean already"
        if self.clip is not None and not 0 < self.clip < math.inf:
            return "clip", f"is {self.clip}, expected more than 0, or None"
        if self.accumulate < 1:
            return "accumulate", f"is {self.accumulate}, expected at least 1"
        for name, shares in (("rates", self.rates), ("decays", self.decays)):
            for path, share in shares.items():
                if not isinstance(path, str):
                    return name, f"names {path!r}, expected the path of a module in quotes"
                if type(share) not in (int, float) or not 0 <= share < math.inf:
                    return name, f"of '{path}' is {share!r}, expected a share such as 0.1"
                if name == "rates" and not share:
                    return name, f"of '{path}' is 0, expected more; what never trains is frozen"
        for name, amount in self.resources.items():
            if not isinstance(amount, (int, float)) or not amount >= 0:
                return "resources", f"has {amount!r} of '{name}', expected a number of at least 0"
        if self.samples not in get_args(Samples):
            return "samples", f"is '{self.samples}'{nearest(str(self.samples), get_args(Samples))}"
        if self.by_metric and not self.selecting(node):
            return "select", f"is '{self.select}', expected 'loss' or 'last': nothing is measured"
        return None

    @property
    def by_metric(self) -> bool:
        """Whether a metric of the task chooses the epoch."""
        return self.select not in ("loss", "last")

    def unfit(self, task: Task) -> tuple[str, str] | None:
        """Return (parameter, what is wrong and what was expected) if settings do not fit a task."""
        names = [metric.name for metric in (*task.metrics, *task.extras)]
        if self.select not in (*SELECTIONS, *names):
            return "select", f"is '{self.select}'{nearest(str(self.select), (*SELECTIONS, *names))}"
        return None


@dataclass(frozen=True)
class StageNode:
    """One stage of a plan.

    Attributes:
        name: unique, fit for a folder; does not depend on the index of a teacher.
        kind: that of its settings, or "alone" for the student without distillation.
        scope: member in whose gin scope its settings stand.
        settings: the stage's settings and equations.
        members: member networks that it trains.
        student: the student it serves; empty for pretrain, and for ci unless it is the student's
            last stage.
        teachers: the teachers it uses, in order.
        mutual: mutual edges it trains, each once.
        gate: name of the gate's part, or empty.
        adapters: name of a teacher → name of the part that its loss trains.
        layers: member → role → layers that play it (`mstgraph.methods.loss.ROLES`).
        forwards: name of a response → how it is computed.
        parts: everything with weights that takes part.
        trains: names of the parts that are trained; all others are frozen.
        takes: names of the parts that it takes as they came and leaves as if it had trained them.
        sources: name of a part → stage that leaves its weights; a part without one is initialised
            here.
        hash: names all that can change the result; empty until `mstgraph.derive.identity` fills it.
        identity: what the hash was made from.
    """

    name: str
    kind: str
    scope: str
    settings: Stage
    members: tuple[str, ...]
    forwards: Mapping[str, Forward]
    parts: Mapping[str, Part]
    trains: tuple[str, ...]
    sources: Mapping[str, str]
    takes: tuple[str, ...] = ()
    student: str = ""
    teachers: tuple[Teacher, ...] = ()
    mutual: tuple[tuple[str, str], ...] = ()
    gate: str = ""
    adapters: Mapping[str, str] = field(default_factory=dict)
    layers: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    hash: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def freezes(self) -> tuple[str, ...]:
        """Names of the parts that take part but are not trained."""
        return tuple(name for name in self.parts if name not in self.leaves)

    @property
    def leaves(self) -> tuple[str, ...]:
        """Names of the parts whose weights it leaves to other stages."""
        return (*self.trains, *self.takes)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the stages whose weights it starts from."""
        return tuple(dict.fromkeys(self.sources.values()))


def decayed(weight: float, factor: float, every: int, epoch: int) -> float:
    """Return a weight that is multiplied by ``factor`` after every ``every`` epochs (Section 4.1).

    >>> [decayed(1.0, 0.5, 30, epoch) for epoch in (1, 30, 31, 61)]
    [1.0, 1.0, 0.5, 0.25]
    """
    return weight * factor ** ((epoch - 1) // every)


def decay_problem(
    settings: Mapping[str, float | tuple[float, int]],
) -> tuple[str, str] | None:
    """Return what is wrong with weights (not negative) and their decays (factor, every ≥ 1)."""
    for name, value in settings.items():
        if isinstance(value, tuple):
            if len(value) != 2 or not value[0] >= 0 or value[1] < 1:
                return name, f"is {value}, expected (factor of at least 0, epochs of at least 1)"
        elif not value >= 0:
            return name, f"is {value}, expected at least 0"
    return None
