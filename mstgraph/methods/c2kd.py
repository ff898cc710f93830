"""C²KD: teacher and student teach each other through proxies, where they agree on the ranking.

Huo et al., CVPR 2024, "C2KD: Bridging the Modality Gap for Cross-Modal Knowledge Distillation",
https://openaccess.thecvf.com/content/CVPR2024/html/Huo_C2KD_Bridging_the_Modality_Gap_for_Cross-Modal_Knowledge_Distillation_CVPR_2024_paper.html

Each network has a proxy, a small classifier on its last feature. Network and proxy learn from each
other; the two proxies learn from each other what the classes other than the true one look like,
but only from samples of whose classes they have a similar ranking (on-the-fly selection). All
temperatures are 1. The student's own cross-entropy is the task loss of the stage.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import gin
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.methods.loss import PENULTIMATE, Edge, EdgeLoss, EdgeShapes, Shape
from mstgraph.networks.normalisation import BatchNorm
from mstgraph.support.errors import UserError
from mstgraph.tasks.divergence import kl_divergence
from mstgraph.tasks.task import Task

WIDEST = 1024
"""Width of a proxy's hidden layer, at most; else it is as wide as the feature."""


def non_target_divergence(teacher: Tensor, student: Tensor, labels: Tensor) -> Tensor:
    """Return KL(teacher ‖ student) among the classes other than the true one.

    The true class is left out and the others are normalised anew; a true class whose logit is set
    to 0 instead would keep a probability.

    Args:
        teacher: logits, [batch, num_outputs, ...] float.
        student: logits of the same shape.
        labels: [batch, ...] int64; where they are no index of a class, no class is left out.

    Returns:
        [batch, ...] float; 0 where fewer than two other classes are left.
    """
    classes = torch.arange(teacher.shape[1], device=labels.device)
    true = labels.unsqueeze(1) == classes.view(-1, *[1] * (labels.dim() - 1))
    # The lowest number, not −∞: its probability is exactly 0 too, and 0 × (−∞ + ∞) never occurs.
    lowest = torch.finfo(teacher.dtype).min
    return kl_divergence(teacher.masked_fill(true, lowest), student.masked_fill(true, lowest), 1.0)


@torch.no_grad()
def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return Kendall's τ-b of two rankings of the classes.

    Args:
        first: logits, [batch, num_outputs, ...] float.
        second: logits of the same shape.

    Returns:
        [batch, ...] float in [-1, 1]; 0 where one of them ranks nothing (one class, or all equal).
    """
    # Pairs of classes at one distance at a time: no tensor is larger than the logits.
    agreed, untied_first, untied_second = (torch.zeros_like(first[:, 0]) for _ in range(3))
    for distance in range(1, first.shape[1]):
        one = torch.sign(first[:, distance:] - first[:, :-distance])
        other = torch.sign(second[:, distance:] - second[:, :-distance])
        agreed += (one * other).sum(1)
        untied_first += one.abs().sum(1)
        untied_second += other.abs().sum(1)
    # Where no pair is untied, none agrees either.
    return agreed / (untied_first.sqrt() * untied_second.sqrt()).clamp(min=1)


def both_ways(
    divergence: Callable[[Tensor, Tensor], Tensor], first: Tensor, second: Tensor
) -> Tensor:
    """Return divergence(first, second) + divergence(second, first), each target fixed.

    Args:
        divergence: of a target, which gets no gradient here, and of what learns from it.
        first: logits, [batch, num_outputs, ...] float.
        second: logits of the same shape.

    Returns:
        [batch, ...] float.
    """
    return divergence(first.detach(), second) + divergence(second.detach(), first)


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class C2KD(EdgeLoss):
    """The teacher's task loss, both networks with their proxies, and proxies with each other.

    Attributes:
        threshold: the proxies learn from each other from samples whose rank correlation is higher;
            where every pixel has a label, from images whose mean over the pixels is.
    """

    reads: ClassVar[tuple[str, ...]] = (PENULTIMATE,)
    dense: ClassVar[bool] = True
    classes_only: ClassVar[bool] = True
    trains_teacher: ClassVar[bool] = True

    threshold: float = 0.0

    def edge(self, edge: Edge) -> Tensor:
        """Return the loss of the batch, [] float; see `per_sample`."""
        return self.per_sample(edge).mean()

    def per_sample(self, edge: Edge) -> Tensor:
        """Return the sum of all terms but the student's task loss, of each sample, [batch]."""
        assert isinstance(edge.adapter, Proxies)
        teacher = edge.adapter.teacher(edge.teacher.penultimate)
        student = edge.adapter.student(edge.student.penultimate)
        chosen = mean_rank_correlation(teacher, student) > self.threshold
        teacher, student = _like(teacher, edge.labels), _like(student, edge.labels)

        divergence = partial(kl_divergence, temperature=1.0)
        own = both_ways(divergence, edge.teacher.logits, teacher)
        own = own + both_ways(divergence, edge.student.logits, student)
        # What stands in for an unknown class is not used.
        non_target = partial(non_target_divergence, labels=edge.labels.clamp(min=0))
        between = both_ways(non_target, teacher, student)
        between = edge.task.labelled_average(between, edge.labels)
        task = edge.task.loss(edge.teacher.logits, edge.labels)
        return task + edge.task.average(own, edge.labels) + chosen * between

    def adapter(self, shapes: EdgeShapes) -> nn.Module:
        """Build a proxy of the teacher and one of the student."""
        features = shapes.teacher[PENULTIMATE][0], shapes.student[PENULTIMATE][0]
        return Proxies(*(Proxy(feature, shapes.task) for feature in features))

    def problem(self) -> tuple[str, str] | None:
        """Refuse a threshold that no correlation exceeds, or that is none."""
        if not -1 <= self.threshold < 1:
            return "threshold", f"is {self.threshold}, expected at least -1 and less than 1"
        return None


