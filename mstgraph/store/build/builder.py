"""Building a store from a recipe: atomic, resumable, and checked sample by sample.

Everything is written to a partial directory (`mstgraph.store.destination`) and takes the
destination's name when it is whole.
The partial directory remembers what it is built from; the same recipe, options and raw files
continue after the last committed block, anything else starts over.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mstgraph.store.build.blocks import Samples
from mstgraph.store.build.checks import check_declaration
from mstgraph.store.build.failures import explained, partial_directory
from mstgraph.store.build.pending import remove_pending
from mstgraph.store.build.presence import describe_presence
from mstgraph.store.build.provenance import identity, provenance
from mstgraph.store.build.reading import read_blocks
from mstgraph.store.build.summary import (
    class_counts,
    collect_statistics,
    count_unlabelled,
    moments_as_kept,
    moments_of_arrays,
)
from mstgraph.store.build.writer import OWN, Writer
from mstgraph.store.declared import Declared, declared
from mstgraph.store.destination import check_destination, is_vacant, partial_of, resolved
from mstgraph.store.layout import (
    CONTENT_VERSION,
    FORMAT_VERSION,
    IDENTIFIER,
    LENGTHS,
    LOCK_FILE,
    METADATA_FILE,
    STATE_FILE,
    WITH_LENGTHS,
    Column,
    fingerprint,
    incomplete,
    make_columns,
)
from mstgraph.store.mapped.environment import is_sound
from mstgraph.store.mapped.places import DATA_FILE
from mstgraph.store.moments import Statistics
from mstgraph.store.reader import Store
from mstgraph.store.recipe import RAW, Recipe
from mstgraph.store.splits import Split, make_splits
from mstgraph.support.errors import UserError
from mstgraph.support.files import json_text, make_names_durable, replace_durably
from mstgraph.support.seeds import python_seeded

Progress = Callable[[int, int], None]

logger = logging.getLogger("mstgraph")


@dataclass(frozen=True)
class _Job:
    """What one build needs to know; nothing here changes while it runs."""

    recipe: Recipe
    declared: Declared
    destination: Path
    columns: tuple[Column, ...]
    block: int
    splits: dict[str, Split]
    provenance: dict[str, Any]
    identity: str
    earlier_identity: str
    jobs: int | None

    @cached_property
    def partial(self) -> Path:
        return partial_of(self.destination)

    @property
    def state(self) -> dict[str, Any]:
        """What a partial directory must have been begun with to be continued."""
        layout = [self.block, *(column.samples_per_record for column in self.columns)]
        return {"identity": self.identity, "layout": layout, "pending": "in files"}

    @property
    def length(self) -> int:
        return self.declared.length


def build(
    recipe: Recipe,
    destination: Path,
    *,
    progress: Progress | None = None,
    jobs: int | None = 1,
) -> Store:
    """Build the store of ``recipe`` at ``destination``, or continue an interrupted build.

    Args:
        recipe: what to store.
        destination: the store's directory; a complete store of the same content is returned as
            it is.
        progress: called with (samples done, samples in all) after every sample, or every few.
        jobs: processes that read samples, see `mstgraph.store.build.reading.read_blocks`; the
            store is the same for any number of them.

    Raises:
        UserError: the recipe, a sample, or the destination is at fault, or the disk is full; what
            was committed is kept, and the same call continues.
    """
    check_destination(destination)
    job = _prepare(recipe, Path(destination), jobs)
    if not is_vacant(job.destination):
        return _existing(job)
    with partial_directory(job.partial):
        _continue_or_start_over(job)
        with explained(job.partial), python_seeded(0):
            _fill(job, progress or (lambda done, total: None))
            _publish(job)
    return Store(job.destination)


def _prepare(recipe: Recipe, destination: Path, jobs: int | None) -> _Job:
    said = declared(recipe)
    check_declaration(said)
    splits = make_splits(said)
    columns, block = make_columns(said.modalities, said.labels, said.length)
    origin = provenance(recipe)
    new, old = (identity(found, said.length) for found in (origin, {**origin, "modules": {}}))
    return _Job(recipe, said, destination, columns, block, splits, origin, new, old, jobs)


def _existing(job: _Job) -> Store:
    store = Store(job.destination)
    # Earlier versions did not look at the modules that a recipe imports.
    known = job.identity if "modules" in store.metadata["recipe"] else job.earlier_identity
    if store.metadata["identity"] != known:
        raise UserError(
            f"{job.destination} already holds a store of another recipe, other options, other "
            "modules that the recipe imports, or other raw files; choose another --out, or remove "
            "it"
        )
    return store


def _continue_or_start_over(job: _Job) -> None:
    state = job.partial / STATE_FILE
    found = _read_state(state)
    there = (job.partial / DATA_FILE).is_file()
    databases = [*(column.name for column in job.columns), IDENTIFIER]
    if found == job.state and there and is_sound(job.partial, databases, OWN):
        logger.info("continuing the build in %s", job.partial)
        return
    if found == job.state and there:
        logger.warning("starting over in %s: what was written there is damaged", job.partial)
    elif found not in (None, job.state):
        logger.warning(
            "starting over in %s: the recipe, its options or the raw files have changed",
            job.partial,
        )
    for name in (METADATA_FILE, DATA_FILE):
        (job.partial / name).unlink(missing_ok=True)
    remove_pending(job.partial)
    _write_durably(state, job.state)


def _read_state(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        return {}


def _fill(job: _Job, progress: Progress) -> None:
    writer = Writer(job.partial, job.columns, job.block)
    try:
        _write_samples(job, writer, progress)
        counts = class_counts(writer.records(job.columns[-1]), job.declared.labels, job.splits)
        _warn_of_absent_classes(job, counts)
        unlabelled = count_unlabelled(
            writer.records(job.columns[-1]), job.declared.labels, job.splits
        )
        lengths = _lengths(job, writer)
        presence = {} if lengths is None else _presence(job, writer, lengths)
        writer.write_splits(job.splits, job.length)
        writer.write_statistics(_statistics(job, writer, lengths))
        checksums = writer.checksums()
    finally:
        writer.close()
    metadata = {**_metadata(job), "unlabelled": unlabelled, **presence}
    metadata["fingerprint"] = fingerprint(metadata, iter(checksums))
    _write_durably(job.partial / METADATA_FILE, metadata)


def _lengths(job: _Job, writer: Writer) -> np.ndarray | None:
    """Return what samples have of modalities that they may lack, [samples, modalities]."""
    column = next((column for column in job.columns if column.name == LENGTHS), None)
    if column is None:
        return None
    return np.concatenate([values.copy() for _, values in writer.records(column)])


def _presence(job: _Job, writer: Writer, lengths: np.ndarray) -> dict[str, Any]:
    said, column = job.declared, next(c for c in job.columns if c.name == LENGTHS)
    labels = writer.records(job.columns[-1])
    counted = describe_presence(said.modalities, lengths, said.labels, labels, job.splits)
    return {"lengths": {"samples_per_record": column.samples_per_record}, "presence": counted}


def _statistics(
    job: _Job, writer: Writer, lengths: np.ndarray | None
) -> dict[tuple[str, str], Statistics]:
    """Return the statistics of every (modality, split)."""
    own = dict(
        zip(incomplete(job.declared.modalities), () if lengths is None else lengths.T, strict=True)
    )
    found = {}
    for item, column in zip(job.declared.modalities, job.columns, strict=False):
        there = own.get(item.name)
        if item.encoding == RAW:
            moments = moments_of_arrays(writer.records(column), there)
        else:
            moments = moments_as_kept(writer.moments(column), item.shape, there)
        collected = collect_statistics(moments, job.splits, item.shape[0])
        for split, running in collected.items():
            found[item.name, split] = running.statistics(item.scale)
    return found


def _write_samples(job: _Job, writer: Writer, progress: Progress) -> None:
    first = min(writer.blocks * job.block, job.length)
    progress(first, job.length)
    ranges = [
        range(start, min(start + job.block, job.length))
        for start in range(first, job.length, job.block)
    ]
    samples = Samples(job.recipe, job.declared, job.columns)
    blocks = read_blocks(samples, ranges, job.jobs, lambda done: progress(done, job.length))
    with closing(blocks):  # on a mistake here, too, no process is left behind
        for block in blocks:
            writer.write_block(block)


def _warn_of_absent_classes(job: _Job, counts: Mapping[str, np.ndarray]) -> None:
    labels = job.declared.labels
    splits: dict[tuple[str, ...], list[str]] = {}
    for split, count in counts.items():
        absent = tuple(
            name
            for index, name in enumerate(labels.classes)
            if not count[index] and index != labels.ignored
        )
        splits.setdefault(absent, []).append(split)
    for absent, names in splits.items():
        if absent:
            logger.warning(
                "%s has no training sample of %s in split %s",
                job.declared.title,
                ", ".join(f"'{name}'" for name in absent),
                ", ".join(f"'{name}'" for name in names),
            )


def _metadata(job: _Job) -> dict[str, Any]:
    labels = job.declared.labels
    *columns, label = (column for column in job.columns if column.name != LENGTHS)
    whole = len(columns) + 1 == len(job.columns)
    return {
        "format_version": FORMAT_VERSION,
        "content_version": CONTENT_VERSION if whole else WITH_LENGTHS,
        "title": job.declared.title,
        "source": job.declared.source,
        "licence": job.declared.licence,
        "synthetic": job.declared.synthetic,
        "recipe": job.provenance,
        "identity": job.identity,
        "length": job.length,
        "modalities": [
            {
                "name": item.name,
                "dtype": item.dtype,
                "shape": list(item.shape),
                "scale": float(item.scale),
                "unit": item.unit,
                "samples_per_record": column.samples_per_record,
                # Left out where all is as in stores of earlier versions.
                **{key: True for key in ("integers", "optional", "varying") if getattr(item, key)},
                **({"encoding": item.encoding} if item.encoding != RAW else {}),
            }
            for item, column in zip(job.declared.modalities, columns, strict=True)
        ],
        "labels": {
            "task": labels.task,
            "classes": list(labels.classes),
            "ignored": labels.ignored,
            "shape": list(labels.shape),
            "unknown": "nan" if labels.unknown != labels.unknown else labels.unknown,
            "dtype": label.dtype,
            "samples_per_record": label.samples_per_record,
        },
        "samples_per_block": job.block,
        "splits": {
            name: {part: len(ids) for part, ids in split.items()}
            for name, split in job.splits.items()
        },
        "data_bytes": (job.partial / DATA_FILE).stat().st_size,
    }


def _publish(job: _Job) -> None:
    remove_pending(job.partial)
    make_names_durable(job.partial)
    place = resolved(job.destination)
    if job.partial.parent == place:
        _move_up(job.partial)
        return
    job.partial.rename(place)
    make_names_durable(place.parent)
    (place / STATE_FILE).unlink(missing_ok=True)
    for lock in place.glob(f"{LOCK_FILE}*"):
        lock.unlink()


def _move_up(partial: Path) -> None:
    """Put a store into the folder around it; without metadata it is none, so that comes last."""
    for name in (DATA_FILE, METADATA_FILE):
        os.replace(partial / name, partial.parent / name)
        make_names_durable(partial.parent)
    (partial / STATE_FILE).unlink(missing_ok=True)
    for lock in partial.glob(f"{LOCK_FILE}*"):
        lock.unlink()
    partial.rmdir()


def _write_durably(path: Path, content: Mapping[str, Any]) -> None:
    text = json_text(content)
    replace_durably(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
