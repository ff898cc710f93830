"""Shapes without numbers: torch's meta device, without the tracer that its kernels bring along.

Many meta kernels of torch are written in Python and import ``torch._dynamo`` or sympy when first
called, which takes longer than all that is asked of them. The shapes of the operators that networks
are made of follow from a few rules; whatever no rule fits goes to torch's own kernel, so that a
shape, a refusal and its words are torch's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

COMPUTED = 2**20
"""Elements up to which an operator without a rule is computed, on zeros, to see what it returns."""

aten = torch.ops.aten
Rule = Callable[..., Any]


class NoRule(Exception):
    """A rule does not cover what it is asked."""


class OnlyShapes(TorchDispatchMode):
    """While the context is open, operators on meta tensors find shapes by rules where they can."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to skip it, torch would import it

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Return what an operator returns, meta tensors for meta tensors."""
        kwargs = kwargs or {}
        tensors = _tensors(args)
        if tensors and not kwargs.get("device") and all(t.is_meta for t in tensors):
            try:
                return _rule(func, tensors)(*args, **kwargs)
            except Exception:  # torch's kernel says it in torch's words
                pass
        return func(*args, **kwargs)


def _tensors(args: Sequence[Any]) -> list[Tensor]:
    flat = [item for arg in args for item in (arg if isinstance(arg, (list, tuple)) else (arg,))]
    return [item for item in flat if isinstance(item, Tensor)]


def _rule(func: Any, tensors: Sequence[Tensor]) -> Rule:
    """Return how the result of an operator is found, see `RULES`."""
    if func in RULES:
        return RULES[func]
    tags = set(func.tags)
    if torch.Tag.pointwise in tags and func._schema.name.endswith("_"):
        return lambda *args, **kwargs: _in_place(func, *args, **kwargs)
    if func._schema.is_mutable or func.is_view or tags & _VALUES_MATTER:
        raise NoRule
    if torch.Tag.pointwise in tags:
        return lambda *args, **kwargs: _pointwise(func, *args, **kwargs)
    if sum(tensor.numel() for tensor in tensors) > COMPUTED:
        raise NoRule
    return lambda *args, **kwargs: _computed(func, *args, **kwargs)


_VALUES_MATTER = {
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
    torch.Tag.nondeterministic_seeded,  # would move the generator on
}


def _pointwise(func: Any, *args: Any, **kwargs: Any) -> Tensor:
    """Shapes are broadcast; the type is that of one element."""
    tensors = _contiguous(*(arg for arg in args if isinstance(arg, Tensor)))
    one = [
        torch.ones((1,) * arg.dim(), dtype=arg.dtype) if isinstance(arg, Tensor) else arg
        for arg in args
    ]
    shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
    return _meta(shape, func(*one, **kwargs).dtype)


def _in_place(func: Any, changed: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    result = _pointwise(func, changed, *args, **kwargs)
    if result.shape != changed.shape:
        raise NoRule
    return changed


def _computed(func: Any, *args: Any, **kwargs: Any) -> Any:
    def real(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [real(item) for item in value]
        if not isinstance(value, Tensor):
            return value
        zeros = torch.zeros(_span(value), dtype=value.dtype)
        return zeros.as_strided(value.shape, value.stride())

    def meta(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(meta(item) for item in value)
        return _like(value) if isinstance(value, Tensor) else value

    return meta(func(*(real(arg) for arg in args), **kwargs))


def _span(tensor: Tensor) -> int:
    """Return how many elements lie between a tensor's first and its last, both included."""
    reach = zip(tensor.shape, tensor.stride(), strict=True)
    return 1 + sum((size - 1) * stride for size, stride in reach) if tensor.numel() else 0


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
    _contiguous(x, weight)
    _same_type(x, weight, *([] if bias is None else [bias]))
    channels, fed = weight.shape[0], weight.shape[1] * groups
    sizes = zip(x.shape[2:], weight.shape[2:], stride, padding, dilation, strict=True)
    extent = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)
    fits = fed == x.shape[1] and channels % groups == 0 and (bias is None or len(bias) == channels)
    if transposed or not fits or min(extent) < 1:
        raise NoRule
    return _meta((len(x), channels, *extent), x.dtype)


def _batch_norm(x: Tensor, *given: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Beside the result, the moments of the batch: none in eval mode."""
    weight, bias, mean, variance, training, *_ = given
    others = [t for t in (weight, bias, mean, variance) if t is not None]
    _contiguous(x)
    _same_type(x, *others)
    if any(tensor.shape != x.shape[1:2] for tensor in others):
        raise NoRule
    moments = x.shape[1:2] if training else torch.Size((0,))
    return _meta(x.shape, x.dtype), _meta(moments, x.dtype), _meta(moments, x.dtype)


def _normal(x: Tensor, mean: float = 0, std: float = 1, *, generator: Any = None) -> Tensor:
    if std < 0 or not x.is_floating_point():
        raise NoRule
    return x


def _mm(one: Tensor, other: Tensor) -> Tensor:
    _same_type(one, other)
    (rows, inner), (again, columns) = one.shape, other.shape
    if inner != again:
        raise NoRule
    return _meta((rows, columns), one.dtype)


def _addmm(bias: Tensor, one: Tensor, other: Tensor) -> Tensor:
    product = _mm(one, other)
    _same_type(bias, one)
    if np.broadcast_shapes(bias.shape, product.shape) != product.shape:
        raise NoRule
    return product


def _scatter(x: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    _same_type(x, source)
    kept = [i for i in range(x.dim()) if i != dim % x.dim()]
    fits = index.dim() == source.dim() == x.dim() and all(
        index.shape[i] <= source.shape[i] and (i not in kept or index.shape[i] <= x.shape[i])
        for i in range(x.dim())
    )
    if not fits or index.dtype != torch.int64:
        raise NoRule
    return x


def _contiguous(*tensors: Tensor) -> tuple[Tensor, ...]:
    if not all(tensor.is_contiguous() for tensor in tensors):
        raise NoRule
    return tensors


def _same_type(*tensors: Tensor) -> None:
    if len({tensor.dtype for tensor in tensors}) > 1:
        raise NoRule


def _meta(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    strides = [math.prod(max(size, 1) for size in shape[i + 1 :]) for i in range(len(shape))]
    return torch.empty_strided(shape, strides, dtype=dtype, device="meta")


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


RULES: Mapping[Any, Rule] = {
    aten.convolution.default: _convolution,
    aten.native_batch_norm.default: _batch_norm,
    aten.normal_.default: _normal,
    aten.mm.default: _mm,
    aten.addmm.default: _addmm,
    aten.scatter_.src: _scatter,
}
