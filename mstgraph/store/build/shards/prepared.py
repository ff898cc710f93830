"""Preparing a store in shards: each is whole, and can be copied, before the next is begun.

They are cut so that no block of samples lies in two of them, and that records of the largest
samples do not either: their checksums are then those of a store in one file.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np

from mstgraph.store.build.description import warn_of_absent_classes
from mstgraph.store.build.failures import explained, partial_directory
from mstgraph.store.build.job import Build, Job, Progress
from mstgraph.store.build.publishing import continue_or_start_over, existing, publish
from mstgraph.store.build.shards.whole import Whole, content_of_one_file, remove_shard, write_whole
from mstgraph.store.destination import is_vacant, resolved, shard_of
from mstgraph.store.layout import METADATA_FILE, SHARDS
from mstgraph.store.reader import Store
from mstgraph.store.recipe import RAW
from mstgraph.store.splits import Split
from mstgraph.support.errors import UserError

logger = logging.getLogger("mstgraph")


def built_in_shards(job: Job, count: int, progress: Progress, built: Build) -> Store:
    """Build a store of so many shards, or continue an interrupted build.

    Args:
        job: what to build; a complete store of the same content is returned as it is.
        count: how many; less where the samples are too few.
        progress: called with (samples done, samples in all).
        built: builds each of them.

    Raises:
        UserError: see `mstgraph.store.build.builder.build`.
    """
    if not is_vacant(job.destination):
        return existing(job)
    pieces = cut(job, count)
    with partial_directory(job.partial):
        wanted = {**job.state, "shards": [len(piece) for piece in pieces]}
        with explained(job.partial):
            _take_back(job)
            continue_or_start_over(job.partial, wanted, lambda: True)
        for number, piece in enumerate(pieces):
            _remove_damaged(shard_of(job.partial, number))
            built(_part(job, number, piece), progress)
        with explained(job.partial):
            whole = Whole([Store(shard_of(job.partial, n)) for n in range(len(pieces))])
            warn_of_absent_classes(job, whole.records(job.columns[-1]))
            write_whole(job.partial, job, whole, content_of_one_file)
            publish(job, (SHARDS, METADATA_FILE))
    return Store(job.destination)


def cut(job: Job, count: int) -> list[range]:
    """Return which samples each of at most ``count`` shards holds; about as many each."""
    arrays = [column for column in job.columns if column.encoding == RAW]
    record = max(arrays, key=lambda column: column.row_bytes).samples_per_record
    unit = max(record, job.block) if job.length >= count * record else job.block
    units = -(-job.length // unit)
    shards = min(count, units)
    ends = [min(number * units // shards * unit, job.length) for number in range(shards + 1)]
    return [range(first, last) for first, last in pairwise(ends)]


def _part(job: Job, number: int, samples: range) -> Job:
    return job.part(samples, shard_of(job.partial, number), _within(job.splits, samples))


def _remove_damaged(folder: Path) -> None:
    """Remove a finished shard that cannot be opened any more; it is built again."""
    if is_vacant(folder):
        return
    try:
        Store(folder)
    except UserError:
        remove_shard(folder)
        logger.warning("starting over in %s: what was written there is damaged", folder)


def _within(splits: Mapping[str, Split], samples: range) -> dict[str, Split]:
    """Return splits of some of the samples, counted from the first of them."""

    def own(ids: np.ndarray) -> np.ndarray:
        first, last = np.searchsorted(ids, [samples.start, samples.stop])
        found: np.ndarray = ids[first:last] - samples.start
        return found

    return {name: {part: own(ids) for part, ids in split.items()} for name, split in splits.items()}


def _take_back(job: Job) -> None:
    """Undo the first half of a publication that was broken off, in a folder that was there."""
    published = resolved(job.destination) / SHARDS
    if published.is_dir() and not (job.partial / SHARDS).exists():
        os.replace(published, job.partial / SHARDS)
