"""FuseNet knows VGG16's weights by the names that torchvision gives them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mstgraph.derive.members.weights import fitting_weights
from mstgraph.networks import vgg16
from mstgraph.networks.fusenet import FuseNet, FuseNetBranch
from mstgraph.support.errors import UserError


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Return a state dict with the keys and shapes of torchvision's VGG16 convolutions."""
    generator = torch.Generator().manual_seed(0)
    channels = [3, *(count for stage in vgg16.CHANNELS for count in stage)]
    tensors: dict[str, Tensor] = {"classifier.6.bias": torch.zeros(1000)}
    for index, position in enumerate(vgg16.FEATURES):
        shape = (channels[index + 1], channels[index], 3, 3)
        tensors[f"features.{position}.weight"] = torch.randn(shape, generator=generator)
        tensors[f"features.{position}.bias"] = torch.randn(shape[0], generator=generator)
    return tensors


@pytest.fixture(scope="module")
def weights(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the state dict in a file."""
    path = tmp_path_factory.mktemp("weights") / "vgg16.pth"
    torch.save(state, path)
    return path


def convolutions(encoder: nn.Module) -> list[nn.Conv2d]:
    """Return an encoder's convolutions in order."""
    return [part for part in encoder.modules() if isinstance(part, nn.Conv2d)]


def test_every_encoder_starts_from_the_weights(state, weights):
    """All thirteen convolutions of each encoder are VGG16's; the first follows the channels."""
    inputs = {"rgb": (3, 32, 32), "depth": (1, 32, 32), "pair": (2, 32, 32)}
    network = FuseNet(inputs, 2)
    found = fitting_weights(str(weights), weights, network)
    found.load(network)
    average = sum(state["features.0.weight"][:, channel] for channel in range(3)).unsqueeze(1) / 3
    first = {
        "rgb": state["features.0.weight"],
        "depth": average,
        "pair": average.repeat(1, 2, 1, 1),
    }
    for name, encoder in network.encoders.items():
        loaded = convolutions(encoder)
        torch.testing.assert_close(loaded[0].weight.detach(), first[name])
        for position, convolution in zip(vgg16.FEATURES, loaded, strict=True):
            assert torch.equal(convolution.bias, state[f"features.{position}.bias"])
            if position:
                assert torch.equal(convolution.weight, state[f"features.{position}.weight"])
    assert len(found.taken) == 3 * 26
    assert any(name.startswith("decoder.") for name in found.missing)


def test_the_decoder_is_the_one_of_the_seed(weights):
    """Loading the encoder leaves the decoder's random weights as without it."""
    torch.manual_seed(0)
    plain = FuseNetBranch({"rgb": (3, 32, 32)}, 2)
    torch.manual_seed(0)
    loaded = FuseNetBranch({"rgb": (3, 32, 32)}, 2, initial_weights=str(weights))
    fitting_weights(str(weights), weights, loaded).load(loaded)
    for name, value in plain.decoder.state_dict().items():
        assert torch.equal(value, loaded.decoder.state_dict()[name])


def test_a_constructor_reads_nothing():
    """A student is made of its run where the backbone's file is long gone."""
    network = FuseNetBranch({"rgb": (3, 32, 32)}, 2, initial_weights="missing.pth")
    assert network.initialisation == "encoders Kaiming, decoder Xavier"


def test_weights_of_its_own_are_known_by_their_own_names(tmp_path):
    """A FuseNet left by a run is not taken for a VGG16."""
    with torch.device("meta"):
        network = FuseNetBranch({"rgb": (3, 32, 32)}, 2, width=0.05)
    network.to_empty(device="cpu")
    torch.save(network.state_dict(), tmp_path / "own.pt")
    found = fitting_weights("own.pt", tmp_path / "own.pt", network)
    assert (found.missing, dict(found.left)) == ((), {})


def test_a_vgg16_does_not_fit_a_narrow_fusenet(weights):
    """Channels of another number are told as such."""
    narrow = FuseNetBranch({"rgb": (3, 32, 32)}, 2, width=0.05)
    with pytest.raises(UserError, match=r"nothing of the weights '.*' fits the network FuseNetB"):
        fitting_weights(str(weights), weights, narrow)
