"""Inserting masks into a shared network, and finding shapes at mask points."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from mstgraph.distil.insertion import inserted
from mstgraph.distil.masknet import MaskNet
from mstgraph.distil.probing import output_shapes
from mstgraph.networks.fusenet import FuseNet
from mstgraph.networks.mlp import MLP, FusedMLP
from mstgraph.support.errors import UserError


class Scale(nn.Module):
    """A mask that is easy to follow: multiplies by a number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, z: Tensor) -> Tensor:
        """Return the scaled feature."""
        return self.factor * z


@pytest.fixture
def network() -> FusedMLP:
    """Return a small fused perceptron in eval mode."""
    torch.manual_seed(0)
    return FusedMLP({"rgb": (5,), "depth": (3,)}, 4, branch=(6,), hidden=(9, 8)).eval()


@pytest.fixture
def samples() -> tuple[Tensor, Tensor]:
    """Return a batch of seven."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(7, 5, generator=generator), torch.randn(7, 3, generator=generator)


def test_exactly_one_module_is_rewritten(network, samples):
    """The output is what a hand-written forward with the mask at that module gives."""
    masknet = MaskNet((9,))
    streams = [
        torch.relu(branch.hidden1(x))
        for branch, x in zip(network.branches.values(), samples, strict=True)
    ]
    masked = masknet(network.hidden1(torch.cat(streams, dim=1)))
    expected = network.classifier(torch.relu(network.hidden2(torch.relu(masked))))
    with inserted(network, "hidden1", masknet):
        assert torch.equal(network(*samples), expected)


def test_no_trace_is_left(network, samples):
    """After the context the network computes, stores and hooks what it did before."""
    before, names = network(*samples), list(network.state_dict())
    with inserted(network, "fusion", MaskNet((12,))):
        assert list(network.state_dict()) == names
        assert not torch.equal(network(*samples), before)
    assert torch.equal(network(*samples), before)
    assert not any(module._forward_hooks for module in network.modules())


def test_no_trace_is_left_after_an_exception(network, samples):
    """An error inside the context, or inside the mask, removes the mask all the same."""
    before = network(*samples)
    with pytest.raises(ZeroDivisionError), inserted(network, "hidden1", Scale(0)):
        _ = 1 / 0
    with pytest.raises(RuntimeError), inserted(network, "hidden1", MaskNet((30,))):
        network(*samples)
    assert torch.equal(network(*samples), before)
    with inserted(network, "hidden1", Scale(1)):
        assert torch.equal(network(*samples), before)


def test_masks_of_one_network_never_see_each_other(network, samples):
    """A specialised teacher's output is the same before, between and after its siblings'."""
    first, second = MaskNet((12,)), MaskNet((9,))

    def run(point: str, masknet: nn.Module) -> Tensor:
        with inserted(network, point, masknet):
            return network(*samples)

    alone = run("fusion", first)
    sibling = run("hidden1", second)
    assert not torch.equal(alone, sibling)
    assert torch.equal(run("fusion", first), alone)
    assert torch.equal(run("hidden1", second), sibling)
    twin = copy.deepcopy(network)
    with inserted(twin, "hidden1", second):
        assert torch.equal(run("fusion", first), alone)


@pytest.mark.parametrize("point", ["fusion", "hidden1"])
def test_stacking_masks_is_refused(network, samples, point):
    """A second mask on the same network raises, and leaves the first in place."""
    with inserted(network, "hidden1", Scale(2)):
        masked = network(*samples)
        with pytest.raises(RuntimeError, match="inserted in this FusedMLP already"):
            inserted(network, point, Scale(3)).__enter__()
        assert torch.equal(network(*samples), masked)


def test_gradients_reach_the_mask_of_a_frozen_network(network, samples):
    """With the network frozen, training reaches all parameters of the MaskNet and no others."""
    network.requires_grad_(False)
    masknet = MaskNet((9,))
    with inserted(network, "hidden1", masknet):
        network(*samples).square().sum().backward()
    assert all(value.grad is not None for value in masknet.parameters())
    assert all(value.grad is None for value in network.parameters())


def test_shapes_at_points_and_of_the_output(network):
    """Shapes come without the batch; the network's own is under the empty name."""
    points = ["fusion", "hidden2", "branches.depth.hidden1"]
    assert output_shapes(network, {"rgb": (5,), "depth": (3,)}, points) == {
        "fusion": (12,),
        "hidden2": (8,),
        "branches.depth.hidden1": (6,),
        "": (4,),
    }


def test_shapes_of_a_full_size_network_on_the_meta_device():
    """FuseNet's mask points have the sizes that the paper's data set gives them."""
    inputs = {"rgb": (3, 480, 640), "depth": (1, 480, 640)}
    with torch.device("meta"):
        network = FuseNet(inputs, 41)
    assert output_shapes(network, inputs, ["fusion", "decoder.stage5"]) == {
        "fusion": (512, 15, 20),
        "decoder.stage5": (512, 30, 40),
        "": (41, 480, 640),
    }


def test_probing_changes_nothing():
    """Weights, batch statistics, mode, hooks and the random generator stay as they are."""
    inputs = {"rgb": (3, 32, 32), "depth": (1, 32, 32)}
    network = FuseNet(inputs, 5, width=1 / 32).train()
    state, generator = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    output_shapes(network, inputs, ["fusion"])
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


class Awkward(nn.Module):
    """Has layers that no mask can rewrite."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 4)
        self.pool = nn.MaxPool1d(2, return_indices=True)
        self.indices = nn.Identity()
        self.turned = nn.Identity()

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return [batch, 2]."""
        x = self.shared(self.shared(inputs[0]))
        pooled, where = self.pool(x)
        self.turned(x.t()[:3])
        return pooled + 0 * self.indices(where)


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ("shard", "Awkward has no layer 'shard'; did you mean 'shared'?"),
        ("", "Awkward has no layer ''"),
        ("shared", "'shared' of Awkward cannot be masked: a forward pass calls it 2 times"),
        ("unused", "calls it never, not once"),
        ("pool", "returns a tuple, expected one float tensor"),
        ("indices", "returns a tensor of torch.int64, expected a float one"),
        ("turned", "expected the batch first"),
    ],
)
def test_points_that_cannot_be_masked_are_refused(point, message):
    """Each kind of unfit layer is the user's error, naming network and layer."""
    with pytest.raises(UserError) as caught:
        output_shapes(Awkward(), {"x": (4,)}, [point])
    assert message in str(caught.value)


def test_unknown_point_is_refused_at_insertion(network):
    """A misspelt mask point is answered with the nearest layer."""
    with (
        pytest.raises(UserError, match="FusedMLP has no layer 'hiden1'; did you mean 'hidden1'"),
        inserted(network, "hiden1", Scale(1)),
    ):
        pass


def test_inputs_that_do_not_run_are_refused():
    """A network fed other shapes than its own is the user's error, not torch's traceback."""
    with pytest.raises(UserError, match=r"MLP does not run on samples of 'x' \(6,\): "):
        output_shapes(MLP({"x": (5,)}, 3), {"x": (6,)})
