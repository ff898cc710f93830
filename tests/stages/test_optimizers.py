"""The optimisers that gin files name: fused, and otherwise torch's own."""

from __future__ import annotations

import copy

import gin
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mstgraph.stages import optimizers

PAIRS = [
    (optimizers.Adam, torch.optim.Adam, {}),
    (optimizers.Adam, torch.optim.Adam, {"weight_decay": 0.1, "amsgrad": True}),
    (optimizers.AdamW, torch.optim.AdamW, {}),
    (optimizers.SGD, torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
]


@pytest.fixture(autouse=True)
def _no_bindings():
    gin.clear_config()
    yield
    gin.clear_config()


def fitted(network, optimizer, steps):
    """Return the weights after some steps on fixed random data."""
    network = copy.deepcopy(network)
    stepper = optimizer(network.parameters())
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        x = torch.randn(16, 9, generator=generator, dtype=network[0].weight.dtype)
        F.mse_loss(network(x), x[:, :3].sin()).backward()
        stepper.step()
        stepper.zero_grad()
    return torch.cat([value.detach().flatten() for value in network.parameters()])


@pytest.mark.parametrize(("ours", "torchs", "options"), PAIRS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_fused_changes_nothing_beyond_rounding(ours, torchs, options, dtype, tolerance):
    """Fifty steps leave the weights that torch's plain loop leaves, to the type's rounding."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)
    fused = fitted(network, lambda p: ours(p, lr=1e-2, **options), 50)
    plain = fitted(network, lambda p: torchs(p, lr=1e-2, foreach=False, **options), 50)
    before = torch.cat([value.detach().flatten() for value in network.parameters()])
    assert (plain - before).abs().max() > 1e-2
    torch.testing.assert_close(fused, plain, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("ours", "torchs", "options"), PAIRS)
def test_fused_is_the_default(ours, torchs, options):
    """Without a word about it the fused kernel runs; each stays an instance of torch's class."""
    built = ours([torch.zeros(2, requires_grad=True)], lr=1e-3, **options)
    assert isinstance(built, torchs)
    assert built.defaults["fused"] is True


@pytest.mark.parametrize("option", [{"fused": False}, {"foreach": False}, {"foreach": True}])
def test_what_is_asked_for_stays(option):
    """An implementation that the caller names is the one that runs."""
    built = optimizers.Adam([torch.zeros(2, requires_grad=True)], lr=1e-3, **option)
    assert {name: built.defaults[name] for name in option} == option
    assert not built.defaults["fused"]


def test_without_a_kernel_torch_chooses():
    """On a device without a fused kernel torch's own default is left alone."""
    parameter = torch.zeros(2, device="meta", requires_grad=True)
    assert not optimizers.Adam([parameter], lr=1e-3).defaults["fused"]


def test_gin_binds_torchs_options():
    """Options of torch's class can be bound in gin files; others are refused."""
    gin.parse_config("Adam.eps = 1e-3\nAdam.foreach = False")
    built = optimizers.Adam([torch.zeros(2, requires_grad=True)], lr=1e-3)
    assert built.defaults["eps"] == 1e-3
    assert not built.defaults["fused"]
    with pytest.raises(ValueError, match="epsilon"):
        gin.parse_config("Adam.epsilon = 1e-3")


def test_a_state_moves_on(tmp_path):
    """A saved state goes on as if it had never been saved."""
    torch.manual_seed(0)
    weight = torch.randn(5, requires_grad=True)
    other = weight.detach().clone().requires_grad_()
    first = optimizers.Adam([weight], lr=1e-2)

    def step(optimizer, parameter):
        parameter.square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    step(first, weight)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    with torch.no_grad():
        other.copy_(weight)
    second = optimizers.Adam([other], lr=1e-2)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    step(first, weight)
    step(second, other)
    assert torch.equal(weight, other)


def test_fused_keeps_to_channels_last():
    """Weights whose memory is laid out channels last are updated as if it were not."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 2))
    x = torch.randn(3, 4, 8, 8)
    weights = []
    for layout in (torch.contiguous_format, torch.channels_last):
        built = nn.utils.convert_conv2d_weight_memory_format(copy.deepcopy(network), layout)
        stepper = optimizers.Adam(built.parameters(), lr=1e-2)
        for _ in range(5):
            built(x).square().mean().backward()
            stepper.step()
            stepper.zero_grad()
        weights.append([value.detach().contiguous() for value in built.parameters()])
    for plain, last in zip(*weights, strict=True):
        torch.testing.assert_close(last, plain, rtol=0, atol=1e-4)


def test_every_optimiser_of_torch_can_be_named():
    """By its own name, with its own options; but for those that no stage can use."""
    for name, kind in vars(torch.optim).items():
        if isinstance(kind, type) and name not in ("Optimizer", "LBFGS", "SparseAdam"):
            assert gin.get_configurable(name)
    gin.parse_config("RMSprop.alpha = 0.5")
    built = gin.get_configurable("RMSprop")([torch.zeros(2, requires_grad=True)], lr=1e-3)
    assert isinstance(built, torch.optim.RMSprop)
    assert built.defaults["alpha"] == 0.5
