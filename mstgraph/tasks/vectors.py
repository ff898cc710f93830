"""What tasks have in common of which a label is a vector, a place of it for each output."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mstgraph.tasks.task import Task


@dataclass(frozen=True)
class VectorTask(Task):
    """Every output has a label of its own; what is unknown is unknown place by place."""

    @property
    def num_outputs(self) -> int:
        """One for each place."""
        return len(self.labels.classes)

    @property
    def extent(self) -> tuple[int, ...]:
        """Outputs are vectors."""
        return ()

    def labelled_average(self, values: Tensor, labels: Tensor) -> Tensor:
        """Return the values of samples with a label in some place, 0 of others: [batch]."""
        counted = self.counted(labels)
        return values if counted is None else values.masked_fill(~counted.any(dim=1), 0)

    def mean_of_places(self, values: Tensor, labels: Tensor) -> Tensor:
        """Average over the known places of each sample, [batch, places] → [batch]; 0 of none."""
        counted = self.counted(labels)
        if counted is None:
            return values.mean(dim=1)
        return values.masked_fill(~counted, 0).sum(1) / counted.sum(1).clamp(min=1)

    def accumulator(self, device: torch.device | str = "cpu") -> Rows:
        """Return what keeps the contributions of a split."""
        return Rows(self)


class Rows:
    """Keeps what each sample contributes, on the device: what is ranked needs all of a split."""

    def __init__(self, task: VectorTask):
        self.task = task
        self.rows: list[Tensor] = []

    def update(self, outputs: Tensor, labels: Tensor) -> None:
        """Add a batch."""
        contributions = self.task.contributions(outputs, labels)
        assert contributions is not None
        self.rows.append(contributions)

    def metrics(self) -> dict[str, float]:
        """Return the metrics of all samples so far."""
        rows = torch.cat(self.rows).double().cpu()
        totals, once = rows.sum(0), rows.new_ones(1, len(rows))
        values = {**self.task.metrics_of(totals), **self.task.ranked(once, rows)}
        return {metric.name: float(values[metric.name]) for metric in self.task.measured}
