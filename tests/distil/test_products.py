"""Products of large matrices by oneDNN: equal to numpy's, and left to torch where they must be."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mstgraph.distil import products
from mstgraph.distil.masknet import MaskNet

pytestmark = pytest.mark.filterwarnings("ignore:TF32 acceleration")  # of the switch itself

LARGE, SMALL = (128, 128, 128), (3, 5, 7)
WIDE = (8, 32, products.OUTPUTS + 5)  # so wide that the gradient of the weight goes in parts


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return noise that is the same in every test."""
    noise = np.random.default_rng(sum(shape)).standard_normal(shape)
    return torch.from_numpy(noise).to(dtype)


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("shape", [LARGE, SMALL, WIDE])
def test_linear_and_its_gradients_are_numpys(shape, biased):
    """Output and the gradients of input, weight and bias agree with matrix products in float64."""
    rows, inputs, outputs = shape
    x = drawn(rows, inputs).requires_grad_()
    weight = drawn(outputs, inputs).requires_grad_()
    bias = drawn(outputs).requires_grad_() if biased else None
    made = products.linear(x, weight, bias)
    gradient = drawn(rows, outputs)
    made.backward(gradient)

    a, b, g = (t.detach().double().numpy() for t in (x, weight, gradient))
    expected = a @ b.T + (0 if bias is None else bias.detach().double().numpy())
    close = {"rtol": 1e-4, "atol": 1e-4 * np.sqrt(max(shape))}
    np.testing.assert_allclose(made.detach(), expected, **close)
    np.testing.assert_allclose(x.grad, g @ b, **close)
    np.testing.assert_allclose(weight.grad, g.T @ a, **close)
    if bias is not None:
        np.testing.assert_allclose(bias.grad, g.sum(0), **close)


def test_linear_takes_tokens_and_views_that_are_not_contiguous():
    """Leading axes stay, and a slice or a transposed weight gives the same numbers."""
    x = drawn(4, 64, 200)[:, :, 20:148].requires_grad_()
    weight = drawn(128, 96).t().requires_grad_()
    made = products.linear(x, weight)
    assert made.shape == (4, 64, 96)
    ours = torch.autograd.grad(made.square().sum(), (x, weight))
    with torch.backends.mkldnn.flags(enabled=False):
        theirs = torch.autograd.grad(F.linear(x, weight).square().sum(), (x, weight))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("pairs", [1, 3])
@pytest.mark.parametrize("size", [6, 112])
def test_products_are_those_of_each_pair(pairs, size):
    """Left times the transposed right, also where the matrices are views."""
    left, right = drawn(pairs, size, size + 1), drawn(pairs, size + 1, size + 2).transpose(1, 2)
    made = products.products(left, right)
    np.testing.assert_allclose(
        made, np.einsum("pni,pmi->pnm", left.numpy(), right.numpy()), rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("case", ["float64", "small", "autocast", "switched off"])
def test_torch_computes_what_onednn_must_not(case, monkeypatch):
    """Other types, small products and a switched-off oneDNN give torch's own bits."""

    def refuse(*_: object) -> None:
        raise AssertionError("oneDNN was asked")

    monkeypatch.setattr(products, "_product", refuse)
    dtype = torch.float64 if case == "float64" else torch.float32
    rows, inputs, outputs = SMALL if case == "small" else LARGE
    x, weight = drawn(rows, inputs, dtype=dtype), drawn(outputs, inputs, dtype=dtype)
    with (
        torch.autocast("cpu", torch.bfloat16, enabled=case == "autocast"),
        torch.backends.mkldnn.flags(enabled=case != "switched off"),
    ):
        assert torch.equal(products.linear(x, weight), F.linear(x, weight))


def test_a_large_masknet_changes_by_rounding_alone():
    """Mask and gradients of a MaskNet of 298 features are the same with oneDNN and without it."""
    torch.manual_seed(0)
    network, z = MaskNet((298,)), torch.randn(4, 298)

    def gradients() -> dict[str, torch.Tensor]:
        network.zero_grad()
        masked = network(z)
        masked.square().sum().backward()
        found = {name: value.grad.clone() for name, value in network.named_parameters()}
        return {"masked": masked.detach(), **found}

    ours = gradients()
    with torch.backends.mkldnn.flags(enabled=False):
        theirs = gradients()
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)
    for name, value in ours.items():
        scale = max(float(theirs[name].abs().max()), 1e-6)
        torch.testing.assert_close(value, theirs[name], rtol=0, atol=2e-5 * scale, msg=name)
