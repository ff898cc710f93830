"""The networks of the RAVDESS and VGGSound experiments: sizes, layers by hand, and refusals."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mstgraph.distil.probing import output_shapes
from mstgraph.networks.clips import FusedClips, ThreeLayerCNN1d, ThreeLayerCNN3d
from mstgraph.support.errors import UserError

RAVDESS = {"visual": (3, 15, 224, 224), "audio": (15, 156)}
VGGSOUND = {"visual": (512, 10, 7, 7), "audio": (10, 128)}
SMALL = {"visual": (2, 8, 9, 10), "audio": (3, 30)}
CLIP = {"channels": (256, 128, 64), "pools": 2}
FUSED = {"clip_channels": (256, 128, 64), "clip_pools": 2, "sequence_channels": (16, 32, 64)}


def one(inputs, name):
    """Return one of the modalities alone."""
    return {name: inputs[name]}


def samples(inputs, batch=2):
    """Return random tensors, one per modality."""
    torch.manual_seed(1)
    return [torch.randn(batch, *shape) for shape in inputs.values()]


@pytest.mark.parametrize(
    ("network", "inputs", "classes", "options", "count"),
    [
        (ThreeLayerCNN3d, one(RAVDESS, "visual"), 8, {}, 6_084_420),
        (ThreeLayerCNN1d, one(RAVDESS, "audio"), 8, {}, 575_848),
        (FusedClips, RAVDESS, 8, {}, 6_607_300),
        (ThreeLayerCNN3d, one(VGGSOUND, "visual"), 141, CLIP, 4_761_549),
        (ThreeLayerCNN1d, one(VGGSOUND, "audio"), 141, {"channels": (16, 32, 64)}, 164_797),
        (FusedClips, VGGSOUND, 141, FUSED, 4_851_965),
    ],
)
def test_parameters_and_mask_points_are_the_papers(network, inputs, classes, options, count):
    """The number of parameters is that of Table 5; the mask points have 320 and 160 features."""
    with torch.device("meta"):
        built = network(inputs, classes, **options)
    assert sum(value.numel() for value in built.parameters()) == count
    shapes = output_shapes(built, inputs, ["hidden1", "hidden2"])
    assert shapes == {"hidden1": (320,), "hidden2": (160,), "": (classes,)}


def by_hand(branch, x, kind, pools):
    """Return what a branch computes, layer by layer."""
    for number in range(1, 4):
        convolution = getattr(branch, f"conv{number}")
        x = getattr(F, f"conv{kind}d")(x, convolution.weight, convolution.bias, padding=1)
        norm = getattr(branch, f"norm{number}")
        x = F.batch_norm(x, None, None, norm.weight, norm.bias, training=True)
        x = x.clamp(min=0)
        if number <= pools:
            x = getattr(F, f"max_pool{kind}d")(x, 2 if kind == 3 else 3)
    return x.reshape(len(x), -1)


def classified(network, x):
    """Return what the linear layers compute."""
    for layer in (network.hidden1, network.hidden2):
        x = (x @ layer.weight.T + layer.bias).clamp(min=0)
    return x @ network.classifier.weight.T + network.classifier.bias


@pytest.mark.parametrize("pools", [2, 3])
def test_unimodal_networks_by_hand(pools):
    """Convolution, normalisation, ReLU, pool; then linear layers with ReLU between them."""
    visual, audio = samples(SMALL)
    network = ThreeLayerCNN3d(one(SMALL, "visual"), 4, channels=(3, 4, 5), pools=pools)
    expected = classified(network, by_hand(network.convolutions, visual, 3, pools))
    torch.testing.assert_close(network(visual), expected)
    network = ThreeLayerCNN1d(one(SMALL, "audio"), 4, channels=(3, 4, 5))
    expected = classified(network, by_hand(network.convolutions, audio, 1, 3))
    torch.testing.assert_close(network(audio), expected)


@pytest.mark.parametrize("order", [("visual", "audio"), ("audio", "visual")])
def test_fused_network_by_hand(order):
    """The sequence comes first in the concatenation, whatever the order of the inputs."""
    inputs = {name: SMALL[name] for name in order}
    network = FusedClips(inputs, 4, clip_channels=(3, 4, 5), sequence_channels=(2, 3, 4))
    given = dict(zip(order, samples(inputs), strict=True))
    audio = by_hand(network.branches["audio"], given["audio"], 1, 3)
    visual = by_hand(network.branches["visual"], given["visual"], 3, 3)
    expected = classified(network, torch.cat([audio, visual], 1))
    torch.testing.assert_close(network(*given.values()), expected)


@pytest.mark.parametrize(
    ("network", "inputs"),
    [
        (ThreeLayerCNN3d, one(SMALL, "visual")),
        (ThreeLayerCNN1d, one(SMALL, "audio")),
        (FusedClips, SMALL),
    ],
)
def test_contract_of_a_network(network, inputs):
    """It traces, pickles, and depends on the seed alone; a mask point can be replaced."""
    torch.manual_seed(7)
    built = network(inputs, 4).eval()
    torch.manual_seed(7)
    twin = network(inputs, 4).eval()
    given = samples(inputs, 3)
    output = built(*given)
    assert output.shape == (3, 4)
    for other in (twin, torch.fx.symbolic_trace(built), pickle.loads(pickle.dumps(built))):
        assert torch.equal(other(*given), output)
    built.hidden2 = nn.Sequential(built.hidden2, nn.Tanh())
    assert not torch.equal(built(*given), output)


@pytest.mark.parametrize(
    ("network", "inputs", "options", "message"),
    [
        (ThreeLayerCNN3d, SMALL, {}, "ThreeLayerCNN3d takes exactly one modality"),
        (ThreeLayerCNN3d, {"rgb": (3, 9, 9)}, {}, "takes clips, channels×frames×height×width, but"),
        (ThreeLayerCNN3d, {"v": (3, 7, 9, 9)}, {}, "sides of at least 8, but a sample of modality"),
        (ThreeLayerCNN3d, {"v": (3, 9, 9, 9)}, {"pools": 4}, "pools after 4 of the 3 layers"),
        (ThreeLayerCNN3d, {"v": (3, 9, 9, 9)}, {"channels": (1, 0)}, "channels holds 0"),
        (ThreeLayerCNN1d, {"a": (3,)}, {}, "takes sequences, channels×length, but"),
        (ThreeLayerCNN1d, {"a": (3, 26)}, {}, "sides of at least 27"),
        (ThreeLayerCNN1d, {"a": (3, 27)}, {"channels": ()}, "at least one layer"),
        (FusedClips, {"a": (3, 27)}, {}, "FusedClips takes at least 2 modalities"),
        (FusedClips, {"a": (3, 27), "b": (5,)}, {}, "a sample of modality 'b' is 5"),
        (FusedClips, {"a": (3, 27), "keys": (3, 27)}, {}, "'keys' cannot name a part"),
    ],
)
def test_what_does_not_fit_is_refused(network, inputs, options, message):
    """A configuration that does not fit is the user's error, naming modality and shape."""
    with pytest.raises(UserError) as caught:
        network(inputs, 3, **options)
    assert message in str(caught.value)
