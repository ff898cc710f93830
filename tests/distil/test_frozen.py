"""A network that is cut behind its frozen modules gives its own numbers, and trains as it did."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.distil.frozen import FrozenCut, freeze, is_within, probe_frozen, still_holds
from mstgraph.networks.by_name import IMAGENET, Headed, Standardise
from mstgraph.networks.fusenet import FuseNetBranch
from mstgraph.networks.inputs import Integers, drawn
from mstgraph.networks.mlp import FusedMLP

PICTURE = {"a": (3, 8, 8)}


class Pictures(nn.Module):
    """Two blocks, a residual path past the second, a head with dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.block = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 2))

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, 2]."""
        x = self.act(self.stem(x))
        return self.head((x + self.norm(self.block(x))).mean((2, 3)))


class Careless(Pictures):
    """Draws random numbers before its frozen block."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, 2]."""
        return super().forward(F.dropout(x, 0.5, self.training))


class Looking(Pictures):
    """Looks at values, which torch.fx cannot trace."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, 2]."""
        return super().forward(x if float(x.sum()) > 0 else -x)


class Mixing(nn.Module):
    """What comes before the frozen layer depends on the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3, affine=False)
        self.trunk = nn.Linear(3, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, 2]."""
        return self.head(self.trunk(self.norm(x.mean((2, 3)))))


class Words(nn.Module):
    """Looks words up, and answers with their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(4, 3)
        self.head = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, 2]."""
        return self.head(self.words(x).mean(1))


def batch(shapes: Mapping[str, tuple[int, ...]]) -> list[Tensor]:
    """Return a batch of five."""
    return [drawn(5, shape) for shape in shapes.values()]


def step(network: nn.Module, answer: Tensor) -> dict[str, Tensor]:
    """Return the gradients of the sum of squares."""
    network.zero_grad()
    answer.square().sum().backward()
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}


CASES: dict[str, tuple[nn.Module, tuple[str, ...], Mapping[str, tuple[int, ...]]]] = {
    "words, which are integers": (Words(), ("words",), {"a": Integers((6,))}),
    "the stem": (Pictures(), ("stem",), PICTURE),
    "up to the head": (Pictures(), ("stem", "block", "norm"), PICTURE),
    "a backbone behind its own normalisation": (
        Headed(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten()),
            4 * 6 * 6,
            2,
            standardise=Standardise(*IMAGENET, 3),
        ),
        ("backbone",),
        PICTURE,
    ),
    "one branch of two": (
        FusedMLP({"a": (3,), "b": (4,)}, 2, branch=(4,), hidden=(5,)),
        ("branches.a",),
        {"a": (3,), "b": (4,)},
    ),
    "an encoder whose pools it needs": (
        FuseNetBranch({"a": (3, 32, 32)}, 2, width=0.05, units=1),
        ("encoder", "pool", "dropout"),
        {"a": (3, 32, 32)},
    ),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_the_same_numbers_gradients_and_statistics(name: str, training: bool) -> None:
    """From what crosses the cut: dropout draws, and running statistics move, as in the whole."""
    network, frozen, shapes = CASES[name]
    whole = copy.deepcopy(network)
    networks = (whole, network)
    for one in networks:
        one.train(training)
        freeze(one, frozen)
    cut, inputs = FrozenCut(network, frozen), batch(shapes)
    assert still_holds(cut, network, frozen, shapes)
    with torch.no_grad():
        crossing = cut.trunk(inputs)
    assert not any(value.requires_grad for value in crossing.values())
    torch.manual_seed(0)
    expected = whole(*inputs)
    torch.manual_seed(0)
    given = [value if i in cut.needed else None for i, value in enumerate(inputs)]
    found = cut.tail(given, crossing, training)
    torch.testing.assert_close(found, expected)
    one, other = step(whole, expected), step(network, found)
    assert one.keys() == other.keys()
    assert not any(is_within(parameter, frozen) for parameter in one)
    for parameter, gradient in one.items():
        torch.testing.assert_close(other[parameter], gradient)
    for key, value in whole.state_dict().items():
        torch.testing.assert_close(network.state_dict()[key], value)


def test_only_what_is_needed_crosses() -> None:
    """The other branch's input, and of a chain of frozen layers its end."""
    fused, frozen, _ = CASES["one branch of two"]
    assert FrozenCut(fused, frozen).needed == {1}
    whole, frozen, _ = CASES["up to the head"]
    cut = FrozenCut(whole, frozen)
    assert (len(cut.names), cut.needed) == (1, frozenset())
    crossing = probe_frozen(copy.deepcopy(whole).to("meta"), frozen, (), PICTURE)
    assert crossing == {cut.names[0]: ((4,), torch.float32)}, "its mean over the places"


def test_a_wanted_layer_before_the_cut_crosses_it() -> None:
    """Losses read layers on either side."""
    network, frozen, shapes = CASES["up to the head"]
    network.train()
    freeze(network, frozen)
    cut = FrozenCut(network, frozen, ("stem.0", "head"))
    assert list(cut.taps) == ["stem.0"]
    assert still_holds(cut, network, frozen, shapes)
    (inputs,) = batch(shapes)
    crossing = cut.trunk([inputs])
    torch.testing.assert_close(crossing[cut.taps["stem.0"]], network.stem[0](inputs))


@pytest.mark.parametrize(
    ("network", "frozen"),
    [
        (Careless(), ("stem",)),
        (Looking(), ("stem",)),
        (Mixing(), ("trunk",)),
        (Pictures(), ("block",)),  # after a stem that trains
        (Pictures(), ()),
    ],
)
def test_what_is_not_constant_is_not_cut(network: nn.Module, frozen: Sequence[str]) -> None:
    """Random numbers, other samples or trained layers before it: the network trains whole."""
    assert probe_frozen(network, frozen, (), PICTURE) is None


class Hidden(Pictures):
    """Draws random numbers inside a frozen module, whatever its mode."""

    def __init__(self) -> None:
        super().__init__()
        self.stem.add_module("noise", Noise())


class Noise(nn.Module):
    """Drops one half, always."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, ...]."""
        return F.dropout(x, 0.5, training=True)


def test_a_cut_that_does_not_hold_is_found() -> None:
    """Nobody sees it in the graph, but it answers otherwise the second time."""
    network = Hidden()
    before = copy.deepcopy(network.state_dict())
    assert not still_holds(FrozenCut(network, ("stem",)), network, ("stem",), PICTURE)
    assert all(torch.equal(before[n], v) for n, v in network.state_dict().items())
