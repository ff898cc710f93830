"""One for all: the student's features, projected to logits, learn from the teacher's logits.

Hao et al. 2023, https://arxiv.org/abs/2310.19444. Nothing of the teacher but its logits is used, so
the two may be built as differently as they like.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import gin
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.methods.loss import HINTS, Edge, EdgeLoss, EdgeShapes, Shape
from mstgraph.networks.normalisation import BatchNorm
from mstgraph.support.errors import UserError


def enhanced_cross_entropy(
    teacher: Tensor, student: Tensor, labels: Tensor, gamma: float
) -> Tensor:
    """Return −Σ_c [(p_c + y_c)^γ − y_c] log q_c for probabilities p, q of teacher and student.

    With γ = 1 this is the cross-entropy of the teacher's and the student's outputs; a larger γ
    raises the weight of the true class y, the more the surer the teacher is of it.

    Args:
        teacher: logits, [batch, num_outputs] float.
        student: logits of the same shape.
        labels: [batch] int64; a sample whose label is no class has no true one.
        gamma: γ ≥ 1.

    Returns:
        [batch] float.
    """
    truth = (labels.unsqueeze(1) == torch.arange(teacher.shape[1], device=labels.device)).float()
    target = (F.softmax(teacher, dim=1) + truth) ** gamma - truth
    return -(target * F.log_softmax(student, dim=1)).sum(dim=1)


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class OFA(EdgeLoss):
    """One-for-all distillation, the mean over the student's layers named as hints.

    Attributes:
        gamma: γ; the paper tunes it, the released code of MST-Distill takes 1.1.
        final: whether the student's own logits are one point more. The method's own code has them
            learn by the same loss; the released code of MST-Distill leaves them out, and then no
            distillation reaches the student's classifier.
    """

    reads_of_student: ClassVar[tuple[str, ...]] = (HINTS,)
    classes_only: ClassVar[bool] = True
    by_sample: ClassVar[bool] = True

    gamma: float = 1.1
    final: bool = True

    def adapter(self, shapes: EdgeShapes) -> nn.Module:
        """Build one head for each of the student's layers."""
        return Heads(shapes.student[HINTS], shapes.task.num_outputs)

    def edge(self, edge: Edge) -> Tensor:
        """Return the mean of `enhanced_cross_entropy` over the points, [batch] float."""
        assert edge.adapter is not None
        teacher = edge.teacher.logits.detach()
        points = edge.adapter(edge.student.hints)
        if self.final:
            points = [*points, edge.student.logits]
        losses = [enhanced_cross_entropy(teacher, p, edge.labels, self.gamma) for p in points]
        return sum(losses[1:], losses[0]) / len(losses)

    def problem(self) -> tuple[str, str] | None:
        """Refuse a γ that takes weight away from the true class."""
        if not self.gamma >= 1:
            return "gamma", f"is {self.gamma}, expected at least 1"
        return None


class Heads(nn.Module):
    """One head from each feature to logits.

    Args:
        shapes: shapes of the features without the batch.
        outputs: number of classes.

    Raises:
        UserError: there is no feature, or one is neither a vector nor a map.
    """

    def __init__(self, shapes: Sequence[Shape], outputs: int) -> None:
        super().__init__()
        if not shapes:
            raise UserError("OFA projects the student's hints, but there is none; name its layers")
        self.heads = nn.ModuleList(_head(tuple(shape), outputs) for shape in shapes)
        self.apply(_initialise)

    def forward(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return logits, [batch, outputs] each, of features [batch, *shape]."""
        return [head(feature) for head, feature in zip(self.heads, features, strict=True)]


class MapHead(nn.Module):
    """Head of a map: two separable units that halve its extents twice, their average, a Linear.

    Args:
        channels: channels of the map.
        spatial: number of its other extents, 1 to 3.
        outputs: number of classes.
    """

    def __init__(self, channels: int, spatial: int, outputs: int) -> None:
        super().__init__()
        self.units = nn.Sequential(
            *_separable(channels, 2 * channels, spatial),
            *_separable(2 * channels, 2 * outputs, spatial),
        )
        self.linear = nn.Linear(2 * outputs, outputs)

    def forward(self, feature: Tensor) -> Tensor:
        """Return logits, [batch, outputs], of a map [batch, channels, *extents]."""
        return self.linear(self.units(feature).flatten(2).mean(dim=2))


def _head(shape: Shape, outputs: int) -> nn.Module:
    """Return the head for a feature of a shape; channels come first."""
    if not 1 <= len(shape) <= 4:
        raise UserError(
            f"OFA cannot project a feature of shape {shape} to logits, expected a vector, a "
            "sequence or a map of up to three extents behind its channels"
        )
    if math.prod(shape) > shape[0]:
        return MapHead(shape[0], len(shape) - 1, outputs)
    hidden = 2 * outputs
    layers = nn.Linear(shape[0], hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    return nn.Sequential(nn.Flatten(), *layers)


def _separable(inputs: int, outputs: int, spatial: int) -> list[nn.Module]:
    """Return depthwise (stride 2), pointwise, depthwise and pointwise convolutions."""
    convolution: Any = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[spatial - 1]

    def half(to: int, stride: int) -> list[nn.Module]:
        depthwise = convolution(
            inputs, inputs, 3, stride=stride, padding=1, groups=inputs, bias=False
        )
        return [depthwise, convolution(inputs, to, 1, bias=False), BatchNorm(to), nn.ReLU()]

    return [*half(inputs, 2), *half(outputs, 1)]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
