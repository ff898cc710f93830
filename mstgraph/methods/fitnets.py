"""FitNets: the student first learns what the teacher's layers say, then what its outputs say.

Romero et al., ICLR 2015, https://arxiv.org/abs/1412.6550: hints (Eq. 3), then knowledge
distillation (Eq. 2). The paper guides one layer of one image network by one of another; here any
number of layers of any shape are paired, so a regressor fits itself to both of its ends.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import gin
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.methods.kl import KL
from mstgraph.methods.loss import HINTS, Edge, EdgeLoss, EdgeShapes, Shape
from mstgraph.support.errors import UserError

GRID = 16
"""Positions of a map that a vector is predicted from, or that a vector predicts, at most."""

LARGEST_LINEAR = 4 * 2**20
"""Weights of one linear layer, at most; beyond, two layers of `RANK` between them."""

RANK = 128

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def hint_loss(predicted: Sequence[Tensor], hints: Sequence[Tensor]) -> Tensor:
    """Return the squared error of each sample, averaged in each pair and summed over them (Eq. 3).

    Args:
        predicted: what the regressors make of the student's layers, [batch, ...] float each.
        hints: the teacher's layers, of the same shapes.

    Returns:
        [batch] float. The paper's sum over a layer is a mean here, so that pairs count alike.
    """
    pairs = zip(predicted, hints, strict=True)
    return torch.stack([(ours - hint).square().flatten(1).mean(1) for ours, hint in pairs]).sum(0)


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class FitNets(EdgeLoss):
    """Hints in a stage of their own, then softened Kullback–Leibler divergence.

    Attributes:
        temperature: τ of the divergence.
        temperature_squared: multiply the divergence by τ².
        standardised: take z-scores of both logits for the divergence, see
            `mstgraph.methods.standardise`.
    """

    reads: ClassVar[tuple[str, ...]] = (HINTS,)
    dense: ClassVar[bool] = True
    by_sample: ClassVar[bool] = True
    hinted: ClassVar[bool] = True

    temperature: float = 4.0
    temperature_squared: bool = True
    standardised: bool = False

    def edge(self, edge: Edge) -> Tensor:
        """Return the divergence of each sample or pixel, [batch] or [batch, height, width]."""
        return self._divergence().edge(edge)

    def hint(self, edge: Edge) -> Tensor:
        """Return `hint_loss` of each sample, [batch] float."""
        assert edge.adapter is not None
        return hint_loss(edge.adapter(edge.student.hints), edge.teacher.hints)

    def adapter(self, shapes: EdgeShapes) -> nn.Module:
        """Build a regressor for each pair of layers, in the order in which both name them."""
        students, teachers = shapes.student.get(HINTS, ()), shapes.teacher.get(HINTS, ())
        if not teachers or len(students) != len(teachers):
            raise UserError(
                f"FitNets pairs the hint layers of teacher and student, which have {len(teachers)} "
                f"and {len(students)}, expected as many of one as of the other and at least 1"
            )
        return Regressors(students, teachers)

    def problem(self) -> tuple[str, str] | None:
        """Refuse a temperature that makes no sense."""
        return self._divergence().problem()

    def _divergence(self) -> KL:
        return KL(self.temperature, self.temperature_squared, self.standardised)


class Regressors(nn.Module):
    """A regressor for each pair of layers.

    Args:
        sources: shapes of the student's features without the batch: vectors, or maps
            [channels, ...] with one to three more axes.
        targets: shapes of the teacher's, as many.
    """

    def __init__(self, sources: Sequence[Shape], targets: Sequence[Shape]):
        super().__init__()
        pairs = zip(sources, targets, strict=True)
        self.regressors = nn.ModuleList(Regressor(source, target) for source, target in pairs)

    def forward(self, hints: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return predictions of the teacher's features, [batch, *target] float each."""
        pairs = zip(self.regressors, hints, strict=True)
        return tuple(regressor(hint) for regressor, hint in pairs)


