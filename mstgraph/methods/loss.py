"""What the loss of a distillation edge tells the stages, and what it is given.

A method is one file with one such class: its own file says what it reads (logits, features at
layers that the data set's gin file names by role, labels, sample numbers), what of its own it
trains, and whether it wants a stage before the last one. Neither plan nor executor know any method.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from torch import Tensor, nn

from mstgraph.tasks.task import Task

PENULTIMATE = "penultimate"
HINTS = "hints"
REPRESENTATION = "representation"
ROLES = (PENULTIMATE, HINTS, REPRESENTATION)

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Answer:
    """What a network makes of a batch.

    Attributes:
        logits: [batch, num_outputs] or [batch, num_outputs, height, width] float.
        features: role → what its layers return, in the order in which the member names them,
            [batch, ...] float each; only of the roles that the loss reads.
    """

    logits: Tensor
    features: Mapping[str, tuple[Tensor, ...]] = field(default_factory=dict)

    def rows(self, rows: Tensor) -> Answer:
        """Return the answer for some samples, [n] int64."""
        features = {
            role: tuple(feature[rows] for feature in of_role)
            for role, of_role in self.features.items()
        }
        return Answer(self.logits[rows], features)

    @property
    def penultimate(self) -> Tensor:
        """The last feature before the classifier, [batch, ...] float."""
        return self.features[PENULTIMATE][0]

    @property
    def hints(self) -> tuple[Tensor, ...]:
        """Features that can guide another network's or be guided, [batch, ...] float each."""
        return self.features[HINTS]

    @property
    def representation(self) -> Tensor:
        """The feature that methods select from or compare, [batch, ...] float."""
        return self.features[REPRESENTATION][0]


@dataclass(frozen=True)
class Edge:
    """A batch as the loss of one edge sees it.

    Attributes:
        teacher: the teacher's answer; without gradient unless the loss trains the teacher.
        student: the student's answer.
        labels: [batch] or [batch, height, width] int64.
        positions: number of each sample within the training split, [batch] int64.
        task: the task, for `Task.loss`, `Task.divergence` and `Task.average`.
        adapter: what `EdgeLoss.adapter` built, or None.
    """

    teacher: Answer
    student: Answer
    labels: Tensor
    positions: Tensor
    task: Task
    adapter: nn.Module | None = None

    def labelled(self) -> Edge:
        """Return the edge without the samples whose label is unknown or ignored.

        For classification losses that see a batch as a whole and read labels.
        """
        return self._only(self.task.counted(self.labels))

    def present(self) -> Edge:
        """Return the edge without the samples that take part in nothing.

        For classification losses that see a batch as a whole. One of each sample need not care.
        """
        return self._only(self.task.present(self.labels))

    def _only(self, counted: Tensor | None) -> Edge:
        if counted is None:
            return self
        rows = counted.nonzero().flatten()
        return self if len(rows) == len(self.labels) else self.rows(rows)

    def rows(self, rows: Tensor) -> Edge:
        """Return the edge for some samples, [n] int64."""
        return replace(
            self,
            teacher=self.teacher.rows(rows),
            student=self.student.rows(rows),
            labels=self.labels[rows],
            positions=self.positions[rows],
        )


@dataclass(frozen=True)
class EdgeShapes:
    """What an adapter has to fit to.

    Attributes:
        teacher: role → shapes of the teacher's features without the batch; only of roles read.
        student: the same of the student.
        task: the task: number of outputs, extent of dense labels.
        samples: number of training samples.
    """

    teacher: Mapping[str, tuple[Shape, ...]]
    student: Mapping[str, tuple[Shape, ...]]
    task: Task
    samples: int


class EdgeLoss(ABC):
    """Loss of an edge from a teacher to a student; subclasses are dataclasses of their options.

    Attributes:
        reads: roles (`ROLES`) of the layers whose features of both networks the loss wants.
        reads_of_student: roles of layers of which it wants the student's features alone.
        dense: whether it makes sense where every pixel has a label.
        classes_only: whether it takes outputs for logits of mutually exclusive classes, or labels
            for indices of these.
        by_sample: whether `edge` returns a loss of each sample or pixel, so that teachers can be
            weighed sample by sample.
        trains_teacher: whether the teacher goes on learning beside the student.
        hinted: whether the student and the adapter first train on `hint` in a stage of their own;
            the adapter is then used there only.
    """

    reads: ClassVar[tuple[str, ...]] = ()
    reads_of_student: ClassVar[tuple[str, ...]] = ()
    dense: ClassVar[bool] = False
    classes_only: ClassVar[bool] = False
    by_sample: ClassVar[bool] = False
    trains_teacher: ClassVar[bool] = False
    hinted: ClassVar[bool] = False

    @abstractmethod
    def edge(self, edge: Edge) -> Tensor:
        """Return the loss of a batch: [batch], [batch, height, width] or, of the whole, []."""

    def hint(self, edge: Edge) -> Tensor:
        """Return the loss of each sample in the stage before the last one, [batch] float."""
        raise NotImplementedError(f"{type(self).__name__} has no hint stage")

    def adapter(self, shapes: EdgeShapes) -> nn.Module:
        """Build what the loss trains with the student, such as regressors or embeddings.

        A loss that overrides this has an adapter. Buffers are kept in checkpoints, so a memory of
        earlier batches belongs into buffers.

        Raises:
            UserError: the features do not fit; one sentence, without the members' names.
        """
        raise NotImplementedError(f"{type(self).__name__} has no adapter")

    def roles(self, of_student: bool) -> tuple[str, ...]:
        """Return the roles of the layers that are read of one of the two networks."""
        return self.reads + self.reads_of_student if of_student else self.reads

    @property
    def compares_classes(self) -> bool:
        """Whether it is about exclusive classes: ``classes_only``, or z-scores over them."""
        return self.classes_only or bool(getattr(self, "standardised", False))

    @property
    def adapts(self) -> bool:
        """Whether the loss has an adapter."""
        return type(self).adapter is not EdgeLoss.adapter

    def problem(self) -> tuple[str, str] | None:
        """Return (option, what is wrong and what was expected) if the options make no sense."""
        return None


class ResponseLoss(EdgeLoss):
    """A loss of each sample (or pixel) by itself that reads logits alone, so it can be routed."""

    dense: ClassVar[bool] = True
    by_sample: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        """Refuse an `edge` of its own, which a gate would never ask."""
        if "edge" in vars(cls):
            raise TypeError(f"{cls.__name__} says its loss in compare; with edge, be an EdgeLoss")

    @abstractmethod
    def compare(self, task: Task, teacher: Tensor, student: Tensor) -> Tensor:
        """Return the loss of each sample or pixel.

        Args:
            task: says what the outputs mean, for `Task.divergence`.
            teacher: logits, [batch, num_outputs] or [batch, num_outputs, height, width] float.
            student: logits of the same shape.

        Returns:
            [batch] or [batch, height, width] float.
        """

    def edge(self, edge: Edge) -> Tensor:
        """Return the loss of each sample or pixel of a batch."""
        return self.compare(edge.task, edge.teacher.logits, edge.student.logits)
