"""Where a store comes from: the recipe's file and options, and the raw files' fingerprints."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mstgraph.store.declared import raw_files
from mstgraph.store.layout import FORMAT_VERSION, canonical
from mstgraph.store.recipe import Recipe
from mstgraph.support.errors import UserError
from mstgraph.support.files import file_digest


def provenance(recipe: Recipe) -> dict[str, Any]:
    """Return the record of a recipe's origin, free of times and directories.

    Raises:
        UserError: a raw file cannot be read.
    """
    source = Path(inspect.getfile(type(recipe)))
    chosen = _fields(recipe)
    chosen.pop("raw", None)
    return {
        "file": source.name,
        "class": type(recipe).__name__,
        "sha256": file_digest(source),
        "options": {name: _plain(value, name) for name, value in chosen.items()},
        "raw_files": [_fingerprint(path) for path in raw_files(recipe)],
    }


def identity(origin: Mapping[str, Any], length: int) -> str:
    """Return the hash of all that a build depends on: equal hashes may continue one another."""
    content = {"format_version": FORMAT_VERSION, "length": length, **origin}
    return hashlib.sha256(canonical(content)).hexdigest()


def _fields(recipe: Recipe) -> dict[str, object]:
    if not dataclasses.is_dataclass(recipe):
        return {}
    return {
        field.name: getattr(recipe, field.name)
        for field in dataclasses.fields(recipe)
        if field.init
    }


def _plain(value: object, name: str) -> object:
    if isinstance(value, Path):
        return value.name
    if isinstance(value, (tuple, list)):
        return [_plain(item, name) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    text = str(value)
    if " at 0x" in text:  # another one in each process: no build could be continued
        raise UserError(
            f"option '{name}' is a {type(value).__name__}; expected a number, text, or a tuple"
        )
    return text


def _fingerprint(path: Path) -> dict[str, Any]:
    try:
        return {"name": path.name, "size": path.stat().st_size, "sha256": file_digest(path)}
    except OSError as error:
        raise UserError(f"raw file {path} cannot be read: {error.strerror}") from error
