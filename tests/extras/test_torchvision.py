"""Models of torchvision, by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from by_name_worlds import roles_are_layers, trains_alike_without_cache

from mstgraph.networks.torchvision import Torchvision, TorchvisionSegmentation
from mstgraph.support.errors import UserError

pytest.importorskip("torchvision", reason="torchvision is not installed: tests/extras/run has it")
pytest_plugins = ("training_fixtures",)


@pytest.mark.parametrize(
    ("model", "hints"),
    [
        ("resnet18", ("layer4.0", "layer4.1")),
        ("mobilenet_v3_small", ("features.11", "features.12")),
        ("googlenet", ("inception5a", "inception5b")),
        ("vit_b_32", ("encoder.layers.encoder_layer_10", "encoder.layers.encoder_layer_11")),
    ],
)
def test_models_are_built_for_the_data(model: str, hints: tuple[str, ...]) -> None:
    """Channels and size are the data's; the last two blocks are proposed; cuts hold."""
    inputs = {"x": (1, 64, 64)}
    network = Torchvision(inputs, 5, model)
    assert network(torch.rand(2, 1, 64, 64)).shape == (2, 5)
    assert network.roles["hints"] == tuple(f"backbone.{name}" for name in hints)
    assert roles_are_layers(network, inputs)


@pytest.mark.parametrize("model", ["lraspp_mobilenet_v3_large", "fcn_resnet50"])
def test_segmentation(model: str) -> None:
    """Every pixel has an answer; such a network runs whole."""
    network = TorchvisionSegmentation({"x": (1, 32, 32)}, 5, model, normalise=True)
    assert network(torch.rand(2, 1, 32, 32)).shape == (2, 5, 32, 32)
    roles_are_layers(network, {"x": (1, 32, 32)})


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("resnt18", "did you mean 'resnet18'?"),
        ("squeezenet1_0", "does not end in a linear layer"),
        ("", "Torchvision.model is missing"),
    ],
)
def test_what_it_refuses(model: str, message: str) -> None:
    """In one sentence."""
    with pytest.raises(UserError) as caught:
        Torchvision({"x": (3, 64, 64)}, 5, model)
    assert message in str(caught.value)


GRAPH = """
graph.target = 'sketch'
graph.sketch = @sketch/Member()
sketch/Member.network = @Conv2d
graph.picture = @picture/Member()
picture/Member.network = @Torchvision
picture/Torchvision.model = 'resnet18'
picture/Torchvision.normalise = True
data.normalisation = {'picture': 'minmax'}
"""


@pytest.mark.usefixtures("float64")
def test_a_teacher_of_torchvision(tmp_path: Path) -> None:
    """What is kept changes nothing, in-place ReLUs and all."""
    trains_alike_without_cache(tmp_path, GRAPH)
