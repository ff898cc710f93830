"""The optimisers that gin files may name: all of torch's, ``@AdamW``, ``@SGD``, ``@NAdam``, ….

They are torch's own, but for LBFGS, whose steps ask for the loss again and again, and SparseAdam,
which is for gradients that no network here has. The three of which nearly everybody takes one take
torch's fused kernel where neither ``fused`` nor ``foreach`` is bound: the same update, one pass
over the memory in place of a dozen.
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
    def build(params: Iterable[Any], **options: Any) -> torch.optim.Optimizer:
        params = list(params)
        groups = [p["params"] if isinstance(p, dict) else [p] for p in params]
        chosen = any(options.get(name) is not None for name in ("fused", "foreach"))
        if not chosen and all(_has_kernel(each) for group in groups for each in group):
            options["fused"] = True
        return optimizer(params, **options)

    return build


def _has_kernel(parameter: Tensor) -> bool:
    return parameter.is_floating_point() and parameter.device.type in FUSED_DEVICES


# gin.torch would register all of them, but imports distutils, which Python 3.12 dropped.
Adam = gin.external_configurable(_fused(torch.optim.Adam), "Adam", module="mstgraph")
AdamW = gin.external_configurable(_fused(torch.optim.AdamW), "AdamW", module="mstgraph")
SGD = gin.external_configurable(_fused(torch.optim.SGD), "SGD", module="mstgraph")
_OTHER = ("Adam", "AdamW", "SGD", "Optimizer", "LBFGS", "SparseAdam")
for _name, _kind in vars(torch.optim).items():
    if isinstance(_kind, type) and issubclass(_kind, torch.optim.Optimizer) and _name not in _OTHER:
        gin.external_configurable(_kind, _name, module="mstgraph")
