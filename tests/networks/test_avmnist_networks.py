"""The networks of the AV-MNIST experiments: sizes, layers by hand, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mstgraph.distil.cuts import Cut
from mstgraph.distil.probing import output_shapes
from mstgraph.networks.avmnist import FusedCNN, LeNet5, ThreeLayerCNN
from mstgraph.support.errors import UserError

IMAGE = {"image": (1, 28, 28)}
AUDIO = {"audio": (1, 112, 112)}
NETWORKS = [
    (LeNet5, IMAGE, 61_706),
    (ThreeLayerCNN, AUDIO, 343_562),
    (FusedCNN, {**IMAGE, **AUDIO}, 1_809_752),
]


def samples(inputs, batch=2):
    """Return random maps, one tensor per modality."""
    torch.manual_seed(1)
    return [torch.randn(batch, *shape) for shape in inputs.values()]


@pytest.mark.parametrize(("network", "inputs", "count"), NETWORKS)
def test_parameters_are_the_papers(network, inputs, count):
    """The number of parameters is that of Table 5."""
    with torch.device("meta"):
        built = network(inputs, 10)
    assert sum(value.numel() for value in built.parameters()) == count


@pytest.mark.parametrize(
    ("network", "inputs", "points"),
    [
        (LeNet5, IMAGE, {"conv3": (120, 1, 1), "hidden1": (84,)}),
        (ThreeLayerCNN, AUDIO, {"conv2": (64, 56, 56), "conv3": (128, 28, 28)}),
        (FusedCNN, {**IMAGE, **AUDIO}, {"fusion": (596,), "hidden1": (298,)}),
    ],
)
def test_mask_points(network, inputs, points):
    """The paper's mask points exist, with the paper's shapes, and each network can be cut there."""
    built = network(inputs, 10).eval()
    assert output_shapes(built, inputs, points) == {**points, "": (10,)}
    arguments = samples(inputs)
    cut = Cut(built, tuple(points))
    for point in points:
        with torch.no_grad():
            whole, parts = built(*arguments), cut.tail(point, cut.trunk(arguments), nn.Identity())
        torch.testing.assert_close(parts, whole)


def convolved(x, layer, padding):
    """Return a convolution by its sums, in float64 numpy."""
    weight, bias = (value.detach().double().numpy() for value in (layer.weight, layer.bias))
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    size = weight.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(2, 3))
    return np.einsum("bchwij,ocij->bohw", windows, weight) + bias[:, None, None]


def pooled(x, reduce):
    """Return the maximum or mean of 2×2 blocks; an odd last row or column is left out."""
    height, width = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    blocks = x[:, :, :height, :width].reshape(*x.shape[:2], height // 2, 2, width // 2, 2)
    return reduce(blocks, axis=(3, 5))


def linear(x, layer):
    """Return a linear layer's output in float64 numpy."""
    return x @ layer.weight.detach().double().numpy().T + layer.bias.detach().double().numpy()


def relu(x):
    """Return the positive part."""
    return np.maximum(x, 0)


def lenet(network, x):
    """Return the 84 features of a LeNet-5 branch."""
    x = pooled(relu(convolved(x, network.conv1, 2)), np.mean)
    x = pooled(relu(convolved(x, network.conv2, 0)), np.mean)
    x = relu(convolved(x, network.conv3, 0)).reshape(len(x), -1)
    return relu(linear(x, network.hidden1))


def audio_branch(network, x):
    """Return the 512 features of the fused network's audio branch."""
    for number in range(1, 6):
        x = relu(convolved(x, network.get_submodule(f"conv{number}"), 1))
        x = pooled(x, np.max) if number < 5 else x.mean((2, 3))
    return x


def test_lenet_by_hand():
    """Convolutions, ReLU and average pools as Table 5 lists them, by sums in numpy."""
    network = LeNet5(IMAGE, 10)
    (x,) = samples(IMAGE)
    expected = linear(lenet(network, x.double().numpy()), network.classifier)
    np.testing.assert_allclose(network(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_audio_by_hand():
    """Three convolutions with ReLU and maximum pools, then the classifier, by sums in numpy."""
    inputs = {"audio": (1, 19, 16)}
    network = ThreeLayerCNN(inputs, 10)
    (x,) = samples(inputs)
    y = x.double().numpy()
    for number in (1, 2, 3):
        y = pooled(relu(convolved(y, network.get_submodule(f"conv{number}"), 1)), np.max)
    expected = linear(y.reshape(len(y), -1), network.classifier)
    np.testing.assert_allclose(network(x).detach().numpy(), expected, rtol=1e-4, atol=1e-5)


def test_fused_by_hand():
    """Image first, concatenation after the ReLUs, and no ReLU after ``hidden1``."""
    inputs = {**IMAGE, "audio": (1, 24, 32)}
    network = FusedCNN(inputs, 10)
    image, audio = samples(inputs)
    parts = (
        lenet(network.image, image.double().numpy()),
        audio_branch(network.audio, audio.double().numpy()),
    )
    hidden = linear(np.concatenate(parts, axis=1), network.hidden1)
    assert hidden.min() < 0  # a ReLU would show
    expected = linear(hidden, network.classifier)
    np.testing.assert_allclose(
        network(image, audio).detach().numpy(), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(("network", "inputs", "count"), NETWORKS)
def test_runs_at_other_sizes(network, inputs, count):
    """Larger maps with several channels run too, and all parameters learn."""
    wider = {name: (3, height + 5, width + 9) for name, (_, height, width) in inputs.items()}
    built = network(wider, 4)
    logits = built(*samples(wider, batch=3))
    assert logits.shape == (3, 4)
    F.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
    assert all(value.grad.abs().sum() > 0 for value in built.parameters())


@pytest.mark.parametrize(
    ("network", "inputs", "sentence"),
    [
        (LeNet5, {**IMAGE, **AUDIO}, "LeNet5 takes exactly one modality, but its inputs are"),
        (
            LeNet5,
            {"image": (1, 20, 28)},
            "LeNet5 takes maps, channels×height×width, of sides from 28, but a sample of modality "
            "'image' is 1×20×28",
        ),
        (
            ThreeLayerCNN,
            {"audio": (13,)},
            "of sides from 8, but a sample of modality 'audio' is 13",
        ),
        (FusedCNN, IMAGE, "FusedCNN takes at least 2 modalities, but its inputs are 'image'"),
        (
            FusedCNN,
            {**IMAGE, **AUDIO, "text": (5,)},
            "FusedCNN takes an image and a spectrogram, but its inputs are 'image', 'audio', "
            "'text'",
        ),
        (FusedCNN, {**IMAGE, "audio": (1, 8, 8)}, "of sides from 16"),
    ],
)
def test_refuses(network, inputs, sentence):
    """Inputs that do not fit are refused in one sentence that names the modality."""
    with pytest.raises(UserError) as caught:
        network(inputs, 10)
    assert sentence in str(caught.value)
