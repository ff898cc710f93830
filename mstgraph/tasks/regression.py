"""Regression: one number or several for each sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import gin
import torch
from torch import Tensor
from torch.nn import functional as F

from mstgraph.tasks.divergence import normal_divergence
from mstgraph.tasks.task import Metric
from mstgraph.tasks.vectors import VectorTask

MAE = Metric("MAE", "MAE", higher_is_better=False)
R2 = Metric("R2", "R²")
PEARSON = Metric("r", "r")
SEVEN = Metric("acc7", "7-class accuracy")
TWO = Metric("acc2", "2-class accuracy")
STRONGEST = 3  # of sentiment, either way
Error = Literal["mse", "mae", "huber"]


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class Regression(VectorTask):
    """Outputs are the numbers themselves; several are averaged over, each counting alike.

    Networks begin near zero and learn numbers of a size of about one best: a recipe should give
    them so, such as by constants for mean and spread.

    Attributes:
        error: the loss, ``'mse'`` (e²), ``'mae'`` (|e|) or ``'huber'`` (e² / 2 up to δ, from there
            on δ |e| − δ² / 2; Huber 1964).
        delta: δ of the Huber loss, in the unit of the labels.
        measure: ``'acc7'`` and ``'acc2'`` are the accuracies of sentiment from −3 to 3 (CMU-MOSI,
            CMU-MOSEI) as Tsai et al. 2019 (https://arxiv.org/abs/1906.00295) count them: rounded
            to whole numbers, and above zero or not over labels that are not zero.
    """

    kind: ClassVar[str] = "regression"
    metrics: ClassVar[tuple[Metric, ...]] = (MAE, R2, PEARSON)
    primary: ClassVar[Metric] = MAE

    error: Error = "mse"
    delta: float = 1.0

    @property
    def extras(self) -> tuple[Metric, ...]:
        """The accuracies that sentiment sets report."""
        return SEVEN, TWO

    def problem(self) -> tuple[str, str] | None:
        """Refuse a width of the Huber loss that is none."""
        if not self.delta > 0:
            return "delta", f"is {self.delta}, expected more than 0"
        return super().problem()

    def known(self, labels: Tensor) -> Tensor:
        """Return which numbers are known: those that are one."""
        return ~labels.isnan()

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the error of each sample, averaged over its known numbers."""
        wanted = labels.to(outputs).nan_to_num()  # what is unknown must not reach the gradient
        if self.error == "huber":
            losses = F.huber_loss(outputs, wanted, reduction="none", delta=self.delta)
        else:
            function = F.mse_loss if self.error == "mse" else F.l1_loss
            losses = function(outputs, wanted, reduction="none")
        return self.mean_of_places(losses, labels)

    def divergence(self, teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
        """Return `normal_divergence`, averaged over the numbers of a sample."""
        return normal_divergence(teacher, student, temperature).mean(dim=1)

    def contributions(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return what each sample adds, [batch, 11 × numbers] float64; 0 where one is unknown."""
        counted = self.counted(labels)
        known = torch.ones_like(labels, dtype=torch.bool) if counted is None else counted
        y, found = (values.double().masked_fill(~known, 0) for values in (labels, outputs))
        error, signed = y - found, known & (y != 0)
        seven = [values.clamp(-STRONGEST, STRONGEST).round() for values in (y, found)]
        blocks = (
            *(known, error.abs(), error**2, y, y**2, found, found**2, y * found),
            *((seven[0] == seven[1]) & known, ((y > 0) == (found > 0)) & signed, signed),
        )
        return torch.cat([block.double() for block in blocks], dim=1)

    def metrics_of(self, totals: Tensor) -> dict[str, Tensor]:
        """Return the metrics, each averaged over the numbers of a sample.

        R² and r are nan where labels are all the same, r also where outputs are.
        """
        parts = totals.double().unflatten(-1, (-1, self.num_outputs)).unbind(-2)
        count, away, squared, y, yy, found, both, product, seven, two, signed = parts
        spread, own = yy - y**2 / count, both - found**2 / count
        values = {
            MAE.name: away / count,
            R2.name: 1 - squared / _positive(spread, yy),
            PEARSON.name: (product - y * found / count)
            / (_positive(spread, yy) * _positive(own, both)).sqrt(),
            SEVEN.name: seven / count,
            TWO.name: two / signed,
        }
        return {metric.name: values[metric.name].mean(-1) for metric in self.measured}


def _positive(spread: Tensor, size: Tensor) -> Tensor:
    """Return a sum of squares about the mean, nan where it is nothing but rounding."""
    return torch.where(spread > 1e-12 * size, spread, torch.nan)
