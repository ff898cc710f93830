"""Products of large float32 matrices on a CPU.

Torch hands them to its BLAS library, which on some processors does half of what oneDNN does with
the same numbers. OneDNN comes with torch, which asks it for convolutions and narrower types.
Everything else goes where torch sends it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

LEAST_PRODUCTS = 2**20
"""Multiplications of one product from which oneDNN's greater cost per call is made up for."""


OUTPUTS = 4096
"""Rows of a weight's gradient that are computed at a time: what stays in a cache until stored."""


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x·weightᵀ + bias, as ``torch.nn.functional.linear`` does.

    Args:
        x: [..., inputs] float.
        weight: [outputs, inputs] float.
        bias: [outputs] float.
    """
    if _pays(x, weight, x.numel() * len(weight)):
        return _Linear.apply(x, weight, bias)
    return F.linear(x, weight, bias)


def products(left: Tensor, right: Tensor) -> Tensor:
    """Return left·rightᵀ of each pair of matrices, [pairs, n, m] float, without a gradient.

    Args:
        left: [pairs, n, inner] float.
        right: [pairs, m, inner] float.
    """
    if not _pays(left, right, left[0].numel() * right.shape[1]):
        return torch.bmm(left, right.transpose(1, 2))
    if len(left) == 1:
        return _product(left[0], right[0]).unsqueeze(0)
    return torch.stack([_product(a, b) for a, b in zip(left, right, strict=True)])


class _Linear(torch.autograd.Function):
    """A linear layer whose output and input gradient oneDNN computes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return [..., outputs]."""
        ctx.save_for_backward(x, weight)
        return _product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Return the gradients of input, weight and bias."""
        x, weight = ctx.saved_tensors
        by_x = by_weight = by_bias = None
        if ctx.needs_input_grad[0]:
            by_x = _product(gradient, weight.t())
        rows = gradient.flatten(0, -2)
        if ctx.needs_input_grad[1]:
            by_weight = _by_weight(rows, x.flatten(0, -2))
        if ctx.needs_input_grad[2]:
            by_bias = rows.sum(0)
        return by_x, by_weight, by_bias


def _by_weight(gradient: Tensor, x: Tensor) -> Tensor:
    """Return gradientᵀ·x, some rows at a time if it is wide."""
    if len(gradient) > OUTPUTS:
        return gradient.t() @ x
    by_weight = x.new_empty(gradient.shape[1], x.shape[1])
    inputs = x.t().contiguous()
    for first in range(0, len(by_weight), OUTPUTS):
        rows = slice(first, first + OUTPUTS)
        by_weight[rows] = _product(gradient[:, rows].t().contiguous(), inputs)
    return by_weight


def _product(left: Tensor, right: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(left, right, bias, "none", [], "")


def _pays(left: Tensor, right: Tensor, multiplications: int) -> bool:
    return (
        multiplications >= LEAST_PRODUCTS
        and left.device.type == "cpu"
        and left.dtype == right.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and bool(torch.backends.mkldnn.enabled)
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
