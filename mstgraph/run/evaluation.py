"""What responses are worth on a split: metrics, the selection loss, a stage's own statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from mstgraph.data.feed import Feed
from mstgraph.run.batch import Batch, Networks, Shared
from mstgraph.run.kept import Kept
from mstgraph.stages.node import Forward
from mstgraph.stages.stage import StageNode
from mstgraph.tasks.task import Task


@dataclass(frozen=True)
class Evaluation:
    """A stage's results on a split.

    Attributes:
        loss: mean of the stage's selection loss over the samples.
        metrics: response → metric → value.
        statistics: name → mean over the samples (nested lists), such as routing shares.
    """

    loss: float
    metrics: Mapping[str, Mapping[str, float]]
    statistics: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for a JSON file."""
        return {"loss": self.loss, "metrics": dict(self.metrics), **self.statistics}


class _Account:
    """Adds up one stage's results, batch by batch."""

    def __init__(self, node: StageNode, task: Task, device: torch.device):
        self.node = node
        self.task = task
        self.losses: list[Tensor] = []
        self.statistics: dict[str, list[Tensor]] = {}
        names = node.settings.reported(node)
        self.measured = {name: task.accumulator(device) for name in names}

    def add(self, batch: Batch) -> None:
        settings = self.node.settings
        losses, labels, rows = settings.validation_loss(self.node, batch), batch.labels, None
        if self.task.unlabelled:
            rows = batch.labelled()
            losses, labels = losses[rows], labels[rows]
        self.losses.append(losses)
        for name, accumulator in self.measured.items():
            response = batch.response(name)
            accumulator.update(response if rows is None else response[rows], labels)
        for name, values in settings.statistics(self.node, batch).items():
            self.statistics.setdefault(name, []).append(values)

    def result(self) -> Evaluation:
        return Evaluation(
            loss=float(torch.cat(self.losses).double().mean()),
            metrics={name: found.metrics() for name, found in self.measured.items()},
            statistics={
                name: torch.cat(values).double().mean(0).tolist()
                for name, values in self.statistics.items()
            },
        )


@torch.no_grad()
def evaluate(
    nodes: Sequence[StageNode],
    networks: Networks,
    feed: Feed,
    task: Task,
    batch_size: int,
    kept: Mapping[Forward | str, Kept],
) -> list[Evaluation]:
    """Evaluate the responses that stages report on a split, every network in eval mode.

    Args:
        nodes: stages that share their networks.
        networks: their networks.
        feed: the split.
        task: the task, for metrics.
        batch_size: samples per batch.
        kept: what is kept of this split.

    Returns:
        The result of each stage, in order.
    """
    for module in networks.modules.values():
        module.eval()
    accounts = [_Account(node, task, feed.device) for node in nodes]
    for inputs, labels, positions in feed.epoch(batch_size):
        shared = Shared(inputs, labels, positions, kept)
        for account in accounts:
            account.add(Batch(account.node, networks, shared, task))
    return [account.result() for account in accounts]
