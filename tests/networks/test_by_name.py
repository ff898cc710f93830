"""What networks of other libraries have in common, as far as no other library is needed."""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mstgraph.derive.members.weights import fitting_weights, recorded
from mstgraph.derive.opening import open_experiment
from mstgraph.networks.by_name import Headed, Standardise
from mstgraph.support.errors import UserError


@pytest.mark.parametrize(
    ("network", "package", "extra"),
    [
        ("Timm", "timm", "timm"),
        ("Torchvision", "torchvision.models", "torchvision"),
        ("TorchvisionSegmentation", "torchvision.models", "torchvision"),
        ("HuggingFace", "transformers", "huggingface"),
    ],
)
def test_a_library_that_is_missing_is_named_with_its_extra(
    network: str,
    package: str,
    extra: str,
    write_gin: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one sentence, with the place where the network is chosen."""
    monkeypatch.setitem(sys.modules, package, None)
    path = write_gin(
        "graph.target = 'rgb'\ngraph.rgb = @rgb/Member()\ngraph.depth = @depth/Member()\n"
        f"depth/Member.network = @{network}\n"
    )
    with pytest.raises(UserError) as caught:
        open_experiment([path])
    told = str(caught.value)
    assert told.startswith(f"{path}:")
    assert f"member 'depth': {network} needs the package {package}" in told
    assert told.endswith(f"expected pip install 'mstgraph[{extra}]'")
    assert "\n" not in told


def test_standardisation_by_hand() -> None:
    """(x − mean) / std per channel, and their average for another number of channels."""
    x = torch.rand(2, 3, 4, 5)
    found = Standardise((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), 3)(x)
    torch.testing.assert_close(found[:, 1], (x[:, 1] - 0.2) / 0.6)
    found = Standardise((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), 1)(x[:, :1])
    torch.testing.assert_close(found, (x[:, :1] - 0.2) / 0.6)


def test_a_head_for_vectors_and_one_for_every_pixel() -> None:
    """The backbone's features, classified; maps are interpolated to the input's size."""
    flat = Headed(nn.Sequential(nn.Flatten(), nn.Linear(48, 7), nn.ReLU()), 7, 5)
    assert flat(torch.rand(2, 3, 4, 4)).shape == (2, 5)
    assert flat.roles["hints"] == ("backbone.1",)
    dense = Headed(nn.Conv2d(3, 7, 3, stride=2), 7, 5, dense=True)
    assert dense(torch.rand(2, 3, 9, 12)).shape == (2, 5, 9, 12)


class Blocks(nn.Module):
    """A first convolution, and one of the same name in a block."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4, 3)
        self.block = nn.Sequential(OrderedDict(conv1=nn.Conv2d(4, 4, 3)))

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, 4]."""
        return self.block(self.conv1(x)).mean((2, 3))


@pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_weights_of_colours_fit_other_channels(prefix: str, channels: int, tmp_path: Path) -> None:
    """Equal channels are answered as equal colours were, and what was made to fit is told."""
    colours, network = Blocks(3), Headed(Blocks(channels), 4, 2)
    states = {f"{prefix}{name}": value for name, value in colours.state_dict().items()}
    torch.save(states, tmp_path / "colours.pt")
    weights = fitting_weights("colours.pt", tmp_path / "colours.pt", network)
    weights.load(network)
    grey = torch.rand(2, 1, 8, 8)
    found = network.backbone(grey.expand(-1, channels, -1, -1))
    torch.testing.assert_close(found, colours(grey.expand(-1, 3, -1, -1)))
    told = "; fitted to its channels: backbone.conv1.weight;" in weights.in_words()
    assert told is (channels != 3)
    assert recorded(json.loads(json.dumps(weights.document()))).adapted == weights.adapted
