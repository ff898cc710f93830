"""MGDFR: a teacher that speaks through the features that matter to both modalities.

Xue et al., ICLR 2023, "The Modality Focusing Hypothesis", https://arxiv.org/abs/2206.06487,
modality-general decisive feature ranking: teacher and student train together until their logits
agree (`LogitMSE` as the alignment of CI); a teacher's feature is salient if the two disagree once
it is permuted (`mstgraph.stages.salience`); a fresh student then learns from a teacher that keeps
its most salient features only (`FeatureSelection`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import gin
import torch
from torch import Tensor, nn

from mstgraph.methods.loss import ResponseLoss
from mstgraph.support.errors import UserError
from mstgraph.tasks.task import Task


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class LogitMSE(ResponseLoss):
    """Squared difference of the logits, averaged over the outputs."""

    def compare(self, task: Task, teacher: Tensor, student: Tensor) -> Tensor:
        """Return the difference of each sample or pixel, [batch, ...] float."""
        return (teacher - student).square().mean(1)


@gin.configurable(module="mstgraph")
class FeatureSelection(nn.Module):
    """Passes on the most salient features of a layer and replaces the others by their mean.

    A feature is a channel with all its positions. It has no parameters: the stage `Salience`
    measures the salience and the means, which stay in buffers. The paper takes the mean over the
    batch at hand; the mean over the training split is its constant counterpart, so the teacher's
    response to a sample does not depend on its neighbours, can be kept, and is defined for one.

    In training mode all features pass, in evaluation mode the selected ones.

    Args:
        shape: shape of the feature without the batch: [d] or [channels, ...].
        removed: share of the features that are replaced, rounded down to a whole number. Of
            equally salient ones those of lower index go first.

    Raises:
        UserError: the share is none.

    Attributes:
        distance: sum over the samples tested of the disagreement without a feature, [channels].
        tested: number of samples that each feature was tested on, [channels].
        mean: mean of the features over the samples seen, ``shape``.
        seen: number of samples seen, [].
        turn: the feature that is tested next, [].
    """

    distance: Tensor
    tested: Tensor
    mean: Tensor
    seen: Tensor
    turn: Tensor

    def __init__(self, shape: tuple[int, ...], removed: float = 0.75):
        super().__init__()
        if not 0 <= removed < 1:
            raise UserError(
                f"FeatureSelection.removed is {removed}, expected at least 0 and less than 1"
            )
        # A share such as 0.29 of 100 must not become 28 by rounding.
        self.removed = math.floor(removed * shape[0] + 1e-9)
        self.register_buffer("distance", torch.zeros(shape[0], dtype=torch.float64))
        self.register_buffer("tested", torch.zeros(shape[0], dtype=torch.int64))
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("turn", torch.zeros((), dtype=torch.int64))
        self._rewrite: Callable[[Tensor], Tensor] | None = None

    def forward(self, feature: Tensor) -> Tensor:
        """Return what takes the feature's place, [batch, *shape] float."""
        if self._rewrite is not None:
            return self._rewrite(feature)
        if self.training:
            return feature
        kept = self.kept().view(-1, *[1] * (feature.dim() - 2))
        return torch.where(kept, feature, self.mean.to(feature.dtype))

    def salience(self) -> Tensor:
        """Return the mean disagreement without each feature, [channels]; ∞ before any test."""
        infinite = torch.full_like(self.distance, math.inf)
        return torch.where(self.tested > 0, self.distance / self.tested.clamp(min=1), infinite)

    def kept(self) -> Tensor:
        """Return which features pass in evaluation mode, [channels] bool."""
        order = self.salience().argsort(stable=True)
        return torch.ones_like(order, dtype=torch.bool).index_fill(0, order[: self.removed], False)

    def untested(self) -> int:
        """Return the number of features that have not been tested."""
        return int((self.tested == 0).sum())

    def next_features(self, count: int | None) -> list[int]:
        """Return the features whose turn it is, and go on to those after them.

        Args:
            count: how many; None for all.
        """
        width = len(self.distance)
        count = width if count is None else min(count, width)
        first = int(self.turn)
        self.turn.fill_((first + count) % width)
        return [(first + step) % width for step in range(count)]

    @contextmanager
    def observing(self) -> Iterator[None]:
        """Let features pass and add them to the mean while the context is open."""
        with self._rewriting(self._observe):
            yield

    @contextmanager
    def permuting(self, index: int, order: Tensor) -> Iterator[None]:
        """Permute one feature across the batch while the context is open.

        Args:
            index: the feature.
            order: sample i gets the feature of sample order[i], [batch] int64.
        """

        def permuted(feature: Tensor) -> Tensor:
            result = feature.clone()
            result[:, index] = feature[order, index]
            return result

        with self._rewriting(permuted):
            yield

    def add(self, index: int, distances: Tensor) -> None:
        """Add the disagreement of each sample without a feature, [batch] float."""
        self.distance[index] += distances.sum()
        self.tested[index] += len(distances)

    @contextmanager
    def _rewriting(self, rewrite: Callable[[Tensor], Tensor]) -> Iterator[None]:
        self._rewrite = rewrite
        try:
            yield
        finally:
            self._rewrite = None

    def _observe(self, feature: Tensor) -> Tensor:
        values = feature.detach().to(self.mean.dtype)
        self.seen += len(values)
        self.mean += (values - self.mean).sum(0) / self.seen
        return feature
