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
from mstgraph.tasks.task import Accumulator, Task


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
        patterns: response → modalities that samples have ("audio + video") → their number under
            ``samples``, and the metrics over them, likewise; {} where all have the same.
        by_sample: statistic → its value of each sample, [samples, …] float, likewise; nan of one
            that takes no part in it.
    """

    loss: float
    metrics: Mapping[str, Mapping[str, float]]
    statistics: Mapping[str, Any] = field(default_factory=dict)
    contributions: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False)
    marks: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False)
    patterns: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    by_sample: Mapping[str, np.ndarray] = field(default_factory=dict, compare=False)

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for a JSON file."""
        patterns = {"patterns": dict(self.patterns)} if self.patterns else {}
        return {"loss": self.loss, "metrics": dict(self.metrics), **patterns, **self.statistics}


class _Account:
    """Adds up one stage's results, batch by batch."""

    def __init__(self, node: StageNode, task: Task, feed: Feed, by_sample: bool):
        device = feed.device
        self.node = node
        self.modalities = tuple(feed.pool.store.modalities)
        self.patterns: dict[str, dict[str, tuple[Accumulator, int]]] = {}
        self.task = task
        self.by_sample = by_sample
        self.contributions: dict[str, list[np.ndarray]] = {}
        self.marks: dict[str, list[np.ndarray]] = {}
        self.losses: list[Tensor] = []
        self.statistics: dict[str, list[Tensor]] = {}
        self.samples: dict[str, list[Tensor]] = {}  # statistics of those that contribute
        names = node.settings.reported(node)
        self.measured = {name: task.accumulator(device) for name in names}

    def add(self, batch: Batch) -> None:
        settings = self.node.settings
        rows = batch.labelled() if self.task.unlabelled else None
        losses = _of(settings.validation_loss(self.node, batch), rows)
        there = settings.judged(self.node, batch)
        self.losses.append(_of(losses, None if there is None else _of(there, rows)))
        labels = _of(batch.labels, rows)
        patterns = batch.patterns(self.modalities) if self.by_sample else {}
        for name, accumulator in self.measured.items():
            outputs, own = _of(batch.response(name), rows), batch.there(name)
            if own is None and patterns:
                own = torch.ones(len(batch), dtype=torch.bool, device=labels.device)
            own = None if own is None else _of(own, rows)
            accumulator.update(_of(outputs, own), _of(labels, own))
            if self.by_sample:
                self._keep_samples(name, outputs, labels, own)
            for pattern, having in patterns.items():
                assert own is not None
                chosen = _of(having, rows) & own
                self._measure_pattern(name, pattern, outputs[chosen], labels[chosen])
        for name, values in settings.statistics(self.node, batch).items():
            self.statistics.setdefault(name, []).append(values)
            if self.by_sample:
                self.samples.setdefault(name, []).append(_of(values, rows))

    def _keep_samples(self, name: str, outputs: Tensor, labels: Tensor, own: Tensor | None) -> None:
        """Keep what each sample contributes: nothing where the response takes no part."""
        contributions = self.task.contributions(outputs, labels)
        marks = self.task.marks(outputs, labels)
        if own is not None:
            gone = (~own).unsqueeze(1)
            if contributions is not None:
                right = self.task.right(contributions) if marks is None else None
                # Neither right nor wrong is a third thing, which contributions do not tell.
                marks = marks if right is None else right.to(torch.uint8).unsqueeze(1) + 1
                contributions = contributions.masked_fill(gone, 0)
            marks = None if marks is None else marks.masked_fill(gone, 0)
        self._keep(name, contributions)
        if marks is not None:
            self.marks.setdefault(name, []).append(marks.cpu().numpy())

    def _measure_pattern(self, name: str, pattern: str, outputs: Tensor, labels: Tensor) -> None:
        """Measure the samples of one pattern of presence by themselves."""
        found = self.patterns.setdefault(name, {})
        if pattern not in found:
            found[pattern] = self.task.accumulator(labels.device), 0
        accumulator, count = found[pattern]
        accumulator.update(outputs, labels)
        found[pattern] = accumulator, count + len(labels)

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
            statistics={n: _mean_of_known(v).tolist() for n, v in statistics.items()},
            contributions={n: np.concatenate(found) for n, found in self.contributions.items()},
            marks={n: np.concatenate(found) for n, found in self.marks.items()},
            patterns=self._by_pattern(),
            by_sample={n: torch.cat(v).float().cpu().numpy() for n, v in self.samples.items()},
        )

    def _by_pattern(self) -> dict[str, dict[str, dict[str, float]]]:
        """Return response → pattern of presence → metrics; {} where all samples have the same."""
        if len({pattern for found in self.patterns.values() for pattern in found}) < 2:
            return {}
        return {
            name: {
                pattern: {"samples": count, **accumulator.metrics()}
                for pattern, (accumulator, count) in sorted(found.items())
                if count
            }
            for name, found in self.patterns.items()
        }


def _of(values: Tensor, rows: Tensor | None) -> Tensor:
    """Return the values of some samples ([batch] bool), [n, ...]; None: of all."""
    return values if rows is None else values[rows]


def _mean_of_known(values: Tensor) -> Tensor:
    """Average over the samples that take part, [samples, ...] → [...] float64."""
    gone = values.reshape(len(values), -1).isnan().any(1)
    return values[~gone].double().mean(0)


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
    networks.ready(())
    accounts = [_Account(node, task, feed, by_sample) for node in nodes]
    for number, (inputs, labels, positions) in enumerate(feed.epoch(batch_size)):
        seed_python(derive_seed(0, "evaluation", number))
        shared = networks.shared(Shared(inputs, labels, positions, kept, feed.lengths(positions)))
        for account in accounts:
            account.add(Batch(account.node, networks, shared, task))
    return [account.result() for account in accounts]
