"""Networks of torchvision as extractors, with a stand-in for torchvision."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from mstgraph.recipes import imagenet
from mstgraph.support.errors import UserError

OPTIONS = ("the_weights", "the_extractor")


def unreachable(weights: str | None) -> torch.nn.Module:
    """Behave as torchvision does without weights in its cache and without a network."""
    if weights is not None:
        raise OSError("no route\nmore")
    return torch.nn.Linear(2, 1)


@pytest.fixture(autouse=True)
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a torchvision in place that cannot fetch anything."""
    models = types.ModuleType("torchvision.models")
    models.tiny = unreachable  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", models)


def test_weights_of_a_file(tmp_path: Path) -> None:
    """They are loaded, and the network is in evaluation mode."""
    state = {"weight": torch.tensor([[3.0, 4.0]]), "bias": torch.tensor([5.0])}
    torch.save(state, tmp_path / "a.pth")
    network = imagenet.network("tiny", tmp_path / "a.pth", OPTIONS)
    assert network(torch.ones(1, 2)).item() == 12
    assert not network.training


def test_weights_that_cannot_be_had(tmp_path: Path) -> None:
    """Neither fetched nor of this network: one sentence names both options."""
    torch.save({"other": torch.ones(1)}, tmp_path / "a.pth")
    for weights, reason in ((None, "(no route)"), (tmp_path / "a.pth", "(Error(s) in loading")):
        with pytest.raises(UserError) as caught:
            imagenet.network("tiny", weights, OPTIONS)
        assert f"the weights of tiny cannot be had {reason}" in str(caught.value)
        assert "the option the_weights, or a function with the_extractor" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_pictures_are_normalised() -> None:
    """Channel by channel, channels first."""
    pictures = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    found = imagenet.batch(pictures)
    assert found.dtype == torch.float32
    assert found.shape == (2, 3, 4, 5)
    expected = (pictures[1, 2, 3, 1] / 255 - 0.456) / 0.224
    assert found[1, 1, 2, 3].item() == pytest.approx(expected, abs=1e-5)
