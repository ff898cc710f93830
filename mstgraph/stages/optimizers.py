"""The optimisers that gin files may name: ``@Adam``, ``@AdamW``, ``@SGD``.

They are torch's own. Each takes torch's fused kernel where there is one and neither ``fused`` nor
``foreach`` is bound: the same update, one pass over the memory in place of a dozen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import gin
import torch
from torch import Tensor

FUSED_DEVICES = ("cpu", "cuda")


def _fused(optimizer: Callable[..., torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    """Return what builds an optimiser, fused where that can be."""

    @functools.wraps(optimizer)
    def build(params: Iterable[Tensor], **options: Any) -> torch.optim.Optimizer:
        params = list(params)
        chosen = any(options.get(name) is not None for name in ("fused", "foreach"))
        if not chosen and all(_has_kernel(parameter) for parameter in params):
            options["fused"] = True
        return optimizer(params, **options)

    return build


def _has_kernel(parameter: Tensor) -> bool:
    return parameter.is_floating_point() and parameter.device.type in FUSED_DEVICES


# gin.torch would register all of them, but imports distutils, which Python 3.12 dropped.
Adam = gin.external_configurable(_fused(torch.optim.Adam), "Adam", module="mstgraph")
AdamW = gin.external_configurable(_fused(torch.optim.AdamW), "AdamW", module="mstgraph")
SGD = gin.external_configurable(_fused(torch.optim.SGD), "SGD", module="mstgraph")
