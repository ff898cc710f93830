"""Building a store from a recipe: atomic, resumable, and checked sample by sample.

Everything is written to a partial directory (`mstgraph.store.destination`) and takes the
destination's name when it is whole.
The partial directory remembers what it is built from; the same recipe, options and raw files
continue after the last committed block, anything else starts over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from mstgraph.store.build.asking import asked
from mstgraph.store.build.description import described, lengths_column, warn_of_absent_classes
from mstgraph.store.build.failures import explained, partial_directory
from mstgraph.store.build.job import Job, Progress
from mstgraph.store.build.publishing import continue_or_start_over, existing, publish
from mstgraph.store.build.reading.blocks import Samples
from mstgraph.store.build.reading.in_order import read_blocks
from mstgraph.store.build.shards.append import appended_to
from mstgraph.store.build.shards.prepared import built_in_shards
from mstgraph.store.build.summary import collect_statistics, moments_as_kept, moments_of_arrays
from mstgraph.store.build.writer import OWN, Writer
from mstgraph.store.destination import check_destination, is_vacant
from mstgraph.store.layout import IDENTIFIER, METADATA_FILE, fingerprint, incomplete
from mstgraph.store.mapped.environment import is_sound
from mstgraph.store.mapped.places import DATA_FILE
from mstgraph.store.moments import Statistics
from mstgraph.store.reader import Store
from mstgraph.store.recipe import RAW, Recipe
from mstgraph.support.files import write_json_durably
from mstgraph.support.seeds import python_seeded


def build(
    recipe: Recipe,
    destination: Path,
    *,
    progress: Progress | None = None,
    jobs: int | None = 1,
    shards: int = 1,
) -> Store:
    """Build the store of ``recipe`` at ``destination``, or continue an interrupted build.

    Args:
        recipe: what to store.
        destination: the store's directory; a complete store of the same content is returned as
            it is, in however many files.
        progress: called with (samples done, samples in all) after every sample, or every few.
        jobs: processes that read samples, see
            `mstgraph.store.build.reading.in_order.read_blocks`; the store is the same for any
            number of them.
        shards: how many stores it is to consist of; less where the samples are too few. Its
            fingerprint is the same for any number of them.

    Raises:
        UserError: the recipe, a sample, or the destination is at fault, or the disk is full; what
            was committed is kept, and the same call continues.
    """
    check_destination(destination)
    job = asked(recipe, Path(destination), jobs)
    told = progress or _unheard
    return _built(job, told) if shards == 1 else built_in_shards(job, shards, told, _built)


def append(
    store: Path,
    recipe: Callable[[Mapping[str, Any]], Recipe],
    *,
    all_new: bool = False,
    progress: Progress | None = None,
    jobs: int | None = 1,
) -> Store:
    """Add the samples of a recipe that a store does not have, or go on with that.

    Samples that are stored keep their parts of every split; only new ones are drawn.

    Args:
        store: the store's directory.
        recipe: loads the one that the store was prepared with, of those options: of the same raw
            data, grown, in which what is stored comes first; or of other raw data.
        all_new: whether it is of other raw data, all samples of which are new.
        progress: called with (samples done, samples in all).
        jobs: processes that read samples, see `build`.

    Returns:
        The store, with the samples of before if there are no new ones.

    Raises:
        UserError: there is no store; the recipe or what it reads is at fault, or does not go with
            the store; the disk is full. The store is then as it was, and the same call continues.
    """
    if not (Path(store) / METADATA_FILE).is_file():
        return Store(store)  # says what is there instead
    return appended_to(Path(store), recipe, all_new, progress or _unheard, jobs, _built)


def _unheard(done: int, total: int) -> None:
    """Tell nobody."""


def _built(job: Job, progress: Progress) -> Store:
    """Build a store in one file, or continue an interrupted build of it."""
    if not is_vacant(job.destination):
        return existing(job)
    with partial_directory(job.partial), explained(job.partial), python_seeded(0):
        continue_or_start_over(job.partial, job.state, lambda: _is_sound(job))
        _fill(job, progress)
        publish(job, (DATA_FILE, METADATA_FILE))
    return Store(job.destination)


def _is_sound(job: Job) -> bool:
    databases = [*(column.name for column in job.columns), IDENTIFIER]
    return (job.partial / DATA_FILE).is_file() and is_sound(job.partial, databases, OWN)


def _fill(job: Job, progress: Progress) -> None:
    writer = Writer(job.partial, job.columns, job.block)
    try:
        _write_samples(job, writer, progress)
        if not job.shard:
            warn_of_absent_classes(job, writer.records(job.columns[-1]))
        lengths = _lengths(job, writer)
        writer.write_splits(job.splits, job.length)
        writer.write_statistics(_statistics(job, writer, lengths))
        checksums = writer.checksums()
        size = (job.partial / DATA_FILE).stat().st_size
        metadata = described(job, lambda: writer.records(job.columns[-1]), lengths, size)
    finally:
        writer.close()
    metadata["fingerprint"] = fingerprint(metadata, iter(checksums))
    write_json_durably(job.partial / METADATA_FILE, metadata)


def _lengths(job: Job, writer: Writer) -> np.ndarray | None:
    """Return what samples have of modalities that they may lack, [samples, modalities]."""
    column = lengths_column(job)
    if column is None:
        return None
    return np.concatenate([values.copy() for _, values in writer.records(column)])


def _statistics(
    job: Job, writer: Writer, lengths: np.ndarray | None
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


def _write_samples(job: Job, writer: Writer, progress: Progress) -> None:
    start, stop = job.bounds
    first, total = min(start + writer.blocks * job.block, stop), job.total
    progress(first, total)
    ranges = [range(at, min(at + job.block, stop)) for at in range(first, stop, job.block)]
    samples = Samples(job.recipe, job.declared, job.columns)
    blocks = read_blocks(samples, ranges, job.jobs, lambda done: progress(done, total))
    with closing(blocks):  # on a mistake here, too, no process is left behind
        for block in blocks:
            block.samples = range(block.samples.start - start, block.samples.stop - start)
            writer.write_block(block)
