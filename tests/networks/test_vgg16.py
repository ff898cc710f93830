"""FuseNet's encoders really start from VGG16's weights, and stay there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

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


def test_every_encoder_holds_the_weights_after_construction(state, weights):
    """All thirteen convolutions of each encoder are VGG16's; the first follows the channels."""
    inputs = {"rgb": (3, 32, 32), "depth": (1, 32, 32), "pair": (2, 32, 32)}
    network = FuseNet(inputs, 2, initial_weights=str(weights))
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
    assert network.initialisation == f"encoders VGG16 from '{weights}', decoder Xavier"


def test_the_decoder_is_the_one_of_the_seed(weights):
    """Loading the encoder leaves the decoder's random weights as without it."""
    torch.manual_seed(0)
    plain = FuseNetBranch({"rgb": (3, 32, 32)}, 2)
    torch.manual_seed(0)
    loaded = FuseNetBranch({"rgb": (3, 32, 32)}, 2, initial_weights=str(weights))
    for name, value in plain.decoder.state_dict().items():
        assert torch.equal(value, loaded.decoder.state_dict()[name])


def test_a_url_is_fetched_through_torch_hub(state, weights, tmp_path, monkeypatch):
    """A URL is read like a file, by way of torch's own cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    read = vgg16.read_state(weights.as_uri())
    assert set(read) == set(state)
    assert (tmp_path / "hub" / "checkpoints" / "vgg16.pth").exists()


def test_nothing_is_read_on_the_meta_device():
    """Showing a plan needs no weights: a missing file does not matter there."""
    with torch.device("meta"):
        FuseNetBranch({"rgb": (3, 32, 32)}, 2, initial_weights="missing.pth")


def refused(source: object) -> str:
    """Return the message that refuses initial weights."""
    with pytest.raises(UserError) as caught:
        vgg16.read_state(str(source))
    return str(caught.value)


def test_files_that_cannot_be_read_are_refused(tmp_path, monkeypatch):
    """A missing file or URL, a file that is no checkpoint, and one that is no state dict."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert refused(tmp_path / "no.pth") == f"initial weights '{tmp_path / 'no.pth'}' do not exist"
    (tmp_path / "text.pth").write_text("hello")
    assert "text.pth' cannot be read as a state dict: " in refused(tmp_path / "text.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    assert "list.pth' hold a list, expected a state dict" in refused(tmp_path / "list.pth")
    assert "cannot be read as a state dict: " in refused((tmp_path / "no.pth").as_uri())


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("features.2.weight", None, "file.pth' have no 'features.2.weight'"),
        ("features.28.bias", None, "file.pth' have no 'features.28.bias'"),
        (
            "features.5.weight",
            torch.zeros(128, 3, 3, 3),
            "file.pth': 'features.5.weight' has shape (128, 3, 3, 3), expected (128, 64, 3, 3)",
        ),
        ("features.0.weight", torch.zeros(64, 1, 3, 3), "expected (64, 3, 3, 3)"),
    ],
)
def test_state_dicts_of_another_network_are_refused(state, key, value, message):
    """A missing key or another shape is the user's error, naming key and file."""
    changed = {name: tensor for name, tensor in state.items() if name != key}
    if value is not None:
        changed[key] = value
    encoder = FuseNetBranch({"depth": (1, 32, 32)}, 2).encoder
    with pytest.raises(UserError) as caught:
        vgg16.load_convolutions(convolutions(encoder), changed, "file.pth")
    assert message in str(caught.value)
