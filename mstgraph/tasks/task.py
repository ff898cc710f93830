"""Classification and segmentation: the task loss of each sample, and the metrics of a split.

Metrics come from one streaming confusion matrix (Section 4; the paper averages recalls over the
classes that occur and intersections over the classes that occur or are predicted). Libraries
differ from that in what they do with absent classes, so they serve as oracles in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mstgraph.store.recipe import Labels

METRIC_TITLES = {"OA": "OA", "AA": "AA", "mIoU": "mIoU", "F1": "F1", "kappa": "κ"}


@dataclass(frozen=True)
class Task:
    """What is predicted: one label per sample, or one per pixel.

    Attributes:
        num_outputs: number of classes = outputs of every network.
        classes: names of the classes.
        extent: (height, width) of the labels of a segmentation, () for a classification.
        ignored: label left out of losses and metrics, or None.
    """

    num_outputs: int
    classes: tuple[str, ...]
    extent: tuple[int, ...] = ()
    ignored: int | None = None

    @classmethod
    def of(cls, labels: Labels) -> Task:
        """Return the task that a store's labels ask for."""
        return cls(len(labels.classes), tuple(labels.classes), tuple(labels.shape), labels.ignored)

    @property
    def dense(self) -> bool:
        """Whether every pixel has a label of its own."""
        return bool(self.extent)

    @property
    def primary(self) -> str:
        """The metric that a best epoch may be chosen by and that progress bars show."""
        return "mIoU" if self.dense else "OA"

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that the paper reports for this task."""
        return ("OA", "AA", "mIoU") if self.dense else ("OA", "AA", "F1", "kappa")

    def cross_entropy(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the cross-entropy of each sample (Eq. 1, 15), averaged over its labelled pixels.

        Args:
            logits: [batch, num_outputs] or [batch, num_outputs, height, width] float.
            labels: [batch] or [batch, height, width] int64.

        Returns:
            [batch] float; 0 for a sample without a label.
        """
        ignored = -100 if self.ignored is None else self.ignored
        losses = F.cross_entropy(logits, labels, ignore_index=ignored, reduction="none")
        return self.average(losses, labels)

    def average(self, values: Tensor, labels: Tensor) -> Tensor:
        """Average a value per pixel over the labelled pixels of each sample.

        Args:
            values: [batch] or [batch, height, width] float.
            labels: [batch] or [batch, height, width] int64.

        Returns:
            [batch] float; 0 for a sample without a labelled pixel.
        """
        if self.ignored is None:
            return values.flatten(1).mean(1) if self.dense else values
        counted = labels != self.ignored
        # where, not a product: an ignored value may be infinite
        values = torch.where(counted, values, torch.zeros_like(values))
        if not self.dense:
            return values
        return values.flatten(1).sum(1) / counted.flatten(1).sum(1).clamp(min=1)


class ConfusionMatrix:
    """Streaming confusion matrix on the device; rows are labels, columns are predictions."""

    def __init__(self, task: Task, device: torch.device | str = "cpu"):
        self.task = task
        size = task.num_outputs
        # One more cell takes the ignored labels, which need not be indices of classes.
        self.counts = torch.zeros(size * size + 1, dtype=torch.int64, device=device)

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            logits: [batch, num_outputs] or [batch, num_outputs, height, width] float.
            labels: [batch] or [batch, height, width] int64.
        """
        cells = labels.flatten() * self.task.num_outputs + logits.argmax(1).flatten()
        if self.task.ignored is not None:
            cells = cells.masked_fill(labels.flatten() == self.task.ignored, len(self.counts) - 1)
        # Integer addition is exact in any order.
        self.counts.index_add_(0, cells, torch.ones_like(cells))

    def metrics(self) -> dict[str, float]:
        """Return the task's metrics, see `metrics_of`."""
        size = self.task.num_outputs
        return metrics_of(self.counts[:-1].view(size, size).cpu(), self.task)


def metrics_of(counts: Tensor, task: Task) -> dict[str, float]:
    """Compute the paper's metrics from a confusion matrix.

    Args:
        counts: [num_outputs, num_outputs] int64, rows labels, columns predictions.
        task: says which label is ignored and which metrics are wanted.

    Returns:
        Name → value in [0, 1] (κ in [-1, 1]); nan where no sample is labelled. OA is the share of
        correct ones, AA the mean recall over classes that occur, mIoU the mean over classes that
        occur or are predicted, F1 the mean weighted by support, kappa Cohen's.
    """
    counts = counts.double()
    ignored = task.ignored if task.ignored in range(task.num_outputs) else None
    if ignored is not None:
        counts = counts.clone()
        counts[ignored] = 0
    hits, support, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    total = counts.sum()
    present, union = support > 0, support + predicted - hits
    agreement, chance = hits.sum() / total, (support * predicted).sum() / total**2
    f1 = 2 * hits / (support + predicted).clamp(min=1)
    values = {
        "OA": agreement,
        "AA": (hits[present] / support[present]).mean(),
        "mIoU": _mean_over(hits, union, union > 0, ignored),
        "F1": (f1 * support).sum() / total,
        # Every prediction and label in one class: agreement is all there can be.
        "kappa": (agreement - chance) / (1 - chance) if chance < 1 else agreement * 0 + 1,
    }
    return {name: float(values[name]) for name in task.metrics}


def _mean_over(hits: Tensor, union: Tensor, counted: Tensor, ignored: int | None) -> Tensor:
    if ignored is not None:
        counted = counted.clone()
        counted[ignored] = False  # predicting "unlabelled" is an error, not a class
    return (hits[counted] / union[counted]).mean()
