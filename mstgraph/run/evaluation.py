"""What responses are worth on a split: metrics, the selection loss, a stage's own statistics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mstgraph.data.feed import Feed
from mstgraph.run.batch import Batch
from mstgraph.run.kept import Kept
from mstgraph.run.networks import Networks, Shared
from mstgraph.stages.node import Question
from mstgraph.stages.stage import StageNode
from mstgraph.support.seeds import derive_seed, seed_python
from mstgraph.tasks.task import Task


@dataclass(frozen=True)
class Evaluation:
    """A stage's results on a split.

    Attributes:
        loss: mean of the stage's selection loss over the samples.
        metrics: response → metric → value.
        statistics: name → mean over the samples (nested lists), such as routing shares.
        contributions: response → what each sample adds (`mstgraph.tasks.task.Task.contributions`),
            [samples, statistics], where that was asked for and the task offers it.
        marks: response → where it is right (`mstgraph.tasks.task.Task.marks`), [samples, places],
            likewise.
        by_sample: statistic → its value of each sample, [samples, …] float, likewise.
    """

    loss: float
    metrics: Mapping[str, Mapping[str, float]]
    statistics: Mapping[str, Any] = field(default_factory=dict)
    contributions: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False)
    marks: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False)
    by_sample: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for a JSON file."""
        return {"loss": self.loss, "metrics": dict(self.metrics), **self.statistics}


class _Account:
    """Adds up one stage's results, batch by batch."""

    def __init__(self, node: StageNode, task: Task, device: torch.device, by_sample: bool):
        self.node = node
        self.task = task
        self.by_sample = by_sample
        self.contributions: dict[str, list[np.ndarray]] = {}
        self.marks: dict[str, list[np.ndarray]] = {}
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
            outputs = response if rows is None else response[rows]
            accumulator.update(outputs, labels)
            if self.by_sample:
                self._keep(name, self.task.contributions(outputs, labels))
                if (marks := self.task.marks(outputs, labels)) is not None:
                    self.marks.setdefault(name, []).append(marks.cpu().numpy())
        for name, values in settings.statistics(self.node, batch).items():
            self.statistics.setdefault(name, []).append(values)

    def _keep(self, name: str, contributions: Tensor | None) -> None:
        if contributions is not None:
            whole = not contributions.is_floating_point()
            kept = contributions.to(torch.int32) if whole else contributions
            self.contributions.setdefault(name, []).append(kept.cpu().numpy())

    def result(self) -> Evaluation:
        statistics = {name: torch.cat(values) for name, values in self.statistics.items()}
        return Evaluation(
            loss=float(torch.cat(self.losses).double().mean()),
            metrics={name: found.metrics() for name, found in self.measured.items()},
            statistics={n: values.double().mean(0).tolist() for n, values in statistics.items()},
            contributions={n: np.concatenate(found) for n, found in self.contributions.items()},
            marks={n: np.concatenate(found) for n, found in self.marks.items()},
            by_sample={n: values.float().cpu().numpy() for n, values in statistics.items()}
            if self.by_sample
            else {},
        )


@torch.no_grad()
def evaluate(
    nodes: Sequence[StageNode],
    networks: Networks,
    feed: Feed,
    task: Task,
    batch_size: int,
    kept: Mapping[Question, Kept],
    by_sample: bool = False,
) -> list[Evaluation]:
    """Evaluate the responses that stages report on a split, every network in eval mode.

    Args:
        nodes: stages that share their networks.
        networks: their networks.
        feed: the split.
        task: the task, for metrics.
        batch_size: samples per batch.
        kept: what is kept of this split.
        by_sample: whether what each sample contributes is wanted, too.

    Returns:
        The result of each stage, in order.
    """
    for module in networks.modules.values():
        module.eval()
    accounts = [_Account(node, task, feed.device, by_sample) for node in nodes]
    for number, (inputs, labels, positions) in enumerate(feed.epoch(batch_size)):
        seed_python(derive_seed(0, "evaluation", number))
        shared = Shared(inputs, labels, positions, kept)
        for account in accounts:
            account.add(Batch(account.node, networks, shared, task))
    return [account.result() for account in accounts]
