"""Networks cut at their mask points give the uncut network's numbers, or run whole."""

from __future__ import annotations

import pytest
import torch
import training_worlds as small
from torch import Tensor, nn

from mstgraph.distil.cuts import Cut, crossing_shapes, probe_cut
from mstgraph.distil.insertion import inserted
from mstgraph.networks.fusenet import FuseNet, FuseNetBranch
from mstgraph.networks.mlp import MLP, FusedMLP

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
    found = crossing_shapes(cut, network, shapes)
    real = {n: (tuple(v.shape[1:]), v.dtype) for n, v in cut.trunk(batch(shapes)).items()}
    assert found == real
    network.to("meta")
    assert crossing_shapes(Cut(network, points), network, shapes) == real


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
