"""Perceptrons: sizes, layers by hand, and what they refuse."""

from __future__ import annotations

import pickle

import gin
import numpy as np
import pytest
import torch
from torch import nn

from mstgraph.networks.mlp import MLP, FusedMLP
from mstgraph.support.errors import UserError


def numpy_linear(layer: nn.Module, x: np.ndarray, *, relu: bool) -> np.ndarray:
    """Return a linear layer's output in numpy."""
    y = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    return np.maximum(y, 0) if relu else y


@pytest.mark.parametrize(
    ("network", "inputs", "options", "count"),
    [
        (MLP, {"image": (2048,)}, {"hidden": (1024, 512)}, 2_627_080),
        (MLP, {"text": (768,)}, {"hidden": (1024, 512)}, 1_316_360),
        (
            FusedMLP,
            {"image": (2048,), "text": (768,)},
            {"branch": (1024, 512), "hidden": (512, 256)},
            4_593_416,
        ),
    ],
)
def test_parameters_of_the_papers_networks(network, inputs, options, count):
    """With the widths of the CrisisMMD networks the counts are the paper's."""
    with torch.device("meta"):
        built = network(inputs, 8, **options)
    assert sum(value.numel() for value in built.parameters()) == count


def test_mlp_by_hand():
    """Linear layers with ReLU between them and none at the end."""
    torch.manual_seed(0)
    network = MLP({"x": (5,)}, 3, hidden=(7, 6))
    x = torch.randn(4, 5)
    y = numpy_linear(network.hidden1, x.numpy(), relu=True)
    y = numpy_linear(network.hidden2, y, relu=True)
    y = numpy_linear(network.classifier, y, relu=False)
    np.testing.assert_allclose(network(x).detach().numpy(), y, rtol=1e-5, atol=1e-6)


def test_fused_mlp_by_hand():
    """Branches with ReLU, concatenated in the member's order, then an MLP."""
    torch.manual_seed(0)
    network = FusedMLP({"b": (5,), "a": (2,), "c": (3,)}, 4, branch=(6,), hidden=(7,))
    samples = [torch.randn(4, size) for size in (5, 2, 3)]
    streams = [
        numpy_linear(network.branches[name].hidden1, x.numpy(), relu=True)
        for name, x in zip("bac", samples, strict=True)
    ]
    y = numpy_linear(network.hidden1, np.concatenate(streams, axis=1), relu=True)
    y = numpy_linear(network.classifier, y, relu=False)
    np.testing.assert_allclose(network(*samples).detach().numpy(), y, rtol=1e-5, atol=1e-6)


def test_without_hidden_layers_a_classifier_is_left():
    """``hidden=()`` is logistic regression."""
    network = MLP({"x": (5,)}, 3, hidden=())
    x = torch.randn(4, 5)
    assert torch.equal(network(x), network.classifier(x))


@pytest.mark.parametrize(
    ("network", "sizes"), [(MLP, {"x": (5,)}), (FusedMLP, {"x": (5,), "y": (3,), "z": (2,)})]
)
def test_contract_of_a_network(network, sizes):
    """It runs on the meta device, traces, pickles, and depends on the seed alone."""
    with torch.device("meta"):
        assert network(sizes, 4)(*(torch.empty(2, *s) for s in sizes.values())).shape == (2, 4)
    torch.manual_seed(7)
    built = network(sizes, 4)
    torch.manual_seed(7)
    twin = network(sizes, 4)
    samples = [torch.randn(3, *shape) for shape in sizes.values()]
    output = built(*samples)
    for other in (twin, torch.fx.symbolic_trace(built), pickle.loads(pickle.dumps(built))):
        assert torch.equal(other(*samples), output)


def test_options_come_from_the_members_scope():
    """Inside a member's gin scope the options bound there apply."""
    gin.clear_config()
    gin.parse_config("rgb/MLP.hidden = (11,)")
    with gin.config_scope("rgb"):
        assert MLP({"x": (5,)}, 3).hidden1.out_features == 11
    assert MLP({"x": (5,)}, 3).hidden1.out_features == 128
    gin.clear_config()


@pytest.mark.parametrize(
    ("network", "inputs", "options", "message"),
    [
        (MLP, {"a": (5,), "b": (5,)}, {}, "MLP takes exactly one modality, but its inputs are"),
        (MLP, {"rgb": (3, 8, 8)}, {}, "a sample of modality 'rgb' is 3×8×8"),
        (MLP, {"a": (5,)}, {"hidden": (8, 0)}, "MLP.hidden holds 0"),
        (MLP, {"a": (5,)}, {"hidden": (8.5,)}, "MLP.hidden holds 8.5"),
        (FusedMLP, {"a": (5,)}, {}, "FusedMLP takes at least 2 modalities"),
        (FusedMLP, {"a": (5,), "b": (1, 2)}, {}, "a sample of modality 'b' is 1×2"),
        (FusedMLP, {"a": (5,), "keys": (2,)}, {}, "modality 'keys' cannot name a part"),
        (FusedMLP, {"a": (5,), "b.c": (2,)}, {}, "modality 'b.c' cannot name a part"),
    ],
)
def test_what_does_not_fit_is_refused(network, inputs, options, message):
    """A configuration that does not fit is the user's error, naming modality and shape."""
    with pytest.raises(UserError) as caught:
        network(inputs, 3, **options)
    assert message in str(caught.value)