class Regressor(nn.Module):
    """A linear map from features of one shape to features of any other.

    - Map to map: a 3×…×3 convolution to the target's channels, of stride 2 where the target is at
      most half as large, as the paper's convolutional regressor spares parameters; what is then
      left of the difference in extent is averaged away or interpolated. A missing axis is added
      in front of the others, one too many is averaged over.
    - Vector to vector: a linear layer. Neighbouring features of a vector have nothing in common,
      so a convolution along it (which would take 4 parameters) has nothing to say about them.
    - Map to vector and back: a linear layer at no more than `GRID` positions of the map.

    A linear layer beyond `LARGEST_LINEAR` weights is replaced by its factors of rank `RANK`. A map
    of extent 1 is a vector.

    Args:
        source: shape of the features without the batch.
        target: shape of what it returns, without the batch.
    """

    def __init__(self, source: Shape, target: Shape):
        super().__init__()
        self.target = target
        source, target = _squeezed(source), _squeezed(target)
        if len(source) == 1:
            self.layers = _from_vector(source[0], target)
        elif len(target) == 1:
            self.layers = _to_vector(source, target[0])
        else:
            self.layers = _between_maps(source, target)

    def forward(self, feature: Tensor) -> Tensor:
        """Return [batch, *target] float from [batch, *source]."""
        return self.layers(feature).reshape(len(feature), *self.target)


class Axes(nn.Module):
    """Adds axes of extent 1 behind the channels, or averages over those right behind them.

    Args:
        count: number of axes to add; negative: to average over.
    """

    def __init__(self, count: int):
        super().__init__()
        self.count = count

    def forward(self, feature: Tensor) -> Tensor:
        """Return the feature with ``count`` more axes."""
        if self.count < 0:
            return feature.mean(tuple(range(2, 2 - self.count)))
        return feature.reshape(*feature.shape[:2], *[1] * self.count, *feature.shape[2:])


class Resize(nn.Module):
    """Brings maps to another extent: averages where it shrinks, interpolates where it grows.

    Axis by axis, by a matrix each, so that gradients are the same bits in every run.

    Args:
        source: extents of the maps.
        target: extents of what it returns.
    """

    def __init__(self, source: Sequence[int], target: Sequence[int]):
        super().__init__()
        self.axes: list[tuple[int, str]] = []
        for axis, (old, new) in enumerate(zip(source, target, strict=True), 2):
            if old != new:
                self.axes.append((axis, f"axis{axis}"))
                self.register_buffer(f"axis{axis}", _resizing(old, new), persistent=False)

    def forward(self, feature: Tensor) -> Tensor:
        """Return [batch, channels, *target] float from [batch, channels, *source]."""
        for axis, name in self.axes:
            feature = (feature.movedim(axis, -1) @ getattr(self, name)).movedim(-1, axis)
        return feature


def _resizing(old: int, new: int) -> Tensor:
    """Return [old, new]: column j holds the weights of position j."""
    unit = torch.eye(old).unsqueeze(0)
    if new < old:
        return F.adaptive_avg_pool1d(unit, new)[0]
    return F.interpolate(unit, new, mode="linear")[0]


def _squeezed(shape: Shape) -> Shape:
    return shape[:1] if math.prod(shape) == shape[0] else shape


def _from_vector(width: int, target: Shape) -> nn.Sequential:
    if len(target) == 1:
        return nn.Sequential(nn.Flatten(), _linear(width, target[0]))
    grid = _grid(target[1:])
    return nn.Sequential(
        nn.Flatten(),
        _linear(width, target[0] * math.prod(grid)),
        nn.Unflatten(1, (target[0], *grid)),
        Resize(grid, target[1:]),
    )


def _to_vector(source: Shape, width: int) -> nn.Sequential:
    grid = _grid(source[1:])
    linear = _linear(source[0] * math.prod(grid), width)
    return nn.Sequential(Resize(source[1:], grid), nn.Flatten(), linear)


def _between_maps(source: Shape, target: Shape) -> nn.Sequential:
    count = len(target) - len(source)
    extents = (*[1] * count, *source[1 + max(0, -count) :])
    strides = tuple(
        2 if old >= 2 * new else 1 for old, new in zip(extents, target[1:], strict=True)
    )
    reached = [(old - 1) // stride + 1 for old, stride in zip(extents, strides, strict=True)]
    convolution = _CONVOLUTIONS[len(strides) - 1]
    return nn.Sequential(
        Axes(count),
        convolution(source[0], target[0], 3, strides, padding=1),  # type: ignore[arg-type]
        Resize(reached, target[1:]),
    )


def _grid(extents: Sequence[int]) -> tuple[int, ...]:
    """Return the extents of a small map with at most `GRID` positions."""
    side = {1: 16, 2: 4, 3: 2}[len(extents)]
    return tuple(min(side, extent) for extent in extents)


def _linear(source: int, target: int) -> nn.Module:
    weights, factored = source * target, RANK * (source + target)
    if weights <= LARGEST_LINEAR or factored >= weights:
        return nn.Linear(source, target)
    return nn.Sequential(nn.Linear(source, RANK, bias=False), nn.Linear(RANK, target))
