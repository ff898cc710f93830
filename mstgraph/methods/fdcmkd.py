"""FD-CMKD: features agree in their low frequencies, and loosely in their high ones.

Liu et al. 2025, "Distilling Cross-Modal Knowledge via Feature Disentanglement",
https://arxiv.org/abs/2511.19887. Modalities share what changes slowly over a feature; what changes
fast is more their own. Features are standardised first (scale consistency), and one classifier
judges both (shared classifier).

Written after the paper's abstract and three reimplementations by others, which agree on the bands,
the squared error and the signed logarithm; the paper's text and code were not to be had, so
numbers of equations, weights and what the classifier sees are not checked against them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import gin
import torch
from torch import Tensor, nn

from mstgraph.methods.fitnets import Regressor, Resize
from mstgraph.methods.loss import REPRESENTATION, Edge, EdgeLoss, EdgeShapes, Shape
from mstgraph.support.errors import UserError
from mstgraph.tasks.task import Task

EPSILON = 1e-6
"""Added to the standard deviation of a feature."""


def standardised(feature: Tensor) -> Tensor:
    """Return each sample's feature with mean 0 and variance 1 over all of its entries.

    The reimplementations make it of length 1, so that the entries, and with them the effect of a
    logarithm, shrink with the size of the feature; a variance of 1 does not depend on it.

    Args:
        feature: [batch, ...] float.

    Returns:
        The same shape.
    """
    flat = feature.flatten(1)
    centred = flat - flat.mean(dim=1, keepdim=True)
    scale = flat.std(dim=1, correction=0, keepdim=True) + EPSILON
    return (centred / scale).reshape(feature.shape)


def bands(feature: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """Return the low and the high frequencies of a feature, which add up to it.

    Frequencies run along a vector, and along the extents of a map, channel by channel.

    Args:
        feature: [batch, d] or [batch, channels, ...] float.
        cutoff: highest frequency of the low band, on every axis, as a share of the highest that
            there is (half a cycle a step), 0 to 1.

    Returns:
        Two tensors of the same shape.
    """
    axes = tuple(range(min(2, feature.dim() - 1), feature.dim()))
    spectrum = torch.fft.fftn(feature, dim=axes)
    for axis in axes:
        frequencies = torch.fft.fftfreq(feature.shape[axis], device=feature.device).abs()
        shape = [-1 if axis == other else 1 for other in range(feature.dim())]
        spectrum = spectrum * (frequencies <= cutoff / 2).reshape(shape)
    low = torch.fft.ifftn(spectrum, dim=axes).real
    return low, feature - low


def band_losses(teacher: Tensor, student: Tensor, cutoff: float) -> tuple[Tensor, Tensor]:
    """Return the squared error of the low band, and that of the high band's signed logarithms.

    With σ(x) = sign(x) log(1 + |x|) the second grows slowly: large differences of detail are let
    be.

    Args:
        teacher: standardised feature, [batch, ...] float.
        student: of the same shape.
        cutoff: see `bands`.

    Returns:
        [batch] float each, means over the entries.
    """
    low, high = zip(bands(teacher, cutoff), bands(student, cutoff), strict=True)
    logs = [x.sign() * x.abs().log1p() for x in high]
    strong, weak = (low[0] - low[1]).square(), (logs[0] - logs[1]).square()
    return strong.flatten(1).mean(dim=1), weak.flatten(1).mean(dim=1)


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class FDCMKD(EdgeLoss):
    """Frequency-decoupled distillation of the layers named as representation.

    Attributes:
        cutoff: where the low band ends, see `bands`.
        low_weight: weight of the low band's loss.
        high_weight: weight of the high band's loss.
        shared_weight: weight of the task loss of a classifier that both networks' standardised
            features share.
    """

    reads: ClassVar[tuple[str, ...]] = (REPRESENTATION,)
    dense: ClassVar[bool] = True
    by_sample: ClassVar[bool] = True

    cutoff: float = 0.5
    low_weight: float = 1.0
    high_weight: float = 1.0
    shared_weight: float = 1.0

    def adapter(self, shapes: EdgeShapes) -> nn.Module:
        """Build the map from the student's feature to the teacher's, and the shared classifier."""
        (student,), (teacher,) = shapes.student[REPRESENTATION], shapes.teacher[REPRESENTATION]
        return Common(tuple(student), tuple(teacher), shapes.task)

    def edge(self, edge: Edge) -> Tensor:
        """Return the weighted sum of all losses of each sample, [batch] float."""
        assert isinstance(edge.adapter, Common)
        teacher = standardised(edge.teacher.representation.detach())
        student = standardised(edge.adapter.projection(edge.student.representation))
        low, high = band_losses(teacher, student, self.cutoff)
        loss = self.low_weight * low + self.high_weight * high
        if self.shared_weight:
            for feature in (teacher, student):
                logits = edge.adapter.classifier(feature)
                shared = edge.task.loss(logits, edge.labels)
                loss = loss + self.shared_weight * shared
        return loss

    def problem(self) -> tuple[str, str] | None:
        """Refuse a band without sense and weights that are negative, or all 0."""
        if not 0 <= self.cutoff <= 1:
            return "cutoff", f"is {self.cutoff}, expected 0 to 1"
        weights = ("low_weight", "high_weight", "shared_weight")
        for option in weights:
            if not getattr(self, option) >= 0:
                return option, f"is {getattr(self, option)}, expected 0 or more"
        if not any(getattr(self, option) for option in weights):
            return "low_weight", "is 0 like all weights of FDCMKD, expected one of them above 0"
        return None


class Common(nn.Module):
    """What brings two features into one space and judges both.

    Args:
        student: shape of the student's feature without the batch.
        teacher: shape of the teacher's.
        task: what the classifier answers.

    Raises:
        UserError: labels are maps, but the feature is none.
    """

    def __init__(self, student: Shape, teacher: Shape, task: Task) -> None:
        super().__init__()
        if task.dense and len(teacher) != 1 + len(task.extent):
            raise UserError(
                f"FDCMKD classifies each pixel by a feature of shape {teacher}, expected a map of "
                f"{len(task.extent)} extents behind its channels"
            )
        same = student == teacher
        self.projection = nn.Identity() if same else Regressor(student, teacher)
        self.classifier = Classifier(teacher, task)


class Classifier(nn.Module):
    """One linear layer over the channels, of each position if labels are maps, else of their mean.

    Args:
        shape: shape of the feature without the batch.
        task: number of outputs and extent of the labels.
    """

    def __init__(self, shape: Shape, task: Task) -> None:
        super().__init__()
        self.linear = nn.Linear(shape[0], task.num_outputs)
        self.resize = Resize(shape[1:], task.extent) if task.dense else None

    def forward(self, feature: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs] or [batch, num_outputs, height, width] float."""
        if self.resize is None:
            return self.linear(feature.reshape(*feature.shape[:2], -1).mean(dim=2))
        return self.resize(self.linear(feature.movedim(1, -1)).movedim(-1, 1))
