"""Networks over sequences: sizes, layers by hand, mask points, and what they refuse."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mstgraph.distil.cuts import Cut
from mstgraph.distil.probing import output_shapes
from mstgraph.networks.sequence import FusedSequence1d, Sequence1d
from mstgraph.support.errors import UserError

ONE = {"gyroscope": (3, 64)}
THREE = {"accelerometer": (3, 64), "gyroscope": (3, 64), "magnetometer": (3, 64)}
UNEVEN = {"long": (2, 13), "short": (3, 9)}


def samples(inputs, batch=2):
    """Return random sequences, one tensor per modality."""
    torch.manual_seed(1)
    return [torch.randn(batch, *shape) for shape in inputs.values()]


def convolutions(before, channels, kernel):
    """Return the parameters of the blocks: weights, biases, and two per channel of the norms."""
    pairs = zip((before, *channels), channels, strict=False)
    return sum(a * b * kernel + b + 2 * b for a, b in pairs)


def test_parameters_by_hand():
    """Blocks, then 64 channels at the 8 times that three halvings leave of 64, then linear ones."""
    blocks = convolutions(3, (16, 32, 64), 7)
    alone = blocks + (512 * 64 + 64) + (64 * 10 + 10)
    fused = 3 * (blocks + 512 * 32 + 32) + (96 * 64 + 64) + (64 * 10 + 10)
    for network, inputs, count in ((Sequence1d, ONE, alone), (FusedSequence1d, THREE, fused)):
        with torch.device("meta"):
            built = network(inputs, 10)
        assert sum(value.numel() for value in built.parameters()) == count


@pytest.mark.parametrize(
    ("network", "inputs", "points"),
    [
        (Sequence1d, ONE, {"block1": (16, 32), "block3": (64, 8), "hidden": (64,)}),
        (
            FusedSequence1d,
            THREE,
            {"branches.gyroscope.block2": (32, 16), "fusion": (96,), "hidden": (64,)},
        ),
    ],
)
def test_mask_points(network, inputs, points):
    """The mask points exist, with their shapes, and each network can be cut there."""
    built = network(inputs, 10).eval()
    assert output_shapes(built, inputs, points) == {**points, "": (10,)}
    arguments = samples(inputs)
    cut = Cut(built, tuple(points))
    for point in points:
        with torch.no_grad():
            whole, parts = built(*arguments), cut.tail(point, cut.trunk(arguments), nn.Identity())
        torch.testing.assert_close(parts, whole)


def numbers(parameter):
    """Return a parameter in float64 numpy."""
    return parameter.detach().double().numpy()


def linear(x, layer):
    """Return a linear layer's output."""
    return x @ numbers(layer.weight).T + numbers(layer.bias)


def block(x, module):
    """Return what a block computes in training, by its sums; an odd last time is left out."""
    size = module.conv.weight.shape[-1]
    padded = np.pad(x, ((0, 0), (0, 0), (size // 2, size // 2)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, size, axis=2)
    y = np.einsum("bcti,oci->bot", windows, numbers(module.conv.weight))
    y = y + numbers(module.conv.bias)[:, None]
    y = (y - y.mean((0, 2), keepdims=True)) / np.sqrt(y.var((0, 2), keepdims=True) + 1e-5)
    y = np.maximum(y * numbers(module.norm.weight)[:, None] + numbers(module.norm.bias)[:, None], 0)
    halved = y[:, :, : y.shape[2] // 2 * 2].reshape(*y.shape[:2], -1, 2)
    return halved.max(3)


def branch(network, x):
    """Return the hidden features of two blocks, after their ReLU."""
    y = block(block(numbers(x), network.block1), network.block2)
    return np.maximum(linear(y.reshape(len(y), -1), network.hidden), 0)


def test_one_sequence_by_hand():
    """Convolution, normalisation, ReLU and pool per block; a hidden layer; a classifier."""
    inputs = {"long": UNEVEN["long"]}
    network = Sequence1d(inputs, 4, channels=(3, 5), kernel=3, hidden=6)
    (x,) = samples(inputs)
    expected = linear(branch(network, x), network.classifier)
    np.testing.assert_allclose(network(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_fused_sequences_by_hand():
    """Branches of other lengths and channels, concatenated in the member's order."""
    network = FusedSequence1d(UNEVEN, 4, channels=(3, 5), kernel=3, branch=6, hidden=7)
    given = samples(UNEVEN)
    streams = [branch(network.branches[n], x) for n, x in zip(UNEVEN, given, strict=True)]
    hidden = np.maximum(linear(np.concatenate(streams, axis=1), network.hidden), 0)
    expected = linear(hidden, network.classifier)
    np.testing.assert_allclose(network(*given).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("network", "inputs"), [(Sequence1d, ONE), (FusedSequence1d, UNEVEN)])
def test_contract_of_a_network(network, inputs):
    """It runs on the meta device, traces, pickles, depends on the seed alone, and learns."""
    with torch.device("meta"):
        assert network(inputs, 4)(*(torch.empty(2, *s) for s in inputs.values())).shape == (2, 4)
    torch.manual_seed(7)
    built = network(inputs, 4).eval()
    torch.manual_seed(7)
    twin = network(inputs, 4).eval()
    given = samples(inputs, batch=3)
    output = built(*given)
    for other in (twin, torch.fx.symbolic_trace(built), pickle.loads(pickle.dumps(built))):
        assert torch.equal(other(*given), output)
    F.cross_entropy(built.train()(*given), torch.tensor([0, 1, 2])).backward()
    learned = (value.grad for name, value in built.named_parameters() if "conv.bias" not in name)
    assert all(gradient.abs().sum() > 0 for gradient in learned)  # a norm takes a bias away


@pytest.mark.parametrize(
    ("network", "inputs", "options", "message"),
    [
        (Sequence1d, THREE, {}, "Sequence1d takes exactly one modality, but its inputs are"),
        (
            Sequence1d,
            {"rgb": (3, 8, 8)},
            {},
            "Sequence1d takes sequences, channels×time, of at least 8 times, but a sample of "
            "modality 'rgb' is 3×8×8",
        ),
        (Sequence1d, {"a": (3, 7)}, {}, "of at least 8 times, but a sample of modality 'a' is 3×7"),
        (Sequence1d, ONE, {"channels": (16, 0)}, "Sequence1d.channels holds 0"),
        (Sequence1d, ONE, {"channels": ()}, "Sequence1d.channels is empty"),
        (Sequence1d, ONE, {"kernel": 4}, "Sequence1d.kernel is 4, expected an odd number"),
        (Sequence1d, ONE, {"hidden": 0}, "Sequence1d.hidden holds 0"),
        (FusedSequence1d, ONE, {}, "FusedSequence1d takes at least 2 modalities"),
        (FusedSequence1d, {**ONE, "b": (5,)}, {}, "a sample of modality 'b' is 5"),
        (FusedSequence1d, {**ONE, "keys": (3, 64)}, {}, "modality 'keys' cannot name a part"),
        (FusedSequence1d, THREE, {"branch": 1.5}, "FusedSequence1d.branch holds 1.5"),
    ],
)
def test_what_does_not_fit_is_refused(network, inputs, options, message):
    """A configuration that does not fit is the user's error, naming what it is about."""
    with pytest.raises(UserError) as caught:
        network(inputs, 3, **options)
    assert message in str(caught.value)
