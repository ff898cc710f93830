"""Networks cut at their mask points give the uncut network's numbers, or run whole."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import training_worlds as small
from torch import Tensor, nn

from mstgraph.distil.cuts import Cut, crossing_shapes, holds, probe_cut
from mstgraph.distil.insertion import inserted, tapped
from mstgraph.networks.fusenet import FuseNet, FuseNetBranch
from mstgraph.networks.mlp import MLP, FusedMLP
from mstgraph.support.errors import UserError

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

MAPS = {"rgb": (3, 32, 64), "depth": (1, 32, 64)}
VECTORS = {"a": (5,), "b": (4,)}


def networks() -> dict[str, tuple[nn.Module, dict, tuple[str, ...]]]:
    """Name → network, shapes of its inputs, mask points."""
    torch.manual_seed(0)
    width = {"width": 0.03125}
    return {
        "mlp": (MLP({"a": (5,)}, 3, (6, 4)), {"a": (5,)}, ("hidden1", "hidden2")),
        "fused mlp": (FusedMLP(VECTORS, 3, (6,), (6, 4)), VECTORS, ("fusion", "hidden1")),
        "one branch": (FusedMLP(VECTORS, 3, (6,), (6, 4)), VECTORS, ("branches.a.hidden1",)),
        "fusenet": (FuseNet(MAPS, 5, **width), MAPS, ("fusion", "decoder.stage5")),
        "branch": (
            FuseNetBranch({"rgb": (3, 32, 64)}, 5, **width),
            {"rgb": (3, 32, 64)},
            ("encoder.stage5", "decoder.stage5"),
        ),
    }


class Affine(nn.Module):
    """A mask stand-in that no accident gives the same numbers as."""

    def forward(self, feature: Tensor) -> Tensor:
        """Return something nonlinear of it."""
        return torch.sigmoid(feature + 0.3) * feature


def batch(shapes: dict[str, tuple[int, ...]], size: int = 4) -> list[Tensor]:
    """Random inputs."""
    generator = torch.Generator().manual_seed(2)
    return [torch.randn(size, *shape, generator=generator) for shape in shapes.values()]


@pytest.mark.parametrize("name", list(networks()))
def test_trunk_and_tail_equal_the_whole_network(name: str) -> None:
    """At each point, with a mask inserted there and nowhere else."""
    network, shapes, points = networks()[name]
    network.eval()
    inputs = batch(shapes)
    cut = Cut(network, points)
    values = cut.trunk(inputs)
    for point in points:
        with inserted(network, point, Affine()):
            expected = network(*inputs)
        needed = {n: values[n] for n in cut.needed(point)}
        torch.testing.assert_close(cut.tail(point, needed, Affine()), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", list(networks()))
def test_what_crosses_is_known_beforehand(name: str) -> None:
    """Names, shapes and types of a real batch are the probed ones, also on the meta device."""
    network, shapes, points = networks()[name]
    cut = Cut(network.eval(), points)
    found = crossing_shapes(cut.trunk, network, shapes)
    real = {n: (tuple(v.shape[1:]), v.dtype) for n, v in cut.trunk(batch(shapes)).items()}
    assert found == real
    network.to("meta")
    assert crossing_shapes(Cut(network, points).trunk, network, shapes) == real


def test_cuts_share_weights_with_the_network() -> None:
    """Weights that are loaded afterwards count."""
    network, shapes, points = networks()["mlp"]
    cut = Cut(network.eval(), points)
    inputs = batch(shapes)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(0.5)
    with inserted(network, "hidden2", Affine()):
        expected = network(*inputs)
    torch.testing.assert_close(cut.tail("hidden2", cut.trunk(inputs), Affine()), expected)


class SkipsInputs(nn.Module):
    """Hands its input past the mask point."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, 5]."""
        return self.layer(x) + x


class Twice(nn.Module):
    """Calls a layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, 5]."""
        return self.layer(self.layer(x))


class PairLayer(nn.Module):
    """Has a value crossing the cut that is no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, 5]."""
        size = x.shape[0]
        return self.layer(x * 1).reshape(size, 5)


@pytest.mark.parametrize("network", [SkipsInputs(), Twice(), PairLayer()])
def test_networks_that_cannot_be_cut_run_whole(network: nn.Module) -> None:
    """None, not a wrong cut."""
    assert probe_cut(network.double().eval(), ["layer"], {"a": (5,)}) is None


def test_a_network_that_cannot_be_traced_runs_whole() -> None:
    """A decision on a value is nothing torch.fx can follow."""
    network = small.Untraceable([3, 4], dense=False).eval()
    assert probe_cut(network, ["hidden"], {"a": (3,), "b": (4,)}) is None
    assert probe_cut(small.Plain([3, 4], False).eval(), ["hidden"], {"a": (3,), "b": (4,)})


def test_an_unknown_point_is_no_cut() -> None:
    """The plan refuses it long before; here it is simply none."""
    assert probe_cut(MLP({"a": (5,)}, 3).eval(), ["hiden1"], {"a": (5,)}) is None


class Overwriting(nn.Module):
    """Three layers, with something between them that overwrites what the first returned.

    Args:
        how: called with the first layer's output and the input of the third.
    """

    def __init__(self, how: Callable[[Tensor, Tensor], object]) -> None:
        super().__init__()
        self.first, self.second, self.third = (nn.Linear(5, 5) for _ in range(3))
        self.relu = RELU
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, 5]."""
        other = self.third(x)
        feature = self.first(x * 2)
        result = self.how(feature, other)
        return self.second(feature if result is None else result) + other


RELU = nn.ReLU(inplace=True)


def as_a_layer(feature: Tensor, _: Tensor) -> Tensor:
    """As vision networks write it."""
    return RELU(feature)


def as_a_statement(feature: Tensor, _: Tensor) -> None:
    """Whose result nobody reads."""
    F.relu(feature, inplace=True)


def positional(feature: Tensor, _: Tensor) -> None:
    """Without the argument's name."""
    F.leaky_relu(feature, 0.1, True)


