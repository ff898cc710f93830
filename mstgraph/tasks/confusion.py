"""Metrics of classes, all of them from one streaming confusion matrix (Section 4).

The paper averages recalls over the classes that occur and intersections over the classes that occur
or are predicted. Libraries differ from that in what they do with absent classes, so they serve as
oracles in the tests.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mstgraph.tasks.task import Metric

OA = Metric("OA", "OA")
AA = Metric("AA", "AA")
MIOU = Metric("mIoU", "mIoU")
F1 = Metric("F1", "F1")
KAPPA = Metric("kappa", "κ")


class ConfusionMatrix:
    """Streaming confusion matrix on the device; rows are labels, columns are predictions.

    Args:
        size: number of classes.
        names: of the metrics that are wanted, see `metrics_of`.
        ignored: the label that does not count, or None.
        device: where the counts are.
        single: name of a metric → the class whose recall it is.
    """

    def __init__(
        self,
        size: int,
        names: Sequence[str],
        ignored: int | None = None,
        device: torch.device | str = "cpu",
        single: Mapping[str, int] | None = None,
    ):
        self.size = size
        self.names = names
        self.ignored = ignored
        self.single = single or {}
        # One more cell takes the ignored and unknown labels, which need not be indices of classes.
        self.counts = torch.zeros(size * size + 1, dtype=torch.int64, device=device)

    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            outputs: logits, [batch, size] or [batch, size, height, width] float.
            labels: [batch] or [batch, height, width] int64.
        """
        labels = labels.flatten()
        cells = labels * self.size + outputs.argmax(1).flatten()
        uncounted = labels < 0  # unknown ones
        if self.ignored is not None:
            uncounted = uncounted | (labels == self.ignored)
        cells = cells.masked_fill(uncounted, len(self.counts) - 1)
        # Integer addition is exact in any order.
        self.counts.index_add_(0, cells, torch.ones_like(cells))

    def metrics(self) -> dict[str, float]:
        """Return the metrics that are wanted, see `metrics_of`."""
        counts = self.counts[:-1].view(self.size, self.size).cpu()
        values = metrics_of(counts, self.ignored)
        own = recalls(totals_of(counts, self.ignored), self.single)
        return {
            **{name: values[name] for name in self.names},
            **{name: float(value) for name, value in own.items()},
        }


def class_counts(predicted: Tensor, labels: Tensor, counted: Tensor | None, size: int) -> Tensor:
    """Count for each sample how often each class is hit, labelled and predicted.

    Args:
        predicted: classes, [batch, *extent] int64.
        labels: [batch, *extent] int64.
        counted: which labels count, bool of their shape; None for all.
        size: number of classes.

    Returns:
        [batch, 3 × size] int64.
    """
    # One more cell takes what does not count.
    counts = torch.zeros(len(labels), 3 * size + 1, dtype=torch.int64, device=labels.device)
    counted = torch.ones_like(labels, dtype=torch.bool) if counted is None else counted
    hit = counted & (predicted == labels)
    for block, (classes, where) in enumerate(
        [(labels, hit), (labels, counted), (predicted, counted)]
    ):
        cells = (classes + block * size).masked_fill(~where, 3 * size).reshape(len(labels), -1)
        counts.scatter_add_(1, cells, torch.ones_like(cells))
    return counts[:, :-1]


def metrics_of(counts: Tensor, ignored: int | None = None) -> dict[str, float]:
    """Compute the paper's metrics from a confusion matrix, see `rates`.

    Args:
        counts: [size, size] int64, rows labels, columns predictions.
        ignored: the label that does not count, or None.
    """
    totals = totals_of(counts, ignored)
    return {name: float(value) for name, value in rates(totals, ignored).items()}


def totals_of(counts: Tensor, ignored: int | None = None) -> Tensor:
    """Return how often each class is hit, labelled and predicted, from a confusion matrix."""
    if ignored in range(len(counts)):
        counts = counts.clone()
        counts[ignored] = 0
    return torch.cat([counts.diagonal(), counts.sum(1), counts.sum(0)])


def rates(totals: Tensor, ignored: int | None = None) -> dict[str, Tensor]:
    """Compute the paper's metrics from how often each class is hit, labelled and predicted.

    Args:
        totals: [..., 3 × size], sums of `class_counts`.
        ignored: the label that does not count, or None.

    Returns:
        Name → [...] float64 in [0, 1] (κ in [-1, 1]); nan where no sample is labelled. OA is the
        share of correct ones, AA the mean recall over classes that occur, mIoU the mean over
        classes that occur or are predicted, F1 the mean weighted by support, kappa Cohen's.
    """
    hits, support, predicted = totals.double().unflatten(-1, (3, -1)).unbind(-2)
    total = support.sum(-1)
    union = support + predicted - hits
    counted = union > 0
    if ignored in range(counted.shape[-1]):
        counted[..., ignored] = False  # predicting "unlabelled" is an error, not a class
    agreement, chance = hits.sum(-1) / total, (support * predicted).sum(-1) / total**2
    f1 = 2 * hits / (support + predicted).clamp(min=1)
    return {
        "OA": agreement,
        "AA": _mean_over(hits, support, support > 0),
        "mIoU": _mean_over(hits, union, counted),
        "F1": (f1 * support).sum(-1) / total,
        # Every prediction and label in one class: agreement is all there can be.
        "kappa": torch.where(chance < 1, (agreement - chance) / (1 - chance), agreement * 0 + 1),
    }


def recalls(totals: Tensor, single: Mapping[str, int]) -> dict[str, Tensor]:
    """Return name → recall of a single class, [...] float64; nan where it does not occur.

    Args:
        totals: [..., 3 × size], sums of `class_counts`.
        single: name → the class.
    """
    hits, support, _ = totals.double().unflatten(-1, (3, -1)).unbind(-2)
    return {name: hits[..., index] / support[..., index] for name, index in single.items()}


def _mean_over(hits: Tensor, of: Tensor, counted: Tensor) -> Tensor:
    shares = torch.where(counted, hits / of, torch.zeros_like(hits))
    return shares.sum(-1) / counted.sum(-1)
