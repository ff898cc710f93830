"""What a network answers with is asked before anything is trained, whatever it looks at."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mstgraph.distil.probing import looks_at_values, output_shapes, refuse_lazy, unstorable
from mstgraph.support.errors import UserError

INPUTS = {"x": (4,)}


class Net(nn.Module):
    """Answers with what its subclasses make of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(4, 3)
        self.classifier = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> object:
        """Return [batch, 2]."""
        return self._answer(self.classifier(self.hidden(x)))

    def _answer(self, logits: Tensor) -> object:
        """Return the logits."""
        return logits


class TupleInEvaluation(Net):
    """As detectors do."""

    def _answer(self, logits: Tensor) -> object:
        return logits if self.training else (logits, logits)


class DictInTraining(Net):
    """As segmentation networks with an auxiliary head do."""

    def _answer(self, logits: Tensor) -> object:
        return {"out": logits} if self.training else logits


class WiderInEvaluation(Net):
    """Another shape, but a tensor."""

    def _answer(self, logits: Tensor) -> object:
        return logits if self.training else torch.cat([logits, logits], 1)


class SkipsInEvaluation(Net):
    """Calls a layer in training alone."""

    def forward(self, x: Tensor) -> object:
        """Return [batch, 2]."""
        hidden = self.hidden(x)
        return self.classifier(hidden) if self.training else hidden[:, :2]


@pytest.mark.parametrize(
    ("network", "points", "message"),
    [
        (TupleInEvaluation, (), "returns a tuple, expected one float tensor (in evaluation)"),
        (DictInTraining, (), "returns a dict, expected one float tensor (in training)"),
        (WiderInEvaluation, (), "returns 2 in training and 4 in evaluation, expected one shape"),
        (SkipsInEvaluation, ("classifier",), "calls it never, not once (in evaluation)"),
    ],
)
@pytest.mark.parametrize("by_value", [False, True])
def test_both_modes_are_asked(
    network: type[Net], points: tuple[str, ...], message: str, by_value: bool
) -> None:
    """What fails in one of them would fail in the middle of a run."""
    with pytest.raises(UserError) as caught:
        output_shapes(network(), INPUTS, points, by_value=by_value)
    assert message in str(caught.value)


def test_modes_of_layers_stay_as_they_are() -> None:
    """A layer that is frozen in evaluation mode is so afterwards."""
    network = Net().train()
    network.hidden.eval()
    output_shapes(network, INPUTS)
    assert (network.training, network.hidden.training) == (True, False)


class Item(Net):
    """Reads a number."""

    def _answer(self, logits: Tensor) -> object:
        return logits * logits.abs().max().item()


class Branch(Net):
    """Decides on a value."""

    def _answer(self, logits: Tensor) -> object:
        return logits if (logits > 0).any() else -logits


class Checks(Net):
    """Asserts something of the values."""

    def _answer(self, logits: Tensor) -> object:
        assert torch.isfinite(logits).all(), "not finite"
        return logits


class Numpy(Net):
    """Goes through numpy."""

    def _answer(self, logits: Tensor) -> object:
        return logits + torch.from_numpy(logits.detach().numpy())


class Listed(Net):
    """Goes through a list."""

    def _answer(self, logits: Tensor) -> object:
        return torch.tensor(logits.tolist())


@pytest.mark.parametrize("network", [Item, Branch, Checks, Numpy, Listed])
def test_a_network_that_looks_at_values_is_asked_by_value(network: type[Net]) -> None:
    """The meta device has none, and says so; random numbers on the CPU do."""
    with pytest.raises(UserError) as caught:
        output_shapes(network(), INPUTS, ["hidden"])
    assert looks_at_values(caught.value)
    assert output_shapes(network(), INPUTS, ["hidden"], by_value=True) == {"hidden": (3,), "": (2,)}


class Wrong(Net):
    """Is at fault itself."""

    def _answer(self, logits: Tensor) -> object:
        raise self.error


@pytest.mark.parametrize(
    "error", [AssertionError("odd"), KeyError("odd"), NotImplementedError("odd"), SystemExit(0)]
)
def test_whatever_a_network_raises_is_one_sentence(error: BaseException) -> None:
    """With the exception's name and the line; nothing about the meta device, so nothing else."""
    network = Wrong()
    network.error = error
    with pytest.raises(UserError) as caught:
        output_shapes(network, INPUTS)
    assert not looks_at_values(caught.value)
    said = "it ends the program" if isinstance(error, SystemExit) else type(error).__name__
    assert said in str(caught.value)
    assert "test_probing.py:" in str(caught.value)


class Inner(nn.Module):
    """A layer of the user's that fails."""

    def forward(self, x: Tensor) -> Tensor:
        """Fail in one of torch's functions."""
        return x @ torch.ones(7, 7)


def test_the_layer_that_fails_is_named() -> None:
    """The innermost one, by its path."""
    network = Net()
    network.hidden = nn.Sequential(nn.Linear(4, 3), Inner())
    with pytest.raises(UserError, match=r"layer 'hidden\.1': \w+Error: .*test_probing\.py:\d+"):
        output_shapes(network, INPUTS)


@pytest.mark.parametrize("kind", [nn.LazyLinear, nn.LazyBatchNorm1d])
def test_layers_without_a_shape_are_refused(kind: type[nn.Module]) -> None:
    """With the layer's path and what to write in its place."""
    network = nn.Sequential(nn.Linear(2, 2), kind(3) if kind is nn.LazyLinear else kind())
    with pytest.raises(UserError, match=f"layer '1' is a {kind.__name__}.*such as "):
        refuse_lazy(network)


class Extra(nn.Module):
    """Has state that is no tensor."""

    def get_extra_state(self) -> object:
        """Return a dictionary."""
        return {"scale": 2}

    def set_extra_state(self, state: object) -> None:
        """Take it."""


class Renamed(nn.Module):
    """Writes its state under another name than it reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))

    def state_dict(self, *args: object, **kwargs: object) -> dict[str, Tensor]:
        """Return it under a name of its own."""
        return {"w": self.weight}


class Sparse(nn.Module):
    """Has a buffer that no weights file holds."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("links", torch.eye(2).to_sparse())


class ExtraTensor(Extra):
    """Has state that is a tensor."""

    def get_extra_state(self) -> object:
        """Return a tensor."""
        return torch.tensor(2.0)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (nn.Sequential(Extra()), "state '0._extra_state' is a dict, which weights on disk cannot"),
        (Renamed(), "does not take its own state_dict back"),
        (Sparse(), "state 'links' is no plain real tensor"),
    ],
)
def test_state_that_cannot_be_stored_is_known_beforehand(module: nn.Module, message: str) -> None:
    """Not after the training that it would have lost."""
    assert message in unstorable(module)


@pytest.mark.parametrize("module", [nn.Linear(2, 2), nn.BatchNorm1d(2), ExtraTensor()])
def test_other_state_can_be_stored(module: nn.Module) -> None:
    """On the CPU and on the meta device."""
    assert unstorable(module) == ""
    assert unstorable(module.to("meta")) == ""
