"""What a recipe has that a store does not: its samples, their splits, and both together."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mstgraph.store.build.asking import asked
from mstgraph.store.build.job import Job
from mstgraph.store.build.reading.checks import SampleChecker
from mstgraph.store.declared import Declared
from mstgraph.store.destination import shard_of
from mstgraph.store.layout import canonical, make_columns
from mstgraph.store.reader import Store
from mstgraph.store.recipe import Labels, Recipe
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


def appended(store: Store, recipe: Recipe, jobs: int | None, all_new: bool) -> Appended | None:
    """Return what is to be added to a store; None if it has everything.

    Args:
        store: the store.
        recipe: see `mstgraph.store.build.builder.append`.
        jobs: processes that read samples.
        all_new: whether all samples of the recipe are new.

    Raises:
        UserError: the recipe does not go with the store, or the samples that are stored are not
            its first.
    """
    job = asked(recipe, store.path, jobs, splits={})
    _refuse_another(store, job)
    if all_new:
        known = (store.metadata, *(shard.metadata for shard in store.shards))
        if job.identity in {metadata["identity"] for metadata in known}:
            return None
        samples = range(job.length)
    else:
        _compare_identifiers(store, job)
        samples = range(store.length, job.length)
    if not samples:
        return None
    splits = _new_splits(store, job.declared, len(samples), all_new)
    part = job.part(samples, shard_of(store.path, max(1, len(store.shards))), splits)
    return Appended(store, part, _together(store, job, part, all_new))


def _refuse_another(store: Store, job: Job) -> None:
    """Refuse a recipe whose samples are not such as the store holds."""
    prepared, now = store.metadata["recipe"], job.provenance
    words = {
        "sha256": f"another recipe than {now['file']}, or by this one before it was edited",
        "class": f"another class than {now['class']}",
        "options": f"other options: {_options(prepared['options'])}",
        "modules": "other modules that the recipe imports, or before they were edited",
    }
    for key, by in words.items():
        if prepared.get(key, now[key]) != now[key]:  # earlier versions did not say all of them
            raise UserError(
                f"{store.path} was prepared by {by}; expected the same recipe and options"
            )
    said = job.declared
    labels, stored = _comparable(said.labels), _comparable(store.labels_spec)
    if labels != stored:
        raise UserError(
            f"the labels of {said.title} are {labels} now, and those of {store.path} {stored}; "
            "expected the same: prepare a store anew"
        )
    if tuple(store.modalities.values()) != said.modalities:
        raise UserError(
            f"the modalities of {said.title} are others now than those of {store.path}; expected "
            "the same: prepare a store anew"
        )


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in options.items()) or "none"


def _comparable(labels: Labels) -> str:
    classes = ", ".join(labels.classes)
    return f"{labels.task} ({classes}), ignored {labels.ignored}, unknown {labels.unknown}"


def _compare_identifiers(store: Store, job: Job) -> None:
    """Refuse raw data in which other samples come first than those that are stored."""
    expected = "expected the same raw data, grown at its end, or --all-new for other raw data"
    if job.length < store.length:
        raise UserError(
            f"{store.path} holds {store.length} samples, and the raw data {job.length}; {expected}"
        )
    checker = SampleChecker(job.recipe, job.declared)
    for index in range(store.length):
        if (name := checker.identifier(index)) != (stored := store.identifier(index)):
            raise UserError(
                f"sample {index} of the raw data is '{name}', and that of {store.path} is "
                f"'{stored}'; {expected}"
            )


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
            splits[name] = official_split(name, given, count)
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
