"""Batch normalisation over the rows of all processes, as over one batch.

torch's own `SyncBatchNorm` does the same, on GPUs alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from mstgraph.support.processes.group import Processes


class Norms:
    """The batch normalisations of some modules: while `together`, they see all processes' rows.

    Args:
        modules: in which they are; they keep their weights, their names and all else.
        processes: the processes.
    """

    def __init__(self, modules: Iterable[nn.Module], processes: Processes):
        self._processes = processes
        self._counted: bool | None = None  # None: each by itself
        for module in modules:
            for norm in module.modules():
                if isinstance(norm, _BatchNorm):
                    norm.forward = partial(self._forward, norm)  # type: ignore[method-assign]

    @contextmanager
    def together(self, counted: bool) -> Iterator[None]:
        """Normalise over all processes' rows while the context is open, in all processes at once.

        Args:
            counted: whether this process's rows count; else they only stand in.
        """
        self._counted = counted
        try:
            yield
        finally:
            self._counted = None

    def _forward(self, norm: _BatchNorm, values: Tensor) -> Tensor:
        if self._counted is None or not of_batch(norm):
            return type(norm).forward(norm, values)
        result, mean, variance, count = _Normalise.apply(
            values, norm.weight, norm.bias, norm.eps, self._processes, self._counted
        )
        if norm.training and norm.running_mean is not None:
            _remember(norm, mean, variance * count / (count - 1).clamp(min=1))
        normalised: Tensor = result
        return normalised


def of_batch(module: nn.Module) -> bool:
    """Say whether a module normalises by the statistics of the batch."""
    return isinstance(module, _BatchNorm) and (module.training or module.running_mean is None)


@torch.no_grad()
def _remember(norm: _BatchNorm, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics as torch does."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    share = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
    for running, new in ((norm.running_mean, mean), (norm.running_var, variance)):
        running.add_(share * (new.to(running.dtype) - running))


class _Normalise(torch.autograd.Function):
    """(x − mean) / √(variance + ε) × weight + bias, of all processes' rows."""

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
        processes: Processes,
        counted: bool,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the result, and mean, variance ([channels] double) and count ([])."""
        wide = values.to(torch.promote_types(values.dtype, torch.float32))
        mean, variance, count = _statistics(wide, processes, counted)
        scale = (variance + eps).rsqrt().to(wide.dtype)
        ctx.axes, ctx.processes, ctx.counted = [0, *range(2, values.dim())], processes, counted
        ctx.save_for_backward(values, weight, mean.to(wide.dtype), scale, count)
        ctx.mark_non_differentiable(mean, variance, count)
        result = (wide - _along(mean.to(wide.dtype), wide)) * _along(scale, wide)
        if weight is not None:
            result = result * _along(weight.to(wide.dtype), wide)
        if bias is not None:
            result = result + _along(bias.to(wide.dtype), wide)
        return result.to(values.dtype), mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, *_: Any) -> tuple[Any, ...]:
        """Return the gradient of the values, and this process's share of those of the weights.

        Rows that only stand in have none.
        """
        values, weight, mean, scale, count = ctx.saved_tensors
        wide = gradient.to(scale.dtype)
        centred = (values.to(scale.dtype) - _along(mean, wide)) * _along(scale, wide)
        own = torch.stack([wide.sum(ctx.axes), (wide * centred).sum(ctx.axes)])
        of_mean, of_scale = (ctx.processes.sum(own) / count).to(scale.dtype)
        # What only stands in moves no statistics.
        moved = _along(of_mean, wide) + centred * _along(of_scale, wide)
        slope = wide - moved if ctx.counted else wide
        slope = slope * _along(scale if weight is None else scale * weight.to(scale.dtype), wide)
        grown = [None if weight is None else part.to(weight.dtype) for part in (own[1], own[0])]
        biased = grown[1] if ctx.needs_input_grad[2] else None
        return slope.to(values.dtype), grown[0], biased, None, None, None


def _statistics(
    values: Tensor, processes: Processes, counted: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and variance of each channel, [channels] double, and of how many values: [].

    Each process's own, put together as Chan, Golub and LeVeque 1983 do: no squares of large
    numbers cancel.
    """
    channels, axes = values.shape[1], [0, *range(2, values.dim())]
    if counted:
        variance, mean = torch.var_mean(values.double(), axes, correction=0)
        count = values.numel() / channels
    else:
        variance, mean = (values.new_zeros(channels, dtype=torch.float64) for _ in range(2))
        count = 0.0
    own = torch.cat([mean.new_tensor([count]), mean, variance])
    every = processes.gather(own.unsqueeze(0), [1] * processes.count)
    counts, means, variances = every[:, :1], every[:, 1 : 1 + channels], every[:, 1 + channels :]
    total = counts.sum()
    mean = (counts * means).sum(0) / total
    variance = (counts * (variances + (means - mean).square())).sum(0) / total
    return mean, variance, total


def _along(values: Tensor, like: Tensor) -> Tensor:
    """Return one value for each channel in the place of the channels."""
    return values.view(1, -1, *[1] * (like.dim() - 2))
