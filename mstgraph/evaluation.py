"""What responses are worth on a split: metrics, the selection loss, a stage's own statistics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from mstgraph.batch import Batch, Responder
from mstgraph.feed import Feed
from mstgraph.plan import StageNode
from mstgraph.tasks import ConfusionMatrix, Task


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


@torch.no_grad()
def evaluate(
    node: StageNode,
    modules: Mapping[str, nn.Module],
    inputs_of: Mapping[str, tuple[str, ...]],
    feed: Feed,
    task: Task,
    batch_size: int,
) -> Evaluation:
    """Evaluate a stage's reported responses on a split, every network in eval mode.

    Args:
        node: the stage.
        modules: name of a part → module.
        inputs_of: member → its modalities.
        feed: the split.
        task: the task, for metrics.
        batch_size: samples per batch.
    """
    for module in modules.values():
        module.eval()
    responder = Responder(node, modules, inputs_of)
    names = node.settings.reported(node)
    matrices = {name: ConfusionMatrix(task, feed.device) for name in names}
    losses: list[Tensor] = []
    statistics: dict[str, list[Tensor]] = {}
    for inputs, labels in feed.epoch(batch_size):
        batch = Batch(inputs, labels, responder, task)
        losses.append(node.settings.validation_loss(node, batch))
        for name in names:
            matrices[name].update(batch.response(name), labels)
        for name, values in node.settings.statistics(node, batch).items():
            statistics.setdefault(name, []).append(values)
    return Evaluation(
        loss=float(torch.cat(losses).double().mean()),
        metrics={name: matrix.metrics() for name, matrix in matrices.items()},
        statistics={n: torch.cat(v).double().mean(0).tolist() for n, v in statistics.items()},
    )
