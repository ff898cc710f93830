"""What a task tells everybody else: outputs, loss of a sample, divergence, metrics.

A task is one file with one such class. Stages, losses, tables and figures ask it; nothing else
knows what is predicted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, Protocol

import torch
from torch import Tensor

from mstgraph.data.labelled import UNKNOWN
from mstgraph.store.recipe import Labels
from mstgraph.support.errors import nearest
from mstgraph.support.text import take_tuples_of_one
from mstgraph.tasks.responses import weighted_sum

RECALL = "recall:"  # and a class: the name of a metric of a single one


@dataclass(frozen=True)
class Metric:
    """A number that says how good responses are.

    Attributes:
        name: in files and gin.
        title: as a person reads it.
        higher_is_better: the direction in which it is better.
    """

    name: str
    title: str
    higher_is_better: bool = True

    @property
    def heading(self) -> str:
        """The title, with an arrow where lower is better."""
        return self.title if self.higher_is_better else f"{self.title} ↓"

    def merit(self, value: float) -> float:
        """Return the value, or a difference of two, with the sign with which more is better."""
        return value if self.higher_is_better else -value


class Accumulator(Protocol):
    """Adds up what metrics need, batch by batch, on the device."""

    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Add a batch of outputs, [batch, num_outputs, *extent] float, and its labels."""

    def metrics(self) -> dict[str, float]:
        """Return name → value of each of the task's metrics, nan where one is undefined."""


