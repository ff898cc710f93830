"""Weights that others left are opened without running any code, or refused in one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mstgraph.support.disk.states import read_states
from mstgraph.support.errors import UserError

STATES = {"a.weight": torch.arange(6.0).reshape(2, 3)}


def write(kind: str, path: Path) -> Path:
    """Write weights of a kind."""
    if kind == "safetensors":
        path = path.with_suffix(".safetensors")
        save_file(STATES, path)
    elif kind == "before torch 1.6":
        torch.save(STATES, path, _use_new_zipfile_serialization=False)
    elif kind == "a checkpoint":
        torch.save({"epoch": 3, "optimizer": {"lr": 0.1}, "state_dict": STATES}, path)
    else:
        torch.save(STATES, path)
    return path


@pytest.mark.parametrize("kind", ["safetensors", "torch", "before torch 1.6", "a checkpoint"])
def test_weights_are_read_whoever_wrote_them(kind: str, tmp_path: Path) -> None:
    """Of a checkpoint the weights alone."""
    (found,) = read_states(write(kind, tmp_path / "w.pt")).items()
    assert found[0] == "a.weight"
    assert torch.equal(found[1], STATES["a.weight"])


class Runs:
    """Runs code where a pickle of it is opened carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_wants_to_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    """The sentence says what it would have called."""
    torch.save({"a": Runs(tmp_path / "ran")}, tmp_path / "bad.pt")
    with pytest.raises(UserError, match=r"pickle that would run code \(posix.mkdir\), and nothing"):
        read_states(tmp_path / "bad.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["safetensors", "torch"])
def test_half_a_file_is_refused(kind: str, tmp_path: Path) -> None:
    """One sentence says that it is cut short."""
    path = write(kind, tmp_path / "w.pt")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match="the file is cut short, damaged, or holds no weights"):
        read_states(path)


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {}])
def test_a_file_without_tensors_is_refused(content: object, tmp_path: Path) -> None:
    """It is no state dict."""
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(UserError, match="without tensors, expected a state dict"):
        read_states(tmp_path / "w.pt")


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    """Text, for example."""
    (tmp_path / "w.pt").write_text("hello")
    with pytest.raises(UserError, match=r"cannot be read \("):
        read_states(tmp_path / "w.pt")
