"""Image models of timm, by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from by_name_worlds import roles_are_layers, trains_alike_without_cache

from mstgraph.derive.members.weights import fitting_weights
from mstgraph.distil.frozen import probe_frozen
from mstgraph.networks.timm import Timm
from mstgraph.support.errors import UserError

timm = pytest.importorskip("timm", reason="timm is not installed: tests/extras/run has it")
pytest_plugins = ("training_fixtures",)


@pytest.mark.parametrize(
    ("model", "is_cut"),
    [
        ("mobilenetv3_small_050", True),
        ("resnet18", True),
        ("vit_tiny_patch16_224", True),
        ("convnext_atto", True),
        ("swin_tiny_patch4_window7_224", True),
        ("mobilevit_xxs", False),  # its forward pass reads sizes: it runs whole
    ],
)
def test_models_are_built_for_the_data(model: str, is_cut: bool) -> None:
    """Channels and size are the data's; the roles it proposes are layers; cuts hold."""
    inputs = {"x": (2, 64, 64)}
    network = Timm(inputs, 5, model)
    assert network(torch.rand(2, 2, 64, 64)).shape == (2, 5)
    assert network.roles["penultimate"] == ("features",)
    assert len(network.roles["hints"]) == 2
    assert roles_are_layers(network, inputs) is is_cut


@pytest.mark.parametrize("model", ["mobilenetv3_small_050", "vit_tiny_patch16_224"])
def test_dense_heads(model: str) -> None:
    """Every pixel has an answer."""
    network = Timm({"x": (3, 64, 64)}, 5, model, dense=True)
    assert network(torch.rand(2, 3, 64, 64)).shape == (2, 5, 64, 64)
    roles_are_layers(network, {"x": (3, 64, 64)})


def test_normalisation_is_the_models_own() -> None:
    """(x − mean) / std of its card; of another number of channels, their average."""
    card = timm.get_pretrained_cfg("resnet18")
    x = torch.rand(2, 3, 8, 8)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (card.mean, card.std))
    network = Timm({"x": (3, 8, 8)}, 5, "resnet18", normalise=True)
    torch.testing.assert_close(network.standardise(x), (x - mean) / std)
    grey = Timm({"x": (1, 8, 8)}, 5, "resnet18", normalise=True)
    torch.testing.assert_close(grey.standardise(x[:, :1]), (x[:, :1] - mean.mean()) / std.mean())


def test_a_model_that_does_not_exist_is_answered_with_the_nearest() -> None:
    """And a missing name with what is expected."""
    with pytest.raises(UserError, match="did you mean 'mobilenetv3_small_100'"):
        Timm({"x": (3, 64, 64)}, 5, "mobilnetv3_small_100")
    with pytest.raises(UserError, match=r"Timm\.model is missing"):
        Timm({"x": (3, 64, 64)}, 5)


GRAPH = """
graph.target = 'sketch'
Member.network = @Timm
graph.sketch = @sketch/Member()
graph.picture = @picture/Member()
graph.fused = @fused/Member()
fused/Member:
  network = @Fused
  inputs = ('picture', 'sketch')
fused/Fused.branches = (@Timm, @Conv2d)
Timm.model = 'mobilenetv3_small_050'
"""


@pytest.mark.usefixtures("float64")
def test_student_and_teachers_of_timm(tmp_path: Path) -> None:
    """A model is all that is named; what is kept changes nothing, in-place ReLUs and all."""
    trains_alike_without_cache(tmp_path, GRAPH)


@pytest.mark.parametrize("dense", [False, True])
def test_weights_of_colours_are_taken_for_grey(dense: bool, tmp_path: Path) -> None:
    """All but the classifier; and behind its own normalisation a frozen backbone is kept."""
    name, shapes = "mobilenetv3_small_050", {"x": (1, 32, 32)}
    torch.save(timm.create_model(name).state_dict(), tmp_path / "colours.pt")
    network = Timm(shapes, 5, name, normalise=True, dense=dense)
    weights = fitting_weights("colours.pt", tmp_path / "colours.pt", network)
    assert weights.missing == ("classifier.weight", "classifier.bias")
    first = "backbone.model.conv_stem.weight" if dense else "backbone.conv_stem.weight"
    assert weights.adapted == (first,)
    crossing = probe_frozen(network.to("meta"), ("backbone",), (), shapes)
    assert crossing is not None
