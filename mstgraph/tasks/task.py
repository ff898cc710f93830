"""What a task tells everybody else: outputs, loss of a sample, divergence, metrics.

A task is one file with one such class. Stages, losses, tables and figures ask it; nothing else
knows what is predicted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from mstgraph.data.labelled import UNKNOWN
from mstgraph.store.recipe import Labels


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
        kind: a word for it, by which a store's labels ask for a task of the package; empty for
            what several tasks have in common.
        metrics: what is measured, in the order in which it is shown.
        primary: the one of them that a best epoch may be chosen by and that progress bars show.
        exclusive_classes: whether outputs are logits of mutually exclusive classes, and labels
            the indices of these.
    """

    labels: Labels
    unlabelled: bool = field(default=False, kw_only=True)

    kind: ClassVar[str] = ""
    metrics: ClassVar[tuple[Metric, ...]]
    primary: ClassVar[Metric]
    exclusive_classes: ClassVar[bool] = False

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """The number of outputs of every network, for a sample or, if dense, for a pixel."""

    @abstractmethod
    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each sample (ℓ_task of Eq. 1 and 15).

        Args:
            outputs: [batch, num_outputs] or, if dense, [batch, num_outputs, height, width] float.
            labels: [batch] or, if dense, [batch, height, width] int64.

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
        known = labels != UNKNOWN
        return known if present is None else known & present

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