@dataclass(frozen=True)
class Task(ABC):
    """What is predicted for each sample; subclasses may add options as further fields.

    Attributes:
        labels: what the store says of its labels.
        unlabelled: whether some labels are unknown, `mstgraph.data.labelled.UNKNOWN`.
        measure: names of metrics that are measured beside `metrics`, see `metric`.
        kind: a word for it, by which a store's labels ask for a task of the package; empty for
            what several tasks have in common.
        metrics: what is measured, in the order in which it is shown.
        primary: the one of them that a best epoch may be chosen by and that progress bars show.
        exclusive_classes: whether outputs are logits of mutually exclusive classes, and labels
            the indices of these.
        probabilities: whether outputs stand for probabilities, so that `uncertainty` and
            `agreement` are known.
    """

    labels: Labels
    unlabelled: bool = field(default=False, kw_only=True)
    measure: tuple[str, ...] = field(default=(), kw_only=True)

    kind: ClassVar[str] = ""
    metrics: ClassVar[tuple[Metric, ...]]
    primary: ClassVar[Metric]
    exclusive_classes: ClassVar[bool] = False
    probabilities: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Take one name for a tuple of one."""
        take_tuples_of_one(self)

    @property
    def measured(self) -> tuple[Metric, ...]:
        """All that is measured, in the order in which it is shown."""
        beside = (self.metric(name) for name in self.measure)
        return (*self.metrics, *(metric for metric in beside if metric is not None))

    def metric(self, name: str) -> Metric | None:
        """Return the metric of a name, also one that is measured only if asked for; or None."""
        known = {metric.name: metric for metric in (*self.metrics, *self.extras)}
        return known.get(name)

    @property
    def extras(self) -> tuple[Metric, ...]:
        """Metrics that are measured only if asked for."""
        return ()

    def measuring(self, names: Iterable[str]) -> Task:
        """Return the task that also measures what these names stand for; others are passed over."""
        usual = {metric.name for metric in self.measured}
        more = [name for name in dict.fromkeys(names) if name not in usual and self.metric(name)]
        return replace(self, measure=(*self.measure, *more)) if more else self

    def problem(self) -> tuple[str, str] | None:
        """Return (option, what is wrong and what was expected) if the options make no sense."""
        usual = {metric.name for metric in self.metrics}
        for name in self.measure:
            if name in usual or self.metric(name) is None or self.measure.count(name) > 1:
                can = [metric.name for metric in self.extras]
                return "measure", f"names '{name}'{nearest(name, can)}"
        return None

    def options(self) -> dict[str, Any]:
        """Return the options that are not at their default: name → value."""
        own = {item.name for item in fields(Task)} - {"measure"}
        given = (item for item in fields(self) if item.init and item.name not in own)
        values = {item.name: (getattr(self, item.name), item.default) for item in given}
        return {name: value for name, (value, usual) in values.items() if value != usual}

    def fitted(self, labels: Iterable[Tensor]) -> Task:
        """Return the task with what it takes from the labels of the training split.

        Args:
            labels: of one batch after another; read only by a task that takes something.
        """
        return self

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """The number of outputs of every network, for a sample or, if dense, for a pixel."""

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each sample (ℓ_task of Eq. 1 and 15).

        Args:
            outputs: [batch, num_outputs] or, if dense, [batch, num_outputs, height, width] float.
            labels: [batch] or, if dense, [batch, height, width] int64; [batch, places] where a
                label is a vector.

        Returns:
            [batch] float; 0 for a sample of which no label counts.
        """

    @abstractmethod
    def divergence(self, teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
        """Return how far the student's response is from the teacher's, both softened (Eq. 2, 8).

        Args:
            teacher: outputs, [batch, num_outputs] or [batch, num_outputs, height, width] float.
            student: outputs of the same shape.
            temperature: τ > 0.

        Returns:
            [batch] or, if dense, [batch, height, width] float.
        """

    def combine(self, responses: Sequence[Tensor], weights: Tensor) -> Tensor:
        """Return several teachers' responses as one, the weighted mean of log-probabilities.

        Up to a constant, that is the weighted mean of the parameters of one family: of logits of
        Bernoulli variables, of means of normal distributions of one variance.

        Args:
            responses: outputs of N teachers, [batch, num_outputs, ...] float each.
            weights: [batch, N] float, rows summing to one.

        Returns:
            [batch, num_outputs, ...] float.
        """
        return weighted_sum(responses, weights)

    def uncertainty(self, outputs: Tensor) -> Tensor:
        """Return how unsure each response is, [batch] float; alike for all where none says it."""
        return outputs.new_zeros(len(outputs))

    def agreement(self, one: Tensor, other: Tensor) -> Tensor:
        """Return how much two responses agree, 0 to 1: [batch] or, if dense, per pixel."""
        raise NotImplementedError(f"{type(self).__name__} does not compare probabilities")

    @abstractmethod
    def accumulator(self, device: torch.device | str = "cpu") -> Accumulator:
        """Return what adds up the metrics of a split."""

    def contributions(self, outputs: Tensor, labels: Tensor) -> Tensor | None:
        """Return what each sample adds to totals that the metrics can be computed from.

        Counts or sums, so that metrics of any choice of samples are to be had without the outputs.
        None where a task offers none: a run then does not say how sure its numbers are.

        Args:
            outputs: [batch, num_outputs, *extent] float.
            labels: [batch, *extent] int64.

        Returns:
            [batch, statistics], zero for a sample of which no label counts.
        """
        return None

    def metrics_of(self, totals: Tensor) -> dict[str, Tensor]:
        """Return name → values of the metrics, [...], from sums of `contributions`.

        Args:
            totals: [..., statistics] float.
        """
        raise NotImplementedError(f"{type(self).__name__} offers contributions but no metrics_of")

    def ranked(self, weights: Tensor, contributions: Tensor) -> dict[str, Tensor]:
        """Return name → values of the metrics that no totals give, [draws]; {} if all do.

        Args:
            weights: how often each sample counts, [draws, samples] float64.
            contributions: [samples, statistics] float64.
        """
        return {}

    def alike(self, one: Tensor, other: Tensor) -> Tensor:
        """Return which samples two networks answer alike, [samples] bool, from contributions."""
        return (one == other).all(dim=1)

    def right(self, contributions: Tensor) -> Tensor | None:
        """Return which samples are answered rightly, [samples] bool, from their contributions.

        None where an answer is more than right or wrong, as a map is.
        """
        return None

    def marks(self, outputs: Tensor, labels: Tensor) -> Tensor | None:
        """Return whether each sample is answered rightly in some places of it.

        For maps, of which `right` knows nothing; the places are the same for all who answer.

        Args:
            outputs: [batch, num_outputs, *extent] float.
            labels: [batch, *extent] int64.

        Returns:
            [batch, places] uint8: 0 where nothing counts, 1 where it errs, 2 where it is right.
        """
        return None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that labels are indices of."""
        return tuple(self.labels.classes)

    @property
    def extent(self) -> tuple[int, ...]:
        """What outputs have beyond their axis: (height, width) of a map, or ()."""
        return tuple(self.labels.shape)

    @property
    def dense(self) -> bool:
        """Whether every pixel has a label of its own."""
        return bool(self.extent)

    def counted(self, labels: Tensor) -> Tensor | None:
        """Return which labels count in the task loss and in metrics, bool of the labels' shape.

        None where all of them do. An ignored label takes part in nothing, an unknown one in
        distillation alone.
        """
        present = self.present(labels)
        if not self.unlabelled:
            return present
        known = self.known(labels)
        return known if present is None else known & present

    def known(self, labels: Tensor) -> Tensor:
        """Return which labels are known, bool of their shape."""
        return labels != UNKNOWN

    def present(self, labels: Tensor) -> Tensor | None:
        """Return which samples or pixels take part at all, bool of the labels' shape.

        None where all of them do: no label is ignored for good.
        """
        return None if self.labels.ignored is None else labels != self.labels.ignored

    def average(self, values: Tensor, labels: Tensor) -> Tensor:
        """Average a value per pixel over the pixels of each sample that take part.

        Args:
            values: [batch] or [batch, height, width] float.
            labels: [batch] or [batch, height, width] int64.

        Returns:
            [batch] float; 0 for a sample of which nothing takes part.
        """
        return self._averaged(values, self.present(labels))

    def labelled_average(self, values: Tensor, labels: Tensor) -> Tensor:
        """Average a value per pixel over the pixels of each sample whose label counts.

        Args:
            values: [batch] or [batch, height, width] float.
            labels: [batch] or [batch, height, width] int64.

        Returns:
            [batch] float; 0 for a sample of which no label counts.
        """
        return self._averaged(values, self.counted(labels))

    def _averaged(self, values: Tensor, counted: Tensor | None) -> Tensor:
        if counted is None:
            return values.flatten(1).mean(1) if self.dense else values
        # where, not a product: an ignored value may be infinite
        values = torch.where(counted, values, torch.zeros_like(values))
        if not self.dense:
            return values
        return values.flatten(1).sum(1) / counted.flatten(1).sum(1).clamp(min=1)
