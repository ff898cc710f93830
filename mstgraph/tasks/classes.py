"""What tasks of mutually exclusive classes have in common, of whole samples or of pixels."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from mstgraph.data.labelled import UNKNOWN
from mstgraph.support.errors import nearest
from mstgraph.tasks.confusion import ConfusionMatrix, class_counts, rates, recalls
from mstgraph.tasks.divergence import kl_divergence
from mstgraph.tasks.imbalance import balanced_weights, count_classes, focal_factor
from mstgraph.tasks.responses import agreement, entropy, mean_response
from mstgraph.tasks.task import RECALL, Metric, Task

MARKED = 1024  # pixels of a map that tell on which share of a student's errors others are right


@dataclass(frozen=True)
class ClassTask(Task):
    """One of several classes: cross-entropy, KL divergence, a confusion matrix.

    Attributes:
        class_weights: what the task loss of a sample (pixel) of a class counts, ``{'owl': 5.0}``,
            1 where none is given; ``'balanced'`` takes them from the labelled training samples,
            see `mstgraph.tasks.imbalance.balanced_weights`; None weighs all alike.
        focal: γ of the focal loss, which makes less of what is easy; 0 is the cross-entropy.
        label_smoothing: share of a label that goes to all classes alike (Szegedy et al. 2016,
            Section 7, https://arxiv.org/abs/1512.00567).
    """

    exclusive_classes: ClassVar[bool] = True
    probabilities: ClassVar[bool] = True

    class_weights: Literal["balanced"] | Mapping[str, float] | None = None
    focal: float = 0.0
    label_smoothing: float = 0.0
    balanced: tuple[float, ...] | None = field(default=None, init=False, compare=False, repr=False)

    @property
    def num_outputs(self) -> int:
        """One logit for each class."""
        return len(self.labels.classes)

    @property
    def extras(self) -> tuple[Metric, ...]:
        """The recall of each single class, ``'recall:NAME'``."""
        return tuple(Metric(RECALL + name, f"recall of {name}") for name in self.classes)

    def problem(self) -> tuple[str, str] | None:
        """Refuse weights of no class or none at all, and shares that are none."""
        if isinstance(self.class_weights, Mapping):
            for name, weight in self.class_weights.items():
                if name not in self.classes:
                    return "class_weights", f"names '{name}'{nearest(str(name), self.classes)}"
                if not (isinstance(weight, (int, float)) and 0 <= weight < math.inf):
                    return "class_weights", f"is {weight} for '{name}', expected at least 0"
            if not any(self.class_weights.get(name, 1.0) for name in self.classes):
                return "class_weights", "is 0 for every class, so that nothing is learned"
        if not 0 <= self.focal < math.inf:
            return "focal", f"is {self.focal}, expected at least 0, such as 2.0"
        if not 0 <= self.label_smoothing < 1:
            return "label_smoothing", f"is {self.label_smoothing}, expected a share such as 0.1"
        return super().problem()

    def fitted(self, labels: Iterable[Tensor]) -> Task:
        """Return the task with balanced weights, if these are wanted."""
        if self.class_weights != "balanced":
            return self
        counts = count_classes(labels, self.num_outputs, self.labels.ignored)
        fitted = copy.copy(self)
        object.__setattr__(fitted, "balanced", tuple(balanced_weights(counts).tolist()))
        return fitted

    @property
    def weights(self) -> tuple[float, ...] | None:
        """What each class counts, or None: all alike, also where balance is not known yet."""
        if isinstance(self.class_weights, Mapping):
            return tuple(float(self.class_weights.get(name, 1.0)) for name in self.classes)
        return self.balanced

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of each sample, averaged over the pixels that count."""
        ignored = UNKNOWN if self.labels.ignored is None else self.labels.ignored
        known = labels.masked_fill(labels == UNKNOWN, ignored) if self.unlabelled else labels
        losses = F.cross_entropy(
            outputs,
            known,
            None if self.weights is None else outputs.new_tensor(self.weights),
            ignore_index=ignored,
            reduction="none",
            label_smoothing=self.label_smoothing,
        )
        if self.focal:
            losses = losses * focal_factor(outputs, known, self.focal)
        return self.labelled_average(losses, labels)

    def divergence(self, teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
        """Return KL(teacher ‖ student) of the softened distributions over the classes."""
        return kl_divergence(teacher, student, temperature)

    def combine(self, responses: Sequence[Tensor], weights: Tensor) -> Tensor:
        """Return the weighted mean of log-probabilities, as logits."""
        return mean_response(responses, weights)

    def uncertainty(self, outputs: Tensor) -> Tensor:
        """Return the entropy of each sample's response."""
        return entropy(outputs)

    def agreement(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the overlap of two distributions."""
        return agreement(one, other)

    def accumulator(self, device: torch.device | str = "cpu") -> ConfusionMatrix:
        """Return an empty confusion matrix."""
        names = tuple(metric.name for metric in self.metrics)
        return ConfusionMatrix(
            self.num_outputs, names, self.labels.ignored, device, self._single_classes
        )

    @property
    def _single_classes(self) -> dict[str, int]:
        """Name of a metric of a single class → the class."""
        return {name: self.classes.index(name.removeprefix(RECALL)) for name in self.measure}

    def contributions(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return how often each class is hit, labelled and predicted in each sample."""
        return class_counts(outputs.argmax(1), labels, self.counted(labels), self.num_outputs)

    def metrics_of(self, totals: Tensor) -> dict[str, Tensor]:
        """Return the metrics from sums of such counts, see `rates`."""
        values = rates(totals, self.labels.ignored) | recalls(totals, self._single_classes)
        return {metric.name: values[metric.name] for metric in self.measured}

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

    def right(self, contributions: Tensor) -> Tensor | None:
        """Return whose class is hit, for whole samples."""
        return None if self.dense else contributions[:, : self.num_outputs].sum(1) > 0
