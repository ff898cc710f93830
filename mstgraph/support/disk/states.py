"""Weights that somebody else left: safetensors or a torch file, opened without running any code."""

from __future__ import annotations

import hashlib
import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mstgraph.support.errors import UserError
from mstgraph.support.files import known_digest

SAFETENSORS = ".safetensors"
SUFFIXES = (SAFETENSORS, ".pt", ".pth", ".bin", ".ckpt")
INDEX = ".index.json"
"""What ends the name of the list of a checkpoint in parts (``model.safetensors.index.json``)."""
WITHIN = ("state_dict", "model_state_dict", "model", "network", "net", "module")
"""Under which of its keys a checkpoint may hold the weights, first come, first served."""


def read_states(path: Path) -> dict[str, Tensor]:
    """Return name → tensor of a weights file, on the CPU; of a checkpoint the weights alone.

    Args:
        path: a safetensors file, what ``torch.save`` wrote of a state dict, or the list of a
            checkpoint in parts, as Hugging Face's libraries write it, which lie beside it.

    Raises:
        UserError: it is cut short, wants to run code, holds no weights, or lacks a part.
    """
    if path.name.endswith(INDEX):
        return _read_parts(path)
    found = _read_safetensors(path) if path.suffix == SAFETENSORS else _read_torch(path)
    states = _weights_within(found)
    if not states:
        raise UserError(
            f"the weights '{path}' hold a {type(found).__name__} without tensors, expected a state "
            "dict"
        )
    for name, value in states.items():
        if value.layout != torch.strided or value.is_quantized or value.is_complex():
            raise UserError(f"the weights '{path}': '{name}' is no plain real tensor, expected one")
    return states


def states_digest(path: Path) -> str:
    """Return the digest of a weights file's content; of a list, with that of its parts.

    Raises:
        UserError: it is a list that cannot be read, or a part of it is missing.
    """
    if not path.name.endswith(INDEX):
        return known_digest(path)
    total = hashlib.sha256(known_digest(path).encode())
    for part in _parts(path):
        total.update(known_digest(part).encode())
    return total.hexdigest()


def _read_parts(path: Path) -> dict[str, Tensor]:
    states = {name: value for part in _parts(path) for name, value in read_states(part).items()}
    if lacking := [name for name in _listed(path) if name not in states]:
        raise UserError(
            f"the weights '{path}' list '{lacking[0]}', which none of their parts holds"
        )
    return states


def _parts(path: Path) -> list[Path]:
    """Return the files that a list names; UserError unless all lie beside it."""
    parts = [path.parent / name for name in sorted(set(_listed(path).values()))]
    for part in parts:
        if part.parent != path.parent or not part.is_file() or part.suffix not in SUFFIXES:
            raise UserError(
                f"the weights '{path}' lack their part '{part.name}', expected it beside them"
            )
    return parts


def _listed(path: Path) -> dict[str, str]:
    """Return name of a tensor → name of the file that holds it."""
    try:
        listed = json.loads(path.read_text())["weight_map"]
        if not listed or not all(isinstance(name, str) for name in listed.values()):
            raise ValueError("its weight_map names no files")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"the weights '{path}' cannot be read as a list of parts ({type(error).__name__}: "
            f"{error}); expected what save_pretrained of Hugging Face's libraries writes"
        ) from error
    return {str(name): file for name, file in listed.items()}


def _read_safetensors(path: Path) -> Any:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error


def _read_torch(path: Path) -> Any:
    try:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:
            if "mmap" not in str(error):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)  # of before torch 1.6
    except pickle.UnpicklingError as error:
        called = re.search(r"GLOBAL ([\w.]+)", str(error))
        if called is None:
            raise _damaged(path, error) from error
        raise UserError(
            f"the weights '{path}' are a pickle that would run code ({called[1]}), and nothing of "
            "it was run; expected tensors alone, such as torch.save(network.state_dict(), FILE) "
            "or safetensors"
        ) from error
    except Exception as error:  # a file of another kind makes the unpickler raise almost anything
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> UserError:
    reason = str(error).partition("\n")[0].partition(". ")[0]
    return UserError(
        f"the weights '{path}' cannot be read ({type(error).__name__}: {reason}): the file is cut "
        "short, damaged, or holds no weights; expected safetensors or a state dict of torch"
    )


def _weights_within(found: Any) -> dict[str, Tensor]:
    """Return the tensors of a state dict, or of the one that a checkpoint holds."""
    if not isinstance(found, Mapping):
        return {}
    tensors = {str(name): value for name, value in found.items() if isinstance(value, Tensor)}
    inner = [found[name] for name in WITHIN if isinstance(found.get(name), Mapping)]
    return tensors or next(filter(None, map(_weights_within, inner)), {})
