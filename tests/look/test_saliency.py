"""Grad-CAM: against an independent computation, and by what it must show."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from mstgraph.look.opened import Asked
from mstgraph.look.saliency import grad_cam, saliency
from mstgraph.run.networks import Networks, Shared
from mstgraph.stages.node import Forward


def test_grad_cam_is_the_equation() -> None:
    """Relu of channels weighted by mean gradients, in 0…1, in NumPy; extents as they are."""
    draw = np.random.default_rng(0)
    feature, gradient = draw.normal(size=(2, 3, 4, 5)), draw.normal(size=(2, 3, 4, 5))
    weights = gradient.mean((2, 3))
    expected = np.maximum((weights[:, :, None, None] * feature).sum(1), 0)
    expected /= expected.max((1, 2), keepdims=True)
    found = grad_cam(torch.tensor(feature), torch.tensor(gradient), (4, 5))
    np.testing.assert_allclose(found.numpy(), expected)


def test_nothing_speaks_for_an_answer_that_all_speaks_against() -> None:
    """A map of zeros, and no division by zero."""
    found = grad_cam(torch.ones(1, 2, 4), -torch.ones(1, 2, 4), (8,))
    assert found.shape == (1, 8)
    assert not found.any()


class LeftHalf(nn.Module):
    """Answers by the left half of a sequence, and by another input that has no places."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv1d(1, 2, 1)
        nn.init.constant_(self.layer.weight, 1.0)
        nn.init.zeros_(self.layer.bias)

    def forward(self, trace: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
        """Return two logits."""
        found = self.layer(trace)
        return torch.stack([found[:, :, :4].sum((1, 2)) + vector.sum(1), -found.sum((1, 2))], 1)


def asked(network: nn.Module) -> Asked:
    """A network that can be asked, outside any run."""
    networks = Networks({"m": network}, {"m": ("trace", "vector")}, frozenset(), {})
    return Asked("m", SimpleNamespace(), Forward("m"), networks)


def test_a_network_looks_where_its_input_is() -> None:
    """A peak in the half that counts is bright; the layer and the modality are named."""
    trace = torch.zeros(1, 1, 8)
    trace[0, 0, 2] = 3.0
    inputs = {"trace": trace, "vector": torch.ones(1, 3)}
    shared = Shared(inputs, torch.zeros(1, dtype=torch.long), torch.zeros(1), {})
    found = saliency(asked(LeftHalf()), shared, "trace")
    assert (found.layer, found.modality, found.predicted.tolist()) == ("layer", "trace", [0])
    assert found.maps.shape == (1, 8)
    assert found.maps.argmax() == 2


def test_a_vector_has_no_places() -> None:
    """A network is not looked at where its modality is a vector."""
    inputs = {"trace": torch.zeros(1, 1, 8), "vector": torch.ones(1, 3)}
    shared = Shared(inputs, torch.zeros(1, dtype=torch.long), torch.zeros(1), {})
    assert saliency(asked(LeftHalf()), shared, "vector") is None
