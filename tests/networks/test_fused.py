"""A member made of any networks: its branches, the three fusions, and what it refuses."""

from __future__ import annotations

import gin
import numpy as np
import pytest
import torch
from torch import nn

from mstgraph.distil.cuts import Cut
from mstgraph.distil.probing import output_shapes
from mstgraph.networks.conv import Conv2d
from mstgraph.networks.fused import Attention, Fused, Sum
from mstgraph.networks.mlp import MLP
from mstgraph.networks.sequence import Sequence1d
from mstgraph.support.errors import UserError

TWO = {"audio": (1, 16, 16), "motion": (3, 16)}


def samples(inputs, batch=2):
    """Return random values, one tensor per modality."""
    torch.manual_seed(1)
    return [torch.rand(batch, *shape) for shape in inputs.values()]


@pytest.mark.parametrize("fusion", ["concatenation", "sum", "attention"])
def test_branches_are_networks_that_answer_with_features(fusion):
    """Each sees its modality; the head sees what the fusion makes of what they answer."""
    network = Fused(TWO, 5, (Conv2d, Sequence1d), fusion, width=8, hidden=6).eval()
    x = samples(TWO)
    streams = [network.branches.audio(x[0]), network.branches.motion(x[1])]
    assert [type(branch) for branch in network.branches.values()] == [Conv2d, Sequence1d]
    assert all(stream.shape == (2, 8) for stream in streams)
    fused = network.fusion(*streams)
    expected = network.classifier(network.hidden(fused.relu()).relu())
    torch.testing.assert_close(network(*x), expected)


def test_fusions_against_numpy():
    """The sum, and attention that weighs whole branches (Ilse et al., Eq. 7–8)."""
    torch.manual_seed(0)
    streams = torch.randn(3, 4, 6).unbind()
    torch.testing.assert_close(Sum()(*streams), streams[0] + streams[1] + streams[2])
    attention = Attention(6)
    v, b = (value.detach().numpy() for value in attention.inner.parameters())
    (w,) = attention.score.weight.detach().numpy()
    z = np.stack([stream.numpy() for stream in streams], 1)
    scores = np.exp(np.tanh(z @ v.T + b) @ w)
    weights = scores / scores.sum(1, keepdims=True)
    expected = (weights[..., None] * z).sum(1)
    np.testing.assert_allclose(attention(*streams).detach().numpy(), expected, rtol=1e-5)


def test_attention_of_equal_branches_is_the_branch():
    """Weights sum to one; the order of the branches does not count."""
    torch.manual_seed(0)
    one, other = torch.randn(2, 4, 6).unbind()
    attention = Attention(6)
    torch.testing.assert_close(attention(one, one), one)
    torch.testing.assert_close(attention(one, other), attention(other, one))


def test_maps_are_fused_at_each_place():
    """A dense member answers for every pixel as one over vectors would."""
    torch.manual_seed(0)
    one, other = torch.randn(2, 3, 6, 2, 5).unbind()
    attention = Attention(6)
    fused = attention(one, other)
    assert fused.shape == (3, 6, 2, 5)
    torch.testing.assert_close(fused[:, :, 1, 3], attention(one[:, :, 1, 3], other[:, :, 1, 3]))


class Pixelwise(nn.Conv2d):
    """A dense network: a 1×1 convolution."""

    def __init__(self, inputs, num_outputs):
        ((channels, _, _),) = inputs.values()
        super().__init__(channels, num_outputs, 1)


def test_dense_branches_make_a_dense_member():
    """Of two maps of one size, logits at every pixel."""
    inputs = {"rgb": (3, 4, 6), "depth": (1, 4, 6)}
    for fusion in ("concatenation", "sum", "attention"):
        network = Fused(inputs, 5, Pixelwise, fusion, dense=True)
        assert network(*samples(inputs)).shape == (2, 5, 4, 6)


def test_mask_points_and_roles():
    """It proposes what follows the branches, can be cut there, and inside the branches, too."""
    network = Fused(TWO, 5, (Conv2d, Sequence1d), width=8, hidden=6).eval()
    points = {"fusion": (16,), "hidden": (6,), "branches.motion.block3": (64, 2)}
    assert output_shapes(network, TWO, points) == {**points, "": (5,)}
    assert network.roles["hints"] == network.roles["masks"] == ("fusion", "hidden")
    x = samples(TWO)
    cut = Cut(network, tuple(points))
    for point in points:
        torch.testing.assert_close(cut.tail(point, cut.trunk(x), nn.Identity()), network(*x))


def test_settings_of_branches_are_read_in_the_members_scope():
    """As a gin file gives them: one reference for all, or one each."""
    gin.parse_config("fused/MLP.hidden = (7,)\nMLP.hidden = (3,)\nFused.branches = @MLP")
    with gin.config_scope("fused"):
        network = gin.get_configurable(Fused)({"a": (4,), "b": (5,)}, 2)
    assert [b.hidden1.out_features for b in network.branches.values()] == [7, 7]
    assert [b.hidden1.in_features for b in network.branches.values()] == [4, 5]


@pytest.mark.parametrize(
    ("inputs", "settings", "message"),
    [
        ({"a": (4,)}, {"branches": MLP}, "Fused takes at least 2 modalities"),
        (TWO, {}, "Fused.branches is empty, expected one for each of its 2 inputs"),
        (TWO, {"branches": (MLP, MLP, MLP)}, "Fused.branches holds 3 networks, expected one for"),
        (TWO, {"branches": MLP}, "MLP takes vectors, but a sample of modality 'audio'"),
        (TWO, {"branches": (Conv2d, Sequence1d), "fusion": "summ"}, "did you mean 'sum'?"),
        (TWO, {"branches": (Conv2d, Sequence1d), "width": 0}, "Fused.width holds 0"),
        (TWO, {"branches": dict}, "Fused.branches names dict, which makes no network"),
    ],
)
def test_what_it_refuses(inputs, settings, message):
    """In a sentence that names the setting or the branch."""
    if settings.get("branches") is dict:
        settings = {"branches": lambda inputs, width: {}}
        message = "which makes no network"
    with pytest.raises(UserError) as caught:
        Fused(inputs, 5, **settings)
    assert message in str(caught.value)
