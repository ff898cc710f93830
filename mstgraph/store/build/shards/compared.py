"""Whether a recipe goes with a store, and whether its raw data begins with what is stored.

Names alone do not tell: where they are lines of a table, one that is put in between has the name of
another. So a few of the stored samples are read again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from mstgraph.store.build.job import Job
from mstgraph.store.build.reading.checks import Encoded, SampleChecker
from mstgraph.store.layout import LABEL
from mstgraph.store.reader import Store
from mstgraph.store.recipe import Labels
from mstgraph.support.errors import UserError
from mstgraph.support.seeds import python_seeded

logger = logging.getLogger("mstgraph")

EXPECTED = "expected the same raw data, grown at its end, or --all-new for other raw data"
LOOKED_AT = 8  # stored samples that are read again
ROUNDING = 0.002  # of a sample's range: as other versions of libraries decode and compute

Names = Callable[[int], str]


def refuse_unfit(store: Store, job: Job, all_new: bool) -> None:
    """Refuse a recipe whose samples cannot be added to a store.

    Args:
        store: the store.
        job: of all samples of the recipe.
        all_new: whether they are said to be new; else those that are stored come first.

    Raises:
        UserError: it is not the recipe that the store was prepared with, or has other options, or
            declares other samples; or its first samples are not those of the store, or are.
    """
    _refuse_another(store, job)
    if all_new:
        _refuse_known(store, job)
    else:
        _refuse_other_first(store, job)


def _refuse_another(store: Store, job: Job) -> None:
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
    _refuse_other_labels(store, said.title, said.labels)
    if tuple(store.modalities.values()) != said.modalities:
        raise UserError(
            f"the modalities of {said.title} are others now than those of {store.path}; expected "
            "the same: prepare a store anew"
        )


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {value}" for name, value in options.items()) or "none"


def _refuse_other_labels(store: Store, title: str, now: Labels) -> None:
    stored = store.labels_spec
    if now.classes != stored.classes:
        others = [f"'{name}' is new" for name in now.classes if name not in stored.classes]
        others += [f"'{name}' is none" for name in stored.classes if name not in now.classes]
        raise UserError(
            f"the classes of {title} are others now than those of {store.path}: "
            f"{next(iter(others), 'their order')}; expected the same: prepare a store anew"
        )
    if _beside_classes(now) != _beside_classes(stored):
        raise UserError(
            f"the labels of {title} are {_beside_classes(now)} now, and those of {store.path} "
            f"{_beside_classes(stored)}; expected the same: prepare a store anew"
        )


def _beside_classes(labels: Labels) -> str:
    return f"{labels.task}, ignored {labels.ignored}, unknown {labels.unknown}"


def _refuse_other_first(store: Store, job: Job) -> None:
    """Refuse raw data in which other samples come first than those that are stored."""
    if job.length < store.length:
        raise UserError(
            f"{store.path} holds {store.length} samples, and the raw data {job.length}; {EXPECTED}"
        )
    names = _names(store, job)
    for index in range(store.length):
        if (name := names(index)) != (stored := store.identifier(index)):
            raise UserError(
                f"sample {index} of the raw data is '{name}', and that of {store.path} is "
                f"'{stored}'; {EXPECTED}"
            )
    other = _first_other(store, job, _looked_at(job, store.length))
    if other is not None:
        raise UserError(
            f"sample '{names(other)}' of the raw data is not the one that {store.path} holds "
            f"by this name; {EXPECTED}"
        )


def _refuse_known(store: Store, job: Job) -> None:
    """Refuse raw data that begins with what is stored, or was appended."""
    known = {file["sha256"] for file in store.metadata["recipe"]["raw_files"]}
    again = [file["name"] for file in job.provenance["raw_files"] if file["sha256"] in known]
    sizes = [len(shard) for shard in store.shards] or [store.length]
    for first, size in zip(accumulate(sizes, initial=0), sizes, strict=False):
        looked_at = _looked_at(job, min(size, job.length))
        enough = again or len(looked_at) == LOOKED_AT  # a few can be the same by chance
        if enough and _first_other(store, job, looked_at, first) is None:
            raise UserError(
                f"the raw data begins with samples that {store.path} holds from sample {first} on; "
                "expected new ones alone, or no --all-new where the same raw data has grown"
            )
    if again:
        logger.warning(
            "%d of the raw files, such as '%s', are those of samples that are stored: a sample "
            "that is there twice can be in training and in test",
            len(again),
            again[0],
        )


def _names(store: Store, job: Job) -> Names:
    """Return what names samples as if the raw data lay where it did when the store was prepared."""
    checker = SampleChecker(job.recipe, job.declared)
    raw = getattr(job.recipe, "raw", None)
    if not isinstance(raw, Path):
        return checker.identifier
    before, place, after = checker.identifier(0).partition(str(raw))
    stored = store.identifier(0)
    earlier = stored[len(before) : len(stored) - len(after)]
    if not place or before + earlier + after != stored or Path(earlier).name != raw.name:
        return checker.identifier
    return lambda index: checker.identifier(index).replace(str(raw), earlier, 1)


def _looked_at(job: Job, length: int) -> Sequence[int]:
    """Return some of the first samples, ascending, the first and the last among them.

    Where they are read in chunks, those that the first or any chunk begins with: little to read.
    """
    near = np.arange(length)
    if job.declared.chunks:
        near = np.union1d(near[:LOOKED_AT], np.cumsum([0, *job.declared.chunks[:-1]]))
    there = near[near < length]
    chosen = there[np.linspace(0, len(there) - 1, LOOKED_AT).astype(int)]
    found: list[int] = np.unique([*chosen[:-1], length - 1]).tolist()
    return found


def _first_other(store: Store, job: Job, samples: Sequence[int], first: int = 0) -> int | None:
    """Return the first of some samples of the raw data that is not as stored from ``first`` on.

    None is read after it: in a chunk that would be all before the next.
    """
    with python_seeded(0):
        checker = SampleChecker(job.recipe, job.declared)
        for index in samples:
            if not _is_same(store, first + index, checker.read(index)):
                return index
    return None


def _is_same(store: Store, index: int, found: dict[str, np.ndarray | Encoded]) -> bool:
    given, label = found[LABEL], store.read_labels([index])[0]
    assert isinstance(given, np.ndarray)
    if not np.array_equal(given, label, equal_nan=label.dtype.kind == "f"):
        return False
    lengths = store.read_lengths([index])
    for name, item in store.modalities.items():
        there, length = found.get(name), lengths.get(name, np.array(item.shape[-1:]))[0]
        values = there.array if isinstance(there, Encoded) else there
        stored = store.read(name, [index])[0][..., :length] if length else None
        if values is None or stored is None:
            if values is not stored:
                return False
        elif not _alike(values, stored, exact=item.integers):
            return False
    return True


def _alike(values: np.ndarray, stored: np.ndarray, exact: bool) -> bool:
    if exact or values.shape != stored.shape:
        return np.array_equal(values, stored)
    wide = stored.astype(np.float64)
    return bool(np.abs(values - wide).mean() <= ROUNDING * np.ptp(wide))
