"""How numbers are computed: precision, and the same bits from the same seed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch


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
