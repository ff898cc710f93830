"""Where a store comes from: the recipe's code and options, and the raw files' fingerprints."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mstgraph.store.declared import raw_files
from mstgraph.store.layout import CONTENT_VERSION, canonical
from mstgraph.store.recipe import Recipe
from mstgraph.support.errors import UserError
from mstgraph.support.files import file_digest
from mstgraph.support.machine.cores import cores
from mstgraph.support.user_code import user_modules

CONTENT = ("name", "size", "sha256")  # what counts of a raw file
_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*$")  # module:function


def provenance(recipe: Recipe) -> dict[str, Any]:
    """Return the record of a recipe's origin; `identity` says what of it counts.

    Raises:
        UserError: a raw file cannot be read.
    """
    source = Path(inspect.getfile(type(recipe)))
    chosen = _fields(recipe)
    raw = chosen.pop("raw", None)
    modules = _modules(type(recipe).__module__, source, chosen)
    return {
        "file": source.name,
        "class": type(recipe).__name__,
        "sha256": file_digest(source),
        "options": {name: _plain(value, name) for name, value in chosen.items()},
        "raw_files": _fingerprints(raw_files(recipe), raw),
        "modules": {name: file_digest(file) for name, file in modules.items()},
        "places": {n: os.path.relpath(file, source.parent) for n, file in modules.items()},
    }


def identity(origin: Mapping[str, Any], length: int) -> str:
    """Return the hash of all that a build depends on: equal hashes may continue one another."""
    content = {"format_version": CONTENT_VERSION, "length": length, **origin}
    # Where things lie and when they were written changes nothing.
    content.pop("places", None)
    raw_files = [{key: file[key] for key in CONTENT} for file in origin["raw_files"]]
    content["raw_files"] = raw_files
    if not content["modules"]:  # a recipe of one file has the identity that it always had
        del content["modules"]
    return hashlib.sha256(canonical(content)).hexdigest()


def _modules(name: str, source: Path, options: Mapping[str, object]) -> dict[str, Path]:
    """Return the user's modules that a recipe imports, or that an option names a function of."""
    named = [
        str(value).partition(":")[0] for value in options.values() if _FUNCTION.match(str(value))
    ]
    found: dict[str, Path] = {}
    for module in (name, *named):
        found |= user_modules(module)
    return {n: file for n, file in found.items() if file.resolve() != source.resolve()}


def _fields(recipe: Recipe) -> dict[str, object]:
    """Return the options, but for later ones (``metadata={"later": True}``) that are as by default.

    So a store that was prepared before there were any is the one that would be prepared now.
    """
    if not dataclasses.is_dataclass(recipe):
        return {}
    return {
        field.name: getattr(recipe, field.name)
        for field in dataclasses.fields(recipe)
        if field.init
        and not (field.metadata.get("later") and getattr(recipe, field.name) == field.default)
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


def _fingerprints(files: Sequence[Path], raw: object) -> list[dict[str, Any]]:
    base = raw.resolve() if isinstance(raw, Path) else None
    with ThreadPoolExecutor(cores(), "mstgraph-digests") as threads:
        return list(threads.map(lambda file: _fingerprint(file, base), files))


def _fingerprint(path: Path, base: Path | None) -> dict[str, Any]:
    try:
        status = path.stat()
        return {
            "name": path.name,
            "size": status.st_size,
            "sha256": file_digest(path),
            "path": str(_below(path, base)),
            "modified": status.st_mtime_ns,
            "inode": status.st_ino,
        }
    except OSError as error:
        raise UserError(f"raw file {path} cannot be read: {error.strerror}") from error


def _below(path: Path, base: Path | None) -> Path:
    """Return where a raw file lies below the raw data, or its whole path if it lies elsewhere."""
    place = path.resolve()
    return place.relative_to(base) if base and place.is_relative_to(base) else place
