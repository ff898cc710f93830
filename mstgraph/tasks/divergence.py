"""Kullback–Leibler divergence of softened outputs: over classes, of yes and no, of numbers.

Hinton et al. 2015, https://arxiv.org/abs/1503.02531; MST-Distill, Eq. 2, 8 and 14.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def kl_divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Return KL(softmax(teacher / τ) ‖ softmax(student / τ)) over the classes (Eq. 2, 3, 9).

    Args:
        teacher: logits, [batch, num_outputs, ...] float.
        student: logits of the same shape.
        temperature: τ > 0.

    Returns:
        [batch, ...] float, ≥ 0 up to rounding.
    """
    if teacher.dim() > 2:
        # With channels last, the softmax runs over what lies side by side.
        dim = -1 if student.stride(1) == 1 else 1
        logits = teacher.movedim(1, dim), student.movedim(1, dim)
        return cast(Tensor, _DenseDivergence.apply(*logits, temperature, dim))
    log_p = F.log_softmax(teacher / temperature, dim=1)
    log_q = F.log_softmax(student / temperature, dim=1)
    return (log_p.exp() * (log_p - log_q)).sum(dim=1)


def bernoulli_divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Return KL(σ(teacher / τ) ‖ σ(student / τ)) of each output, a Bernoulli variable.

    Yang et al. 2023, "Multi-Label Knowledge Distillation", https://arxiv.org/abs/2308.06453, turn
    labels into binary problems like that; the number of their equation is not checked.

    Args:
        teacher: logits, [batch, num_outputs] float.
        student: logits of the same shape.
        temperature: τ > 0.

    Returns:
        [batch, num_outputs] float, ≥ 0 up to rounding.
    """
    p, q = teacher / temperature, student / temperature
    yes = p.sigmoid() * (F.logsigmoid(p) - F.logsigmoid(q))
    return yes + (-p).sigmoid() * (F.logsigmoid(-p) - F.logsigmoid(-q))


def normal_divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Return (teacher − student)² / (2 τ²), the KL divergence of normal distributions of width τ.

    Times τ² (``temperature_squared``) it is half the squared error between responses, whatever τ:
    what Ba and Caruana 2014 regress (https://arxiv.org/abs/1312.6184), and what Hinton et al. 2015
    (Section 2.1) find softened classes to come to at a high temperature.

    Args:
        teacher: means, [batch, num_outputs] float.
        student: means of the same shape.
        temperature: τ > 0, in the unit of the outputs.

    Returns:
        [batch, num_outputs] float, ≥ 0.
    """
    return ((teacher - student) / temperature).square() / 2


class _DenseDivergence(torch.autograd.Function):
    """KL(P ‖ Q) and its gradients, (q − p) / τ and p (log p − log q − KL) / τ, written out.

    Keeps one map for each gradient that is wanted, where autograd keeps four. A vector of logits
    is too small for this to pay.
    """

    @staticmethod
    def forward(ctx: Any, teacher: Tensor, student: Tensor, temperature: float, dim: int) -> Tensor:
        """Return the divergence over an axis."""
        ratio = torch.log_softmax(teacher / temperature, dim)
        log_q = torch.log_softmax(student / temperature, dim)
        p = ratio.exp()
        ratio -= log_q
        value = (p * ratio).sum(dim)
        wants_teacher, wants_student = ctx.needs_input_grad[:2]
        by_teacher = ratio.sub_(value.unsqueeze(dim)).mul_(p) if wants_teacher else None
        by_student = log_q.exp_().sub_(p) if wants_student else None
        ctx.save_for_backward(by_teacher, by_student)
        ctx.temperature, ctx.dim = temperature, dim
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        """Return the gradients of both logits."""
        scaled = (gradient / ctx.temperature).unsqueeze(ctx.dim)
        by_teacher, by_student = (None if g is None else g * scaled for g in ctx.saved_tensors)
        return by_teacher, by_student, None, None
