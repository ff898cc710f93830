"""Where and how numbers are computed: device, precision, and the same bits from the same seed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

from mstgraph.support.errors import UserError

DEVICES = ("cpu", "cuda")

Shapes = Mapping[str, tuple[tuple[int, ...], torch.dtype]]
"""Name → (shape of one sample, type) of tensors that belong together."""


def choose_device(name: str) -> torch.device:
    """Return the device to run on; ``auto`` takes a GPU where there is one.

    Raises:
        UserError: there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in DEVICES:
            raise RuntimeError(f"nothing runs on '{device.type}'")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device '{name}' is not to be had here; expected 'auto', 'cpu' or a GPU such as "
            "'cuda' that torch can see"
        ) from error
    return device


@contextmanager
def numerics(precision: str, device: torch.device) -> Iterator[None]:
    """Set torch up for a run, and put everything back afterwards.

    Determinism is on: on a GPU, algorithms that add in a varying order are replaced by ones that
    do not, or warned of where there are none; on a CPU there is nothing to replace.

    Args:
        precision: ``fp32``, ``tf32`` or ``bf16``.
        device: where is computed.
    """
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    backends = torch.backends
    before = (
        torch.get_float32_matmul_precision(),
        backends.cudnn.allow_tf32,
        backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(),
    )
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    backends.cudnn.allow_tf32 = precision == "tf32"
    backends.cudnn.benchmark = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        backends.cudnn.allow_tf32 = before[1]
        backends.cudnn.benchmark = before[2]
        torch.use_deterministic_algorithms(before[3])


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the context in which networks run; losses are computed outside of it."""
    if precision == "bf16":
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


def kept_type(dtype: torch.dtype, halved: bool) -> torch.dtype:
    """Return the type a tensor is kept as: its own, or a narrower one for indices or if asked."""
    if dtype.is_floating_point:
        return torch.float16 if halved else dtype
    return torch.int32 if dtype == torch.int64 else dtype


def masked(values: Tensor, lengths: Tensor) -> Tensor:
    """Return values with zeros where there is nothing: behind a sample's length on the last axis.

    Args:
        values: [batch, ..., length] float.
        lengths: [batch] int64.
    """
    places = torch.arange(values.shape[-1], device=values.device)
    there = places < lengths.view(-1, *[1] * (values.dim() - 1))
    return torch.where(there, values, torch.zeros_like(values))
