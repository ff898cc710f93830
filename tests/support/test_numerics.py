"""Precision and determinism are set for a run and put back afterwards."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from mstgraph.support.numerics import autocast, numerics

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_cpu_needs_no_setting(precision: str) -> None:
    """Nothing global changes, inside or afterwards."""
    before = torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()
    with numerics(precision, CPU):
        inside = torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()
    after = torch.get_float32_matmul_precision(), torch.are_deterministic_algorithms_enabled()
    assert before == inside == after


@pytest.mark.parametrize(("precision", "matmul"), [("fp32", "highest"), ("tf32", "high")])
def test_a_gpu_computes_deterministically(precision: str, matmul: str) -> None:
    """Only the settings are looked at, so that no GPU is needed; an error puts them back too."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with pytest.raises(ZeroDivisionError), numerics(precision, torch.device("cuda")):  # noqa: PT012
        assert torch.get_float32_matmul_precision() == matmul
        assert torch.backends.cudnn.allow_tf32 == (precision == "tf32")
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.backends.cudnn.benchmark
        raise ZeroDivisionError
    assert before == (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
    assert not torch.are_deterministic_algorithms_enabled()


def test_bf16_computes_networks_in_bfloat16() -> None:
    """And nothing else does."""
    layer = torch.nn.Linear(3, 2)
    with autocast("bf16", CPU):
        assert layer(torch.zeros(1, 3)).dtype == torch.bfloat16
    assert isinstance(autocast("fp32", CPU), nullcontext)
