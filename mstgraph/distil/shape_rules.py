"""What operators return for meta tensors, where a few lines say it; else `NoRule`.

A rule covers what it is sure of: dense tensors in torch's usual layout, images also with channels
last, that fit together. Whatever is refused or rare is left to torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten
Rule = Callable[..., Any]


class NoRule(Exception):
    """A rule does not cover what it is asked."""


def covered(condition: bool) -> None:
    """Leave to torch what a rule does not cover.

    Raises:
        NoRule: the condition does not hold.
    """
    if not condition:
        raise NoRule


def layout(*tensors: Tensor) -> torch.memory_format:
    """Return the layout in memory that all tensors have; all are taken to have one shape.

    Raises:
        NoRule: there is none that rules know.
    """
    for known in (torch.contiguous_format, torch.channels_last):
        if all(tensor.is_contiguous(memory_format=known) for tensor in tensors):
            return known
    raise NoRule


def filled(
    shape: Sequence[int],
    dtype: torch.dtype,
    memory_format: torch.memory_format | None = None,
) -> Tensor:
    """Return a meta tensor that shares its memory with none; a row after the other by default."""
    chosen = memory_format or torch.contiguous_format
    return torch.empty(tuple(shape), dtype=dtype, device="meta", memory_format=chosen)


def _of_one_type(*tensors: Tensor | None) -> None:
    covered(len({tensor.dtype for tensor in tensors if tensor is not None}) == 1)


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor:
    extents = x.dim() - 2
    _of_one_type(x, weight, bias)
    covered(not transposed and weight.dim() == x.dim() and extents >= 1 and groups >= 1)
    covered(all(len(given) == extents for given in (stride, padding, dilation)))
    covered(min(*stride, *dilation, *x.shape, *weight.shape) >= 1 and min(padding) >= 0)
    channels, fed = weight.shape[0], weight.shape[1] * groups
    covered(fed == x.shape[1] and channels % groups == 0)
    covered(bias is None or bias.shape == (channels,))
    sizes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    extent = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)
    covered(min(extent) >= 1 and x.dim() <= 4)
    last = any(_has_channels_last(tensor) for tensor in (x, weight))
    return filled((len(x), channels, *extent), x.dtype, torch.channels_last if last else None)


def _has_channels_last(tensor: Tensor) -> bool:
    """Whether torch takes a tensor for images with channels last, where one extent is 1, too."""
    if tensor.dim() != 4:
        return False
    least = 0
    for axis in (1, 3, 2, 0):
        step = tensor.stride(axis)
        if step < least or (axis == 0 and least == tensor.stride(1)):
            return False
        least = step * tensor.shape[axis]
    return True


def _batch_norm(x: Tensor, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Beside the result, the moments of the batch: none in eval mode."""
    weight, bias, mean, variance, training, *_ = given
    others = [tensor for tensor in (weight, bias, mean, variance) if tensor is not None]
    _of_one_type(x, *others)
    covered(x.dim() >= 2 and x.numel() > 0 and x.dtype in (torch.float32, torch.float64))
    covered(all(tensor.shape == x.shape[1:2] for tensor in others))
    covered(training or (mean is not None and variance is not None))
    moments = x.shape[1:2] if training else torch.Size((0,))
    result = filled(x.shape, x.dtype, layout(x))
    return result, filled(moments, x.dtype), filled(moments, x.dtype)


def _max_pool(
    x: Tensor,
    kernel_size: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0,),
    dilation: Sequence[int] = (1,),
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """Windows that neither overlap nor leave a rest behind; values, and where they came from."""
    covered(x.dim() == 4 and x.numel() > 0 and len(kernel_size) == 2)
    covered(list(stride) in ([], list(kernel_size)) and {*padding} == {0} and {*dilation} == {1})
    covered(min(kernel_size) >= 1 and x.is_floating_point())
    covered(all(n % k == 0 for n, k in zip(x.shape[2:], kernel_size, strict=True)))
    extent = [n // k for n, k in zip(x.shape[2:], kernel_size, strict=True)]
    shape = (*x.shape[:2], *extent)
    return filled(shape, x.dtype, layout(x)), filled(shape, torch.int64, layout(x))


def _arange(*limits: Any, dtype: torch.dtype | None = None, **options: Any) -> Tensor:
    covered(all(type(limit) is int for limit in limits))
    covered(not options.get("layout") and not options.get("pin_memory"))
    start, end, step = {1: (0, *limits, 1), 2: (*limits, 1), 3: limits}[len(limits)]
    covered(step > 0 and end >= start)
    return filled((-((start - end) // step),), dtype or torch.int64)


def _like(
    x: Tensor,
    *,
    dtype: torch.dtype | None = None,
    memory_format: torch.memory_format | None = None,
    **options: Any,
) -> Tensor:
    covered(not options.get("layout") and not options.get("pin_memory"))
    same = memory_format in (None, torch.preserve_format)
    return filled(x.shape, dtype or x.dtype, layout(x) if same else memory_format)


def _bernoulli(x: Tensor, p: float = 0.5, *, generator: Any = None) -> Tensor:
    covered(0 <= p <= 1)
    return x


def _normal(x: Tensor, mean: float = 0, std: float = 1, *, generator: Any = None) -> Tensor:
    covered(std >= 0 and x.is_floating_point())
    return x


def _mm(one: Tensor, other: Tensor) -> Tensor:
    _of_one_type(one, other)
    covered(one.dim() == other.dim() == 2 and one.shape[1] == other.shape[0])
    return filled((one.shape[0], other.shape[1]), one.dtype)


def _addmm(bias: Tensor, one: Tensor, other: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    _of_one_type(bias, one)
    product = _mm(one, other)
    covered(bias.dim() <= 2)
    pairs = zip(reversed(bias.shape), reversed(product.shape), strict=False)
    covered(all(size in (1, wanted) for size, wanted in pairs))
    return product


def _scatter(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    _of_one_type(x, source)
    covered(x.is_contiguous() and index.dtype == torch.int64)
    covered(index.dim() == source.dim() == x.dim() and -x.dim() <= dim < x.dim())
    sizes = zip(range(x.dim()), index.shape, source.shape, x.shape, strict=True)
    fits = (n <= given and (n <= most or i == dim % x.dim()) for i, n, given, most in sizes)
    covered(all(fits))
    return x


RULES: Mapping[Any, Rule] = {
    aten.convolution.default: _convolution,
    aten.native_batch_norm.default: _batch_norm,
    aten.max_pool2d_with_indices.default: _max_pool,
    aten.arange.default: _arange,
    aten.arange.start: _arange,
    aten.arange.start_step: _arange,
    aten.empty_like.default: _like,
    aten.clone.default: _like,
    aten.bernoulli_.float: _bernoulli,
    aten.normal_.default: _normal,
    aten.mm.default: _mm,
    aten.addmm.default: _addmm,
    aten.scatter_.src: _scatter,
}
"""Operator → its rule, called as the operator is."""
