"""Shapes without numbers: torch's meta device, without the tracer that its kernels bring along.

Many meta kernels of torch are written in Python and import ``torch._dynamo`` or sympy when first
called, which takes longer than all that is asked of them. The shapes of the operators that networks
are made of follow from a few rules; whatever no rule covers goes to torch's own kernel, so that a
shape, a refusal and its words are torch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mstgraph.distil.shape_rules import RULES, NoRule, Rule, covered, filled, layout

COMPUTED = 2**20
"""Elements up to which an operator without a rule is computed, on zeros, to see what it returns."""


class OnlyShapes(TorchDispatchMode):
    """While the context is open, operators on meta tensors find shapes by rules where they can."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Have torch leave the method below as it is: to skip its compiler, torch would import it.

        Versions of torch without this question never do so, and never ask.
        """
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Return what an operator returns, meta tensors for meta tensors."""
        kwargs = kwargs or {}
        tensors = _tensors([*args, *kwargs.values()])
        if all(t.is_meta for t in tensors) and _on_meta(kwargs.get("device"), tensors):
            for rule in (RULES.get(func), _general_rule(func, tensors)):
                with suppress(NoRule):
                    if rule is not None:
                        return rule(*args, **kwargs)
        return func(*args, **kwargs)


def _on_meta(device: Any, tensors: Sequence[Tensor]) -> bool:
    return bool(tensors) if device is None else torch.device(device).type == "meta"


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    flat = [item for v in values for item in (v if isinstance(v, (list, tuple)) else (v,))]
    return [item for item in flat if isinstance(item, Tensor)]


def _general_rule(func: Any, tensors: Sequence[Tensor]) -> Rule | None:
    """Return how the result of an operator without a rule of its own is found."""
    tags = set(func.tags)
    if torch.Tag.pointwise in tags and func._schema.name.endswith("_"):
        return partial(_in_place, func)
    if func._schema.is_mutable or func.is_view or tags & _VALUES_MATTER:
        return None
    if torch.Tag.pointwise in tags:
        return partial(_pointwise, func)
    small = len(tensors) > 0 and sum(tensor.numel() for tensor in tensors) <= COMPUTED
    return partial(_computed, func) if small else None


_VALUES_MATTER = {
    torch.Tag.data_dependent_output,
    torch.Tag.dynamic_output_shape,
    torch.Tag.nondeterministic_seeded,  # would move the generator on
}


def _pointwise(func: Any, *args: Any, **kwargs: Any) -> Tensor:
    """Shapes are broadcast; the type is that of one element."""
    covered(not _tensors([*kwargs.values()]) and kwargs.get("memory_format") is None)
    tensors = [arg for arg in args if isinstance(arg, Tensor)]
    memory_format = layout(*tensors)
    shapes = {tensor.shape for tensor in tensors}
    covered(len(shapes) == 1 or memory_format == torch.contiguous_format)
    one = [
        torch.ones((1,) * arg.dim(), dtype=arg.dtype, device="cpu")
        if isinstance(arg, Tensor)
        else arg
        for arg in args
    ]
    result = _by_torch(func, *one, **kwargs)
    covered(isinstance(result, Tensor))
    return filled(_broadcast(shapes), result.dtype, memory_format)


def _broadcast(shapes: set[torch.Size]) -> tuple[int, ...]:
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        raise NoRule from None


def _in_place(func: Any, changed: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    result = _pointwise(func, changed, *args, **kwargs)
    covered(result.shape == changed.shape)
    return changed


def _computed(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Let torch compute the operator on zeros, in the layout of what is given."""
    covered(not _tensors([*kwargs.values()]))
    return _meta(_by_torch(func, *(_zeros(arg) for arg in args), **kwargs))


def _by_torch(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Return what torch computes; what it refuses it shall refuse in words for what was given."""
    try:
        return func(*args, **kwargs)
    except (RuntimeError, IndexError, TypeError, ValueError) as refusal:
        raise NoRule from refusal


def _zeros(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_zeros(item) for item in value]
    if not isinstance(value, Tensor):
        return value
    zeros = torch.zeros(_span(value), dtype=value.dtype, device="cpu")
    return zeros.as_strided(value.shape, value.stride())


def _span(tensor: Tensor) -> int:
    """Return how many elements lie between a tensor's first and its last, both included."""
    reach = zip(tensor.shape, tensor.stride(), strict=True)
    return 1 + sum((size - 1) * stride for size, stride in reach) if tensor.numel() else 0


def _meta(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_meta(item) for item in value)
    if not isinstance(value, Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
