"""What tasks of mutually exclusive classes have in common, of whole samples or of pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from mstgraph.data.labelled import UNKNOWN
from mstgraph.tasks.confusion import ConfusionMatrix
from mstgraph.tasks.divergence import kl_divergence
from mstgraph.tasks.task import Task


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