def by_a_method(feature: Tensor, other: Tensor) -> None:
    """A sum into the feature."""
    feature.add_(other)


def twice(feature: Tensor, other: Tensor) -> Tensor:
    """One after the other, and what is read in between."""
    between = feature.mul_(0.5) + other
    torch.relu_(feature)
    return between + feature


def of_the_other(feature: Tensor, other: Tensor) -> None:
    """Of what is used on both sides of the cut."""
    other.add_(feature)


def into(feature: Tensor, other: Tensor) -> None:
    """Into a given place."""
    torch.add(other, 1.0, out=feature)


def through_a_view(feature: Tensor, _: Tensor) -> None:
    """Of another tensor with the same memory."""
    feature.view(-1, 5).clamp_(min=0.0)


def by_an_operator(feature: Tensor, _: Tensor) -> Tensor:
    """Which torch.fx takes for one that makes a new tensor."""
    same = feature
    feature += 1.0
    return same * feature


FOLLOWED = (as_a_layer, as_a_statement, positional, by_a_method, twice, of_the_other, into)


@pytest.mark.parametrize("how", FOLLOWED, ids=lambda how: how.__name__)
@pytest.mark.parametrize("points", [("first",), ("third",), ("third", "first", "second")])
def test_what_overwrites_a_value_overwrites_a_copy(how: Callable, points: tuple[str, ...]) -> None:
    """A mask sees what the layer returned, the cut network answers as the whole one does."""
    network, inputs = Overwriting(how).eval(), batch({"a": (5,)})
    cut = Cut(network, points)
    with torch.no_grad():
        with tapped(network, points) as returned:
            network(*inputs)
        values = cut.trunk(inputs)
        for point in points:
            with inserted(network, point, Affine()):
                expected = network(*inputs)
            torch.testing.assert_close(values[cut.needed(point)[0]], returned[point])
            torch.testing.assert_close(cut.tail(point, values, Affine()), expected)
    assert holds(cut, network, points, {"a": (5,)})


@pytest.mark.parametrize("how", [through_a_view, by_an_operator])
def test_a_cut_with_other_values_is_none(how: Callable) -> None:
    """Shapes alone would not tell: what torch.fx does not see is found by asking."""
    network = Overwriting(how).eval()
    assert probe_cut(network, ["first"], {"a": (5,)}) is not None
    assert not holds(Cut(network, ["first"]), network, ["first"], {"a": (5,)})


def test_asking_a_cut_draws_nothing() -> None:
    """Neither torch's generator nor Python's or numpy's moves on."""
    network = Overwriting(as_a_layer).eval()
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1]
    holds(Cut(network, ["first"]), network, ["first"], {"a": (5,)})
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()
    assert np.array_equal(before[2], np.random.get_state()[1])


@pytest.mark.parametrize("how", FOLLOWED, ids=lambda how: how.__name__)
def test_a_tapped_value_is_what_the_layer_returned(how: Callable) -> None:
    """Also where it is overwritten before the network answers."""
    network, (values,) = Overwriting(how), batch({"a": (5,)})
    with torch.no_grad(), tapped(network, ("first", "third")) as features:
        network(values)
    torch.testing.assert_close(features["first"], network.first(values * 2))
    torch.testing.assert_close(features["third"], network.third(values))


class Halving(nn.Module):
    """Overwrites the feature it is given."""

    def forward(self, feature: Tensor) -> Tensor:
        """Return the feature itself."""
        return feature.mul_(0.5)


def test_a_mask_that_overwrites_the_feature_is_refused() -> None:
    """Other masks read the same feature."""
    network, inputs = MLP({"a": (5,)}, 3, (6,)).eval(), batch({"a": (5,)})
    cut = Cut(network, ["hidden1"])
    with torch.no_grad(), pytest.raises(UserError, match="mask Halving overwrites the feature"):
        cut.tail("hidden1", cut.trunk(inputs), Halving())
    with (
        torch.no_grad(),
        inserted(network, "hidden1", Halving()),
        pytest.raises(UserError, match="mask Halving overwrites the feature"),
    ):
        network(*inputs)


class Squashed(nn.Module):
    """Ends in an operation that goes back through its own result."""

    def forward(self, feature: Tensor) -> Tensor:
        """Return values from 0 to 1."""
        return torch.sigmoid(feature)


def test_any_mask_trains_before_a_layer_that_overwrites() -> None:
    """Cut or whole, the gradient is the same."""
    network, (values,) = Overwriting(as_a_layer).eval(), batch({"a": (5,)})
    cut, scale = Cut(network, ["first"]), torch.ones((), requires_grad=True)
    mask = nn.Sequential(Squashed())
    mask.register_forward_pre_hook(lambda _, given: (given[0] * scale,))
    gradients = []
    for cached in (True, False):
        with inserted(network, "first", mask):
            whole = None if cached else network(values)
        answer = cut.tail("first", cut.trunk([values]), mask) if whole is None else whole
        gradients += torch.autograd.grad(answer.square().sum(), scale)
    torch.testing.assert_close(*gradients)
