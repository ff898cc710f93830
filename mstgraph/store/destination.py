"""Where a store is, or is going to be: a new folder, an empty one, one beyond a link, a mount."""

from __future__ import annotations

from pathlib import Path

from mstgraph.store.layout import LOCK_FILE, METADATA_FILE, PARTIAL_SUFFIX, SHARDS, STATE_FILE
from mstgraph.store.mapped.places import DATA_FILE
from mstgraph.support.errors import UserError

_NOTHING = {PARTIAL_SUFFIX, "lost+found"}  # what may lie in a folder that is as good as empty


def partial_of(destination: Path) -> Path:
    """Return the folder in which a store is built until it is whole.

    It lies beside the destination, which then appears at once. A folder that is there already
    stays the same folder, be it somebody's working directory or another disk: then it lies inside.
    """
    place = resolved(destination)
    beside = place.with_name(place.name + PARTIAL_SUFFIX)
    return place / PARTIAL_SUFFIX if place.is_dir() and not beside.is_dir() else beside


def shard_of(store: Path, number: int) -> Path:
    """Return the folder of one of the stores that a store consists of."""
    return store / SHARDS / f"{number:04d}"


def resolved(destination: Path) -> Path:
    """Return where a destination really is.

    Raises:
        UserError: links lead in a circle.
    """
    try:
        return destination.resolve()
    except (OSError, RuntimeError) as error:
        raise UserError(f"{destination} cannot be followed: {error}; expected a folder") from error


def is_vacant(destination: Path) -> bool:
    """Say whether there is neither a store nor anything else, but perhaps an empty folder."""
    place = resolved(destination)
    if not place.is_dir():
        return not place.exists()
    there = {entry.name for entry in place.iterdir()} - _NOTHING
    # A kill can come between the two names of a store that is put into a folder.
    moved = there in ({DATA_FILE}, {SHARDS})
    return not there or (moved and (place / PARTIAL_SUFFIX / STATE_FILE).is_file())


def check_destination(destination: Path) -> None:
    """Refuse a place that cannot become a store, before anything is done for it.

    Raises:
        UserError: it is a file, or a folder that holds something else; or what is there where a
            store is built was not made for that.
    """
    place = resolved(destination)
    if place.exists() and not place.is_dir():
        raise UserError(f"{destination} is a file; expected a directory to build the store in")
    if not is_vacant(destination) and not (place / METADATA_FILE).exists():
        raise UserError(
            f"{destination} exists and is no store; expected a new or empty directory "
            "(choose another --out)"
        )
    partial = partial_of(destination)
    if partial.is_dir() and not (partial / STATE_FILE).is_file():
        there = sorted(entry.name for entry in partial.iterdir())
        foreign = [name for name in there if not name.startswith((LOCK_FILE, f".{STATE_FILE}"))]
        if foreign:
            raise UserError(
                f"{partial} holds '{foreign[0]}' and is no half-built store, but a store is built "
                "there until it is whole; move it, or choose another --out"
            )
