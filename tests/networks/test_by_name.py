"""What networks of other libraries have in common, as far as no other library is needed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from mstgraph.derive.opening import open_experiment
from mstgraph.networks.by_name import Headed, Standardise
from mstgraph.support.errors import UserError


@pytest.mark.parametrize(
    ("network", "package", "extra"),
    [
        ("Timm", "timm", "timm"),
        ("Torchvision", "torchvision.models", "torchvision"),
        ("TorchvisionSegmentation", "torchvision.models", "torchvision"),
        ("HuggingFace", "transformers", "huggingface"),
    ],
)
def test_a_library_that_is_missing_is_named_with_its_extra(
    network: str,
    package: str,
    extra: str,
    write_gin: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one sentence, with the place where the network is chosen."""
    monkeypatch.setitem(sys.modules, package, None)
    path = write_gin(
        "graph.target = 'rgb'\ngraph.rgb = @rgb/Member()\ngraph.depth = @depth/Member()\n"
        f"depth/Member.network = @{network}\n"
    )
    with pytest.raises(UserError) as caught:
        open_experiment([path])
    told = str(caught.value)
    assert told.startswith(f"{path}:")
    assert f"member 'depth': {network} needs the package {package}" in told
    assert told.endswith(f"expected pip install 'mstgraph[{extra}]'")
    assert "\n" not in told


def test_standardisation_by_hand() -> None:
    """(x − mean) / std per channel, and their average for another number of channels."""
    x = torch.rand(2, 3, 4, 5)
    found = Standardise((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), 3)(x)
    torch.testing.assert_close(found[:, 1], (x[:, 1] - 0.2) / 0.6)
    found = Standardise((0.1, 0.2, 0.3), (0.5, 0.6, 0.7), 1)(x[:, :1])
    torch.testing.assert_close(found, (x[:, :1] - 0.2) / 0.6)


def test_a_head_for_vectors_and_one_for_every_pixel() -> None:
    """The backbone's features, classified; maps are interpolated to the input's size."""
    flat = Headed(nn.Sequential(nn.Flatten(), nn.Linear(48, 7), nn.ReLU()), 7, 5)
    assert flat(torch.rand(2, 3, 4, 4)).shape == (2, 5)
    assert flat.roles["hints"] == ("backbone.1",)
    dense = Headed(nn.Conv2d(3, 7, 3, stride=2), 7, 5, dense=True)
    assert dense(torch.rand(2, 3, 9, 12)).shape == (2, 5, 9, 12)
