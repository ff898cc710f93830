"""Weights on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mstgraph.support.errors import UserError
from mstgraph.support.weights import load_weights, save_weights

ADVICE = "do so"


def network(width: int = 3) -> nn.Module:
    """A network with parameters, buffers and an integer."""
    return nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width))


def test_what_is_loaded_is_what_was_saved(tmp_path: Path) -> None:
    """Bit for bit, and readable by whoever may read the folder."""
    first, second = network(), network()
    first(torch.randn(5, 4))
    save_weights(tmp_path / "w.safetensors", first)
    load_weights(tmp_path / "w.safetensors", second, ADVICE)
    for name, tensor in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], tensor)
    other = tmp_path / "other"
    other.touch()
    assert (tmp_path / "w.safetensors").stat().st_mode == other.stat().st_mode


def test_any_damage_is_refused(tmp_path: Path) -> None:
    """Cut short or changed anywhere, header or numbers; the module keeps its weights."""
    path = tmp_path / "w.safetensors"
    save_weights(path, network())
    content = path.read_bytes()
    module = network()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1
        for damaged in (content[:place], bytes(changed)):
            path.write_bytes(damaged)
            with pytest.raises(UserError, match=r"cannot be used .*; do so"):
                load_weights(path, module, ADVICE)
    assert all(torch.equal(tensor, before[n]) for n, tensor in module.state_dict().items())


def test_weights_of_another_network_or_another_hand_are_refused(tmp_path: Path) -> None:
    """In one sentence that names the file."""
    path = tmp_path / "w.safetensors"
    save_weights(path, network(5))
    with pytest.raises(UserError, match=r"w\.safetensors' cannot be used") as caught:
        load_weights(path, network(), ADVICE)
    assert len(str(caught.value).splitlines()) == 1
    save_file(dict(network().state_dict()), path)
    with pytest.raises(UserError, match="digest"):
        load_weights(path, network(), ADVICE)
    with pytest.raises(UserError, match="cannot be used"):
        load_weights(tmp_path / "none.safetensors", network(), ADVICE)


def test_sound_weights_of_elsewhere_are_refused(tmp_path: Path) -> None:
    """A file that was copied over another one carries a digest that fits it."""
    left = save_weights(tmp_path / "w.safetensors", network())
    load_weights(tmp_path / "w.safetensors", network(), ADVICE, left)
    save_weights(tmp_path / "w.safetensors", network())
    with pytest.raises(UserError, match="not those that were left here"):
        load_weights(tmp_path / "w.safetensors", network(), ADVICE, left)
