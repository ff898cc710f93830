"""Weights on disk: safetensors files that carry the digest of their content.

A file that was cut short does not open; the digest finds a file in which a bit has turned.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from mstgraph.support.errors import UserError
from mstgraph.support.files import write_atomically

DIGEST = "sha256"
_ELSEWHERE = "they are sound, but not those that were left here"


def weights_digest(states: Mapping[str, Tensor]) -> str:
    """Return the hash of a module's state: names, types, shapes, and every bit of the values."""
    total = hashlib.sha256()
    for name, tensor in sorted(states.items()):
        array = tensor.detach().cpu().contiguous()
        total.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
        total.update(array.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def save_weights(path: Path, module: nn.Module) -> str:
    """Write a module's state, atomically, and return its digest.

    Raises:
        UserError: the disk is full or cannot be written.
    """
    states = {n: t.cpu().contiguous().clone() for n, t in module.state_dict().items()}
    digest = weights_digest(states)
    # Not safetensors' own save_file: it hides why a write failed, and who else may read the file.
    content = save(states, metadata={DIGEST: digest})
    write_atomically(path, lambda temporary: temporary.write_bytes(content))
    return digest


def load_weights(path: Path, module: nn.Module, advice: str, expected: str | None = None) -> None:
    """Load a module's state.

    Args:
        path: the file.
        module: the network that they are of.
        advice: what to do about a file that cannot be used.
        expected: the digest that they must have; None: the one that they carry.

    Raises:
        UserError: the file is missing, damaged, of another network, or not the one expected.
    """
    try:
        states, digest = _read(path)
        if expected not in (None, digest):
            raise ValueError(_ELSEWHERE)
        module.load_state_dict(states)
    except (OSError, SafetensorError, RuntimeError, ValueError) as error:
        raise _unusable(path, error, advice) from error


def check_weights(path: Path, advice: str, expected: str) -> None:
    """Refuse weights that are not as they were left, without a module to load them into.

    Raises:
        UserError: the file is missing, damaged, or not the one expected.
    """
    try:
        if _read(path)[1] != expected:
            raise ValueError(_ELSEWHERE)
    except (OSError, SafetensorError, ValueError) as error:
        raise _unusable(path, error, advice) from error


def _unusable(path: Path, error: Exception, advice: str) -> UserError:
    reason = str(error).splitlines()[0]
    return UserError(f"the weights '{path}' cannot be used ({reason}); {advice}")


def _read(path: Path) -> tuple[dict[str, Tensor], str]:
    with safe_open(path, framework="pt") as file:
        names = file.keys()
        states = {name: file.get_tensor(name) for name in names}
        expected = (file.metadata() or {}).get(DIGEST)
    digest = weights_digest(states)
    if digest != expected:
        raise ValueError("their digest is not the one they were written with")
    return states, digest
