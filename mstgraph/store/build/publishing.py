"""The folder in which a store is built: continued or begun anew, and given its name when whole."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mstgraph.store.build.job import Job
from mstgraph.store.build.pending import remove_pending
from mstgraph.store.destination import resolved
from mstgraph.store.layout import LOCK_FILE, METADATA_FILE, SHARDS, STATE_FILE
from mstgraph.store.mapped.places import DATA_FILE
from mstgraph.store.reader import Store
from mstgraph.support.errors import UserError
from mstgraph.support.files import make_names_durable, write_json_durably

logger = logging.getLogger("mstgraph")


def existing(job: Job) -> Store:
    """Return the store that is there.

    Raises:
        UserError: it is of something else.
    """
    store = Store(job.destination)
    # Earlier versions did not look at the modules that a recipe imports.
    known = job.identity if "modules" in store.metadata["recipe"] else job.earlier_identity
    if store.metadata["identity"] == known:
        return store
    if _has_grown(job, store):
        raise UserError(
            f"{job.destination} holds {store.length} samples, and the raw data has {job.length} "
            f"now; `mstgraph store append {job.destination} RECIPE --raw …` adds those that are "
            "new (or choose another --out, or remove it)"
        )
    raise UserError(
        f"{job.destination} already holds a store of another recipe, other options, other "
        "modules that the recipe imports, or other raw files; choose another --out, or remove "
        "it"
    )


def _has_grown(job: Job, store: Store) -> bool:
    prepared = store.metadata["recipe"]
    same = all(prepared.get(k) == job.provenance[k] for k in ("sha256", "options", "modules"))
    return same and job.length > store.length


def continue_or_start_over(
    partial: Path, wanted: Mapping[str, Any], is_whole: Callable[[], bool]
) -> None:
    """Leave what a stopped build has written if it is of use, or remove it and say why.

    Args:
        partial: where it was written.
        wanted: what it must have been begun with.
        is_whole: says whether it is as it was written.
    """
    found = _read_state(partial / STATE_FILE)
    there = any((partial / name).exists() for name in (DATA_FILE, SHARDS))
    if found == wanted and there and is_whole():
        logger.info("continuing the build in %s", partial)
        return
    if found == wanted and there:
        logger.warning("starting over in %s: what was written there is damaged", partial)
    elif found not in (None, wanted):
        logger.warning(
            "starting over in %s: the recipe, its options, the raw files or the number of shards "
            "have changed",
            partial,
        )
    for name in (METADATA_FILE, DATA_FILE):
        (partial / name).unlink(missing_ok=True)
    if (partial / SHARDS).is_dir() and not (partial / SHARDS).is_symlink():
        shutil.rmtree(partial / SHARDS)
    remove_pending(partial)
    write_json_durably(partial / STATE_FILE, wanted)


def _read_state(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        return {}


def publish(job: Job, names: Sequence[str]) -> None:
    """Give a store that is whole its own name.

    Args:
        job: what was built.
        names: what it consists of; without the last it is none.
    """
    remove_pending(job.partial)
    make_names_durable(job.partial)
    place = resolved(job.destination)
    if job.partial.parent == place:
        _move_up(job.partial, names)
        return
    job.partial.rename(place)
    make_names_durable(place.parent)
    (place / STATE_FILE).unlink(missing_ok=True)
    for lock in place.glob(f"{LOCK_FILE}*"):
        lock.unlink()


def _move_up(partial: Path, names: Sequence[str]) -> None:
    """Put a store into the folder around it; without metadata it is none, so that comes last."""
    for name in names:
        os.replace(partial / name, partial.parent / name)
        make_names_durable(partial.parent)
    (partial / STATE_FILE).unlink(missing_ok=True)
    for lock in partial.glob(f"{LOCK_FILE}*"):
        lock.unlink()
    partial.rmdir()
