"""Metrics of classes, all of them from one streaming confusion matrix (Section 4).

The paper averages recalls over the classes that occur and intersections over the classes that occur
or are predicted. Libraries differ from that in what they do with absent classes, so they serve as
oracles in the tests.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    """

    def __init__(
        self,
        size: int,
        names: Sequence[str],
        ignored: int | None = None,
        device: torch.device | str = "cpu",
    ):
        self.size = size
        self.names = names
        self.ignored = ignored
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
        return {name: values[name] for name in self.names}


def metrics_of(counts: Tensor, ignored: int | None = None) -> dict[str, float]:
    """Compute the paper's metrics from a confusion matrix.

    Args:
        counts: [size, size] int64, rows labels, columns predictions.
        ignored: the label that does not count, or None.

    Returns:
        Name → value in [0, 1] (κ in [-1, 1]); nan where no sample is labelled. OA is the share of
        correct ones, AA the mean recall over classes that occur, mIoU the mean over classes that
        occur or are predicted, F1 the mean weighted by support, kappa Cohen's.
    """
    counts = counts.double()
    ignored = ignored if ignored in range(len(counts)) else None
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
    return {name: float(value) for name, value in values.items()}


def _mean_over(hits: Tensor, union: Tensor, counted: Tensor, ignored: int | None) -> Tensor:
    if ignored is not None:
        counted = counted.clone()
        counted[ignored] = False  # predicting "unlabelled" is an error, not a class
    return (hits[counted] / union[counted]).mean()
