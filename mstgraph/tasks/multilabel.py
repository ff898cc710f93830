"""Multi-label classification: of each class whether it applies, any number of them at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import gin
import torch
from torch import Tensor
from torch.nn import functional as F

from mstgraph.tasks.divergence import bernoulli_divergence
from mstgraph.tasks.ranking import average_precision
from mstgraph.tasks.task import RECALL, Metric
from mstgraph.tasks.vectors import VectorTask

MAP = Metric("mAP", "mAP")
MACRO = Metric("F1-macro", "macro F1")
MICRO = Metric("F1-micro", "micro F1")
SUBSET = Metric("subset", "subset accuracy")
BLOCKS = 5  # of a contribution, each as long as a label; two numbers of the whole sample follow


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class MultiLabel(VectorTask):
    """A yes or no for each class: binary cross-entropy, divergence of Bernoulli variables.

    Outputs are logits; a class is predicted where its probability is above one half. Metrics are
    defined as in scikit-learn (`average_precision_score`, `f1_score`, `accuracy_score`), but that
    mAP leaves out classes that never apply, of which nothing can be ranked.
    """

    kind: ClassVar[str] = "multilabel"
    metrics: ClassVar[tuple[Metric, ...]] = (MAP, MACRO, MICRO, SUBSET)
    primary: ClassVar[Metric] = MAP
    probabilities: ClassVar[bool] = True

    @property
    def extras(self) -> tuple[Metric, ...]:
        """The recall of each single class, ``'recall:NAME'``."""
        return tuple(Metric(RECALL + name, f"recall of {name}") for name in self.classes)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the binary cross-entropy of each sample, averaged over its known classes."""
        losses = F.binary_cross_entropy_with_logits(outputs, labels.to(outputs), reduction="none")
        return self.mean_of_places(losses, labels)

    def divergence(self, teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
        """Return KL(teacher ‖ student) of softened Bernoulli variables, averaged over classes."""
        return bernoulli_divergence(teacher, student, temperature).mean(dim=1)

    def uncertainty(self, outputs: Tensor) -> Tensor:
        """Return the mean entropy over the classes, in nats."""
        p = outputs.sigmoid()
        return -(p * F.logsigmoid(outputs) + (1 - p) * F.logsigmoid(-outputs)).mean(dim=1)

    def agreement(self, one: Tensor, other: Tensor) -> Tensor:
        """Return 1 − |p − q| averaged over the classes: the overlap of Bernoulli variables."""
        return 1 - (one.sigmoid() - other.sigmoid()).abs().mean(dim=1)

    def contributions(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return what each sample adds, [batch, 5 × classes + 2] float.

        Of each class whether it is hit, predicted, applies and is known, and its logit; then
        whether all of the sample is right, and whether it counts.
        """
        counted = self.counted(labels)
        known = torch.ones_like(labels, dtype=torch.bool) if counted is None else counted
        predicted, applies = (outputs > 0) & known, (labels == 1) & known
        some = known.any(dim=1, keepdim=True)
        right = (predicted == applies).all(dim=1, keepdim=True) & some
        blocks = predicted & applies, predicted, applies, known, outputs * known, right, some
        kind = torch.promote_types(outputs.dtype, torch.float32)
        return torch.cat([block.to(kind) for block in blocks], dim=1)

    def metrics_of(self, totals: Tensor) -> dict[str, Tensor]:
        """Return all but mAP, which no totals give, see `ranked`."""
        (hits, predicted, applies, _, _), (right, count) = self._parts(totals.double())
        f1 = 2 * hits / (predicted + applies).clamp(min=1)
        both = (predicted + applies).sum(-1).clamp(min=1)
        values = {
            MACRO.name: f1.mean(-1),
            MICRO.name: 2 * hits.sum(-1) / both,
            SUBSET.name: right / count,
        }
        for place, name in enumerate(self.classes):
            values[RECALL + name] = hits[..., place] / applies[..., place]
        return {m.name: values[m.name] for m in self.measured if m.name in values}

    def ranked(self, weights: Tensor, contributions: Tensor) -> dict[str, Tensor]:
        """Return mAP under each draw, averaged over the classes that apply to a sample in it."""
        (_, _, applies, known, logits), _ = self._parts(contributions)
        found = []
        for place in range(self.num_outputs):
            rows = known[:, place] > 0
            own = logits[rows, place], applies[rows, place]
            found.append(average_precision(*own, weights[:, rows]))
        return {MAP.name: torch.stack(found).nanmean(dim=0)}

    def alike(self, one: Tensor, other: Tensor) -> Tensor:
        """Return where the same classes are predicted."""
        first, second = (self._parts(rows)[0][1] for rows in (one, other))
        return (first == second).all(dim=1)

    def right(self, contributions: Tensor) -> Tensor:
        """Return where all classes are right."""
        return self._parts(contributions)[1][0] > 0

    def _parts(self, values: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Return the blocks of classes, [..., classes] each, and the last two numbers."""
        ends = [self.num_outputs] * BLOCKS
        *blocks, whole = values.split([*ends, 2], dim=-1)
        return tuple(blocks), whole.unbind(-1)
