"""The network over maps: sizes by hand, mask points, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mstgraph.distil.cuts import Cut
from mstgraph.distil.probing import output_shapes
from mstgraph.networks.conv import Conv2d
from mstgraph.support.errors import UserError

DIGIT = {"image": (1, 28, 28)}


def test_parameters_by_hand():
    """Three blocks leave 3×3 of 28×28, which the four cells leave as they are."""
    blocks = sum(a * b * 9 + b + 2 * b for a, b in ((1, 16), (16, 32), (32, 64)))
    expected = blocks + (64 * 9 * 64 + 64) + (64 * 10 + 10)
    with torch.device("meta"):
        built = Conv2d(DIGIT, 10)
    assert sum(value.numel() for value in built.parameters()) == expected


@pytest.mark.parametrize(
    ("shape", "settings", "left"),
    [
        ((1, 28, 28), {}, (3, 3)),
        ((2, 128, 64), {}, (4, 4)),
        ((1, 40, 501), {"channels": (8, 8)}, (3, 3)),  # 10×125, averaged over 3×32
        ((3, 33, 20), {"stride": 2, "pool": 1, "channels": (8, 8)}, (3, 2)),
    ],
)
def test_maps_of_any_size_end_in_few_cells(shape, settings, left):
    """The hidden layer sees as many, at most 4×4, and the network runs on them."""
    network = Conv2d({"map": shape}, 5, **settings)
    cells = network.hidden.in_features // (settings.get("channels", (64,))[-1])
    assert cells <= 16
    if shape != (3, 33, 20):
        assert cells == left[0] * left[1]
    assert network(torch.rand(2, *shape)).shape == (2, 5)


def test_layers_by_hand():
    """Convolution, norm, ReLU, maximum; then the average, the hidden layer, and the classifier."""
    torch.manual_seed(0)
    network = Conv2d({"map": (2, 9, 12)}, 3, channels=(4,), kernel=5, cells=2, hidden=6).eval()
    x = torch.rand(3, 2, 9, 12)
    block = network.block1
    z = F.conv2d(x, block.conv.weight, block.conv.bias, padding=2)
    z = F.max_pool2d(F.relu(z / (1 + 1e-5) ** 0.5), 2)  # 4×6
    z = z.unflatten(2, (2, 2)).unflatten(4, (2, 3)).mean((3, 5)).flatten(1)
    expected = network.classifier(F.relu(z @ network.hidden.weight.T + network.hidden.bias))
    torch.testing.assert_close(network(x), expected)


def test_the_roles_it_proposes_are_layers_where_it_can_be_cut():
    """The last two blocks, and the hidden layer."""
    built = Conv2d(DIGIT, 10).eval()
    roles = built.roles
    assert roles == {
        "penultimate": ("hidden",),
        "hints": ("block2", "block3"),
        "masks": ("block3", "hidden"),
    }
    points = {"block2": (32, 7, 7), "block3": (64, 3, 3), "hidden": (64,)}
    assert output_shapes(built, DIGIT, points) == {**points, "": (10,)}
    x = torch.rand(2, 1, 28, 28)
    cut = Cut(built, roles["masks"])
    for point in roles["masks"]:
        torch.testing.assert_close(cut.tail(point, cut.trunk([x]), nn.Identity()), built(x))


@pytest.mark.parametrize(
    ("inputs", "settings", "message"),
    [
        ({"a": (1, 28, 28), "b": (1, 28, 28)}, {}, "Conv2d takes exactly one modality"),
        ({"audio": (3, 64)}, {}, "a sample of modality 'audio' is 3×64"),
        ({"image": (1, 4, 28)}, {}, "of sides from about 8, but a sample of modality 'image' is"),
        (DIGIT, {"kernel": 4}, "Conv2d.kernel is 4, expected an odd number"),
        (DIGIT, {"channels": ()}, "Conv2d.channels is empty"),
        (DIGIT, {"pool": 0}, "Conv2d.pool holds 0, expected integers of at least 1"),
    ],
)
def test_what_it_refuses(inputs, settings, message):
    """In a sentence that names the setting or the modality."""
    with pytest.raises(UserError) as caught:
        Conv2d(inputs, 10, **settings)
    assert message in str(caught.value)
