"""Salience: how much each feature of a teacher matters to what it shares with the student.

Xue et al., ICLR 2023, https://arxiv.org/abs/2206.06487, the ranking of modality-general decisive
features: permute one feature across the samples, and see how far the teacher's logits then lie
from the student's. Nothing is trained; what is measured stays in a `FeatureSelection`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import gin
import torch
from torch import Tensor

from mstgraph.methods.mgdfr import FeatureSelection, LogitMSE
from mstgraph.stages.node import Batch
from mstgraph.stages.stage import Place, Selection, Stage, StageNode, Term
from mstgraph.support.errors import UserError


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class Salience(Stage):
    """One pass over the training split measures a frozen teacher's features.

    Attributes:
        repeats: permutations of each feature that is tested on a batch. Every batch draws its own,
            so an epoch averages as many permutations as it has batches; more than 1 sharpens the
            ranking of small splits alone.
        dimensions_per_batch: how many features a batch tests, by turns; None: all of them. The
            teacher answers once for each, so large dense networks take fewer. An epoch must come
            round to all.
    """

    kind: ClassVar[str] = "sta"
    place: ClassVar[Place] = "mask"
    learns_by_gradient: ClassVar[bool] = False

    epochs: int = 1
    select: Selection = "last"
    repeats: int = 1
    dimensions_per_batch: int | None = None

    @torch.no_grad()
    def losses(self, node: StageNode, batch: Batch, epoch: int) -> Mapping[str, Term]:
        """Measure a batch; return the disagreement with all features, and without one each."""
        selection = self._selection(node, batch)
        seen, there = batch.there(node.teachers[0].name), self.judged(node, batch)
        if there is not None and not there.any():
            nothing = torch.zeros((), device=there.device)
            return {name: Term(nothing, samples=there.sum()) for name in ("whole", "permuted")}
        with selection.observing():
            whole = self._distances(node, batch)
        # Among the samples that the teacher sees: what it never sees takes no place.
        size = len(batch) if seen is None else int(seen.sum())
        permuted = []
        for index in selection.next_features(self.dimensions_per_batch):
            for _ in range(self.repeats):
                order = torch.randperm(size, device=whole.device)
                with selection.permuting(index, order):
                    permuted.append(self._distances(node, batch))
                selection.add(index, permuted[-1] if there is None else permuted[-1][there])
        mean, count = batch.mean(torch.stack(permuted, 1), there).mean(), batch.count(there)
        return {
            "whole": Term(batch.mean(whole, there), samples=count),
            "permuted": Term(mean, samples=count),
        }

    def judged(self, node: StageNode, batch: Batch) -> Tensor | None:
        """Return the samples that student and teacher take part in."""
        return batch.there(node.student, node.teachers[0].name)

    def validation_loss(self, node: StageNode, batch: Batch) -> Tensor:
        """Return how far student and teacher with selected features are apart, of each sample."""
        selection = self._selection(node, batch)
        if untested := selection.untested():
            raise UserError(
                f"Salience.dimensions_per_batch is {self.dimensions_per_batch}, which leaves "
                f"{untested} of {len(selection.tested)} features of the teacher "
                f"'{node.teachers[0].name}' untested after an epoch, expected more, or None for all"
            )
        student, teacher = batch.response(node.student), batch.response(node.teachers[0].name)
        return batch.divergence(LogitMSE(), teacher, student)

    def reported(self, node: StageNode) -> tuple[str, ...]:
        """Return the teacher with its selected features."""
        return (node.teachers[0].name,)

    def problem(self, node: StageNode) -> tuple[str, str] | None:
        """Refuse to test nothing."""
        if self.repeats < 1:
            return "repeats", f"is {self.repeats}, expected at least 1"
        if self.dimensions_per_batch is not None and self.dimensions_per_batch < 1:
            return "dimensions_per_batch", f"is {self.dimensions_per_batch}, expected at least 1"
        return super().problem(node)

    def _selection(self, node: StageNode, batch: Batch) -> FeatureSelection:
        module = batch.module(node.trains[0])
        if not isinstance(module, FeatureSelection):
            raise UserError(
                f"Salience measures for a FeatureSelection, but the mask of "
                f"'{node.teachers[0].name}' is a {type(module).__name__}, expected Member.mask = "
                "@FeatureSelection"
            )
        return module

    def _distances(self, node: StageNode, batch: Batch) -> Tensor:
        """Return the disagreement of each sample, the teacher's response computed anew, [batch]."""
        teacher = batch.response(node.teachers[0].name, anew=True)
        return batch.divergence(LogitMSE(), teacher, batch.response(node.student))
