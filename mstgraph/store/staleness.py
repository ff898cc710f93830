"""Whether a store is still what its recipe would make: of this code, from this raw data.

Cheap enough for every run: a raw file whose size and time of change are those that were recorded
is not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mstgraph.support.files import known_digest
from mstgraph.support.user_code import file_of

LARGE = 1024 * 1024  # bytes; a file of this size is known by its name, size and time

Origin = Mapping[str, Any]
"""``recipe`` of a store's metadata, see `mstgraph.store.build.provenance`."""


def edited_module(origin: Origin, recipe: Path) -> str | None:
    """Return which of the modules that a recipe imports says something else now.

    Args:
        origin: what the store was prepared with.
        recipe: the recipe's file; one of its modules that is nowhere to be found is passed over.
    """
    for name, digest in origin.get("modules", {}).items():
        beside = recipe.parent / origin.get("places", {}).get(name, f"{name}.py")
        file = beside if beside.is_file() else file_of(name)
        if file is not None and known_digest(file) != digest:
            return str(name)
    return None


def other_raw_data(origin: Origin, raw: Path | None) -> str | None:
    """Return what of the raw data is not what a store was prepared from, in words.

    Raw data that is not here any more says nothing.

    Args:
        origin: what the store was prepared with.
        raw: where the raw data is said to be.
    """
    files: Sequence[Mapping[str, Any]] = origin["raw_files"]
    for file in files:
        place = _place(file, raw, alone=len(files) == 1)
        if place is None or (raw is None and not place.is_file()):
            continue
        if Path(file.get("path", "")).is_absolute() and not place.parent.is_dir():
            continue  # it was appended, perhaps from another disk
        if not place.is_file():
            return f"'{place}' is not there" if raw is not None and raw.exists() else None
        try:
            differs = _differs(place, file)
        except OSError as error:
            return f"'{place}' cannot be read ({error.strerror})"
        if differs:
            return f"'{place}' has changed, or is another file"
    return None


def _place(file: Mapping[str, Any], raw: Path | None, alone: bool) -> Path | None:
    """Return where a raw file should be; None where nobody knows."""
    if "path" not in file:  # of an earlier version
        return raw if raw is not None and raw.is_file() and alone else None
    path = Path(file["path"])
    return path if path.is_absolute() else None if raw is None else raw / path


def _differs(place: Path, file: Mapping[str, Any]) -> bool:
    status = place.stat()
    if status.st_size != file["size"]:
        return True
    if "modified" not in file:  # of an earlier version
        return False
    # Small files that are written one after the other can have one time.
    large = status.st_size >= LARGE and place.name == file["name"]
    if status.st_mtime_ns == file["modified"] and (large or status.st_ino == file.get("inode")):
        return False
    return bool(known_digest(place) != file["sha256"])
