"""What tasks of mutually exclusive classes have in common, of whole samples or of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from mstgraph.data.labelled import UNKNOWN
from mstgraph.tasks.confusion import ConfusionMatrix, class_counts, rates
from mstgraph.tasks.divergence import kl_divergence
from mstgraph.tasks.task import Task

MARKED = 1024  # pixels of a map that tell on which share of a student's errors others are right


@dataclass(frozen=True)
class ClassTask(Task):
    """One of several classes: cross-entropy, KL divergence, a confusion matrix."""

    exclusive_classes: ClassVar[bool] = True

    @property
    def num_outputs(self) -> int:
        """One logit for each class."""
        return len(self.labels.classes)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of each sample, averaged over the pixels that count."""
        ignored = UNKNOWN if self.labels.ignored is None else self.labels.ignored
        known = labels.masked_fill(labels == UNKNOWN, ignored) if self.unlabelled else labels
        losses = F.cross_entropy(outputs, known, ignore_index=ignored, reduction="none")
        return self.labelled_average(losses, labels)

    def divergence(self, teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
        """Return KL(teacher ‖ student) of the softened distributions over the classes."""
        return kl_divergence(teacher, student, temperature)

    def accumulator(self, device: torch.device | str = "cpu") -> ConfusionMatrix:
        """Return an empty confusion matrix."""
        names = tuple(metric.name for metric in self.metrics)
        return ConfusionMatrix(self.num_outputs, names, self.labels.ignored, device)

    def contributions(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return how often each class is hit, labelled and predicted in each sample."""
        return class_counts(outputs.argmax(1), labels, self.counted(labels), self.num_outputs)

    def marks(self, outputs: Tensor, labels: Tensor) -> Tensor | None:
        """Return which of `MARKED` pixels, the same of every map, are of the class predicted."""
        if not self.dense:
            return None
        generator = torch.Generator().manual_seed(0)
        places = torch.randperm(labels[0].numel(), generator=generator)[:MARKED].to(labels.device)
        marks = (outputs.argmax(1) == labels).to(torch.uint8) + 1
        counted = self.counted(labels)
        marks = marks if counted is None else marks.masked_fill(~counted, 0)
        return marks.flatten(1)[:, places]

    def metrics_of(self, totals: Tensor) -> dict[str, Tensor]:
        """Return the metrics from sums of such counts, see `rates`."""
        values = rates(totals, self.labels.ignored)
        return {metric.name: values[metric.name] for metric in self.metrics}

    def right(self, contributions: Tensor) -> Tensor | None:
        """Return whose class is hit, for whole samples."""
        return None if self.dense else contributions[:, : self.num_outputs].sum(1) > 0