def mean_rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return `rank_correlation` of each sample, averaged over the pixels if there are any.

    Args:
        first: logits, [batch, num_outputs] or [batch, num_outputs, height, width] float.
        second: logits; a map of another extent is first brought to that of ``first``.

    Returns:
        [batch] float.
    """
    if first.dim() == 2:
        return rank_correlation(first, second)
    second = _like(second.detach(), first)
    pairs = zip(first.split(1), second.split(1), strict=True)  # an image at a time, for memory
    return torch.stack([rank_correlation(one, other).mean() for one, other in pairs])


class Proxies(nn.Module):
    """The proxies of a teacher and a student.

    Args:
        teacher: the teacher's.
        student: the student's.
    """

    def __init__(self, teacher: Proxy, student: Proxy):
        super().__init__()
        self.teacher = teacher
        self.student = student


class Proxy(nn.Module):
    """A classifier with one hidden layer on the last feature of a network.

    Args:
        shape: shape of the feature without the batch: [d], or [channels, ...], which is averaged
            to one number per channel unless every pixel has a label.
        task: number of classes, and whether every pixel has a label.

    Raises:
        UserError: every pixel has a label, but the feature is no map.
    """

    def __init__(self, shape: Shape, task: Task):
        super().__init__()
        if task.dense and len(shape) != 3:
            raise UserError(
                f"the penultimate feature is of shape {tuple(shape)}, expected (channels, height, "
                "width) where every pixel has a label"
            )
        self.pooled = not task.dense
        width, hidden = shape[0], min(shape[0], WIDEST)
        self.layers = (
            nn.Sequential(
                nn.Conv2d(width, hidden, 1),
                BatchNorm(hidden),
                nn.ReLU(),
                nn.Conv2d(hidden, task.num_outputs, 1),
            )
            if task.dense
            else nn.Sequential(
                nn.Linear(width, hidden),
                BatchNorm(hidden),
                nn.LeakyReLU(0.1),
                nn.Linear(hidden, task.num_outputs),
            )
        )

    def forward(self, feature: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs], or with pixels at the feature's own extent."""
        if self.pooled and feature.dim() > 2:
            feature = feature.flatten(2).mean(2)
        return self.layers(feature)


def _like(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return maps at the extent of others, [..., height, width]; vectors as they are."""
    if logits.dim() == 2 or logits.shape[2:] == wanted.shape[-2:]:
        return logits
    return F.interpolate(logits, wanted.shape[-2:], mode="bilinear", align_corners=False)
