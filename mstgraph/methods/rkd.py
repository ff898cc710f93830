"""Relational knowledge distillation: distances of pairs and angles of triplets in a batch.

Park et al. 2019, https://arxiv.org/abs/1904.05068. Relations are numbers, so the features of
teacher and student may differ in size and are compared as they are.

Everything follows from the Gram matrix G of the features, with D_ij² = G_ii + G_jj − 2 G_ij:
the angle at j costs a few operations a triplet, however wide the features are. The products
cancel where samples are close, so they are formed in double precision.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import gin
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mstgraph.methods.loss import PENULTIMATE, Edge, EdgeLoss

COINCIDENT = 1e-6
"""Two samples this close, relative to their size, have no direction between them."""

ANGLE_BYTES = 2**20
"""Angles held at a time, in bytes: on a CPU, what stays in a core's cache."""

ANGLE_BYTES_ACCELERATOR = 256 * 2**20
"""The same on an accelerator, where few large kernels are faster than many small ones."""


def distance_loss(teacher: Tensor, student: Tensor) -> Tensor:
    """Return the smooth-L1 distance of D_ij / mean(D) of the two, averaged over pairs i ≠ j.

    Args:
        teacher: features, [batch, ...] float.
        student: features, [batch, ...] float, of any size of their own.

    Returns:
        [] float; 0 if there is no pair.
    """
    pairs = max(1, len(student) * (len(student) - 1))
    scaled = []
    for features in (teacher, student):
        distances = _distances(_gram(features))
        mean = distances.sum() / pairs
        scaled.append(distances / torch.where(mean > 0, mean, 1.0))
    loss = F.smooth_l1_loss(scaled[1], scaled[0], reduction="sum") / pairs
    return loss.to(student.dtype)


def angle_loss(teacher: Tensor, student: Tensor) -> Tensor:
    """Return the smooth-L1 distance of the cosines at j of i, j, k, averaged over triplets.

    Args:
        teacher: features, [batch, ...] float.
        student: features, [batch, ...] float, of any size of their own.

    Returns:
        [] float; 0 if there is no triplet. A cosine with a side of no length is 0.
    """
    size = len(student)
    relations: list[Tensor] = []
    for features in (teacher, student):
        gram = _gram(features)
        distances = _distances(gram)
        apart = distances > 0
        relations += [gram, torch.where(apart, 1 / torch.where(apart, distances, 1.0), 0.0)]
    loss = _AngleLoss.apply(*relations) / max(1, size * (size - 1) * (size - 2))
    return loss.to(student.dtype)


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class RKD(EdgeLoss):
    """Relational distillation at the penultimate layers; one loss of a batch.

    Attributes:
        distance: weight of the loss of distances.
        angle: weight of the loss of angles.
    """

    reads: ClassVar[tuple[str, ...]] = (PENULTIMATE,)

    distance: float = 1.0
    angle: float = 2.0

    def edge(self, edge: Edge) -> Tensor:
        """Return the weighted sum of both losses, []: a relation belongs to no sample."""
        edge = edge.present()
        if not len(edge.labels):
            return edge.student.penultimate.sum()  # 0, and what trains is still there
        teacher, student = edge.teacher.penultimate.detach(), edge.student.penultimate
        loss = student.new_zeros(())
        if self.distance:
            loss = loss + self.distance * distance_loss(teacher, student)
        if self.angle:
            loss = loss + self.angle * angle_loss(teacher, student)
        return loss

    def problem(self) -> tuple[str, str] | None:
        """Refuse weights that are negative, or both 0."""
        for option, weight in (("distance", self.distance), ("angle", self.angle)):
            if not weight >= 0:
                return option, f"is {weight}, expected 0 or more"
        if not self.distance and not self.angle:
            return "angle", "is 0 like RKD.distance, expected at least one of them to be above 0"
        return None


def _gram(features: Tensor) -> Tensor:
    flat = features.flatten(1).double()
    return flat @ flat.t()


def _distances(gram: Tensor) -> Tensor:
    """Return the distances of all pairs, exactly 0 and without gradient where they coincide."""
    sizes = gram.diagonal()
    total = sizes.unsqueeze(0) + sizes.unsqueeze(1)
    squared = total - 2 * gram
    apart = squared > COINCIDENT**2 * total
    # The inner where keeps the infinite slope of a root at 0 out of the gradient.
    return torch.where(apart, torch.where(apart, squared, 1.0).sqrt(), 0.0)


class _AngleLoss(torch.autograd.Function):
    """Sum of the smooth-L1 distances of all cosines, for some vertices j at a time.

    With E_ik = G_ik − G_ij − G_jk + G_jj and R the reciprocal distances, the cosine at j is
    E_ik R_ij R_jk. Forward also adds up the gradients, so [batch, batch, batch] never exists.
    """

    @staticmethod
    def forward(
        ctx: Any, teacher_gram: Tensor, teacher_inverse: Tensor, gram: Tensor, inverse: Tensor
    ) -> Tensor:
        """Return []; all four are [batch, batch]."""
        total, by_gram, by_inverse = gram.new_zeros(()), *map(torch.zeros_like, (gram, gram))
        for at in _chunks(gram):
            sides = inverse[at].unsqueeze(2) * inverse[at].unsqueeze(1)
            inner = _inner(gram, at)
            difference = inner * sides
            difference -= _inner(teacher_gram, at) * (
                teacher_inverse[at].unsqueeze(2) * teacher_inverse[at].unsqueeze(1)
            )
            difference.diagonal(dim1=1, dim2=2).zero_()  # i = k is no triplet
            slope = difference.clamp(-1, 1)
            total += (slope * (difference - slope / 2)).sum()
            # Both sides of an angle count alike: i and k change places.
            by_inverse[at] = 2 * torch.bmm(slope * inner, inverse[at].unsqueeze(2)).squeeze(2)
            slope *= sides
            by_gram += slope.sum(dim=0)
            by_side = slope.sum(dim=2)
            by_gram[at] -= 2 * by_side
            by_gram.diagonal()[at] += by_side.sum(dim=1)
        ctx.save_for_backward(by_gram, by_inverse)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor, Tensor]:
        """Return the gradients of the student's Gram matrix and reciprocal distances."""
        by_gram, by_inverse = ctx.saved_tensors
        return None, None, gradient * by_gram, gradient * by_inverse


def _inner(gram: Tensor, at: slice) -> Tensor:
    """Return ⟨x_i − x_j, x_k − x_j⟩ for vertices j, [vertices, batch, batch]."""
    rows = gram[at]
    inner = gram - rows.unsqueeze(2)
    inner -= rows.unsqueeze(1)
    inner += gram.diagonal()[at].view(-1, 1, 1)
    return inner


def _chunks(gram: Tensor) -> Iterator[slice]:
    """Yield slices of the vertices whose angles fit the budget, one vertex at least."""
    size = len(gram)
    budget = ANGLE_BYTES if gram.device.type == "cpu" else ANGLE_BYTES_ACCELERATOR
    step = max(1, budget // (size * size * gram.element_size()))
    for start in range(0, size, step):
        yield slice(start, start + step)
