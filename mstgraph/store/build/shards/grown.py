"""What a recipe has that a store does not: its samples, their splits, and both together."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mstgraph.store.build.asking import asked
from mstgraph.store.build.job import Job
from mstgraph.store.declared import Declared
from mstgraph.store.destination import shard_of
from mstgraph.store.layout import canonical, make_columns
from mstgraph.store.reader import Store
from mstgraph.store.recipe import Recipe
from mstgraph.store.splits import (
    GROUPS,
    PARTS,
    Split,
    continued_split,
    numbered_split,
    official_split,
)
from mstgraph.support.errors import UserError

NUMBERED = tuple(map(str, range(GROUPS)))


@dataclass(frozen=True)
class Appended:
    """Samples that are to be added to a store.

    Attributes:
        before: the store.
        part: the job of the shard that they will be.
        whole: what the store will hold then.
    """

    before: Store
    part: Job
    whole: Job


def asked_for(store: Store, recipe: Recipe, jobs: int | None) -> Job:
    """Ask a recipe for all that must be known to add its samples to a store.

    A label may be unknown if it may in the store: of the new samples each can have one.
    """
    job = asked(recipe, store.path, jobs, splits={})
    unknown = store.labels_spec.unknown
    if unknown is None or job.declared.labels.unknown is not None:
        return job
    said = replace(job.declared, labels=replace(job.declared.labels, unknown=unknown))
    columns, block = make_columns(said.modalities, said.labels, said.length)
    return replace(job, declared=said, columns=columns, block=block)


def is_known(store: Store, job: Job) -> bool:
    """Say whether a store was prepared from just this raw data, or it was appended."""
    known = (store.metadata, *(shard.metadata for shard in store.shards))
    return job.identity in {metadata["identity"] for metadata in known}


def appended(store: Store, job: Job, all_new: bool) -> Appended | None:
    """Return what is to be added to a store; None if it has everything.

    Args:
        store: the store.
        job: of all samples of the recipe, see `asked_for`.
        all_new: whether all of them are new; else those that are stored come first.

    Raises:
        UserError: the splits that come with the data do not go with the store's.
    """
    samples = range(0 if all_new else store.length, job.length)
    if not samples:
        return None
    splits = _new_splits(store, job.declared, len(samples), all_new)
    part = job.part(samples, shard_of(store.path, max(1, len(store.shards))), splits)
    return Appended(store, part, _together(store, job, part, all_new))


def _new_splits(store: Store, said: Declared, count: int, all_new: bool) -> dict[str, Split]:
    """Return every split of the new samples, counted from 0."""
    stored = [name for name in store.metadata["splits"] if name not in NUMBERED]
    if {*stored} != {*said.official_splits}:
        raise UserError(
            f"{said.title} comes with the splits {_names(said.official_splits)} now, and "
            f"{store.path} has {_names(stored)}; expected the same"
        )
    first, length = store.length, store.length + count
    splits = {name: numbered_split(length, int(name), first) for name in NUMBERED}
    for name, given in said.official_splits.items():
        if all_new:
            splits[name] = official_split(name, {"train": (), "test": (), **given}, count)
        else:
            before = {part: store.split(name, part) for part in PARTS}
            splits[name] = continued_split(name, given, before, first, length)
    return splits


def _names(splits: Any) -> str:
    return ", ".join(f"'{name}'" for name in sorted(splits)) or "of no name"


def _together(store: Store, job: Job, part: Job, all_new: bool) -> Job:
    """Return what the store will hold."""
    length = store.length + part.length
    said = replace(job.declared, length=length)
    origin, found = job.provenance, job.identity
    if all_new:
        files = [_with_whole_path(file, job.recipe) for file in origin["raw_files"]]
        origin = {**origin, "raw_files": [*store.metadata["recipe"]["raw_files"], *files]}
        both = canonical([store.metadata["identity"], found])
        found = hashlib.sha256(both).hexdigest()
    splits = {
        name: {p: np.concatenate([store.split(name, p), split[p] + store.length]) for p in split}
        for name, split in part.splits.items()
    }
    return replace(
        job,
        declared=said,
        columns=make_columns(said.modalities, said.labels, length)[0],
        splits=splits,
        provenance=origin,
        identity=found,
    )


def _with_whole_path(file: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Return a raw file as one that does not lie in the raw data that the store began with."""
    raw = getattr(recipe, "raw", None)
    base = raw.resolve() if isinstance(raw, Path) else Path()
    return {**file, "path": str((base / file["path"]).resolve())}
