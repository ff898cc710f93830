"""What ``metadata.json`` says of a store, counted once its samples are written."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mstgraph.store.build.job import Job
from mstgraph.store.build.presence import describe_presence
from mstgraph.store.build.summary import Records, class_counts, count_unlabelled
from mstgraph.store.layout import (
    CONTENT_VERSION,
    FORMAT_VERSION,
    LENGTHS,
    WITH_LENGTHS,
    Column,
)
from mstgraph.store.recipe import RAW

logger = logging.getLogger("mstgraph")


def described(
    job: Job, labels: Callable[[], Records], lengths: np.ndarray | None, data_bytes: int
) -> dict[str, Any]:
    """Return the metadata of a store, but for its fingerprint.

    Args:
        job: what was built.
        labels: the labels of all samples, read anew whenever it is called.
        lengths: what samples have of modalities that they may lack, [samples, modalities]; None
            where they lack nothing.
        data_bytes: of the data file.
    """
    said = job.declared
    unlabelled = count_unlabelled(labels(), said.labels, job.splits)
    found = {**_declared(job, data_bytes), "unlabelled": unlabelled}
    if lengths is None:
        return found
    column = lengths_column(job)
    assert column is not None
    counted = describe_presence(said.modalities, lengths, said.labels, labels(), job.splits)
    record = {"samples_per_record": column.samples_per_record}
    return {**found, "lengths": record, "presence": counted}


def lengths_column(job: Job) -> Column | None:
    """Return the column of what samples have of modalities that they may lack, or None."""
    return next((column for column in job.columns if column.name == LENGTHS), None)


def warn_of_absent_classes(job: Job, labels: Records) -> None:
    """Say which classes no training sample has, split by split."""
    counts = class_counts(labels, job.declared.labels, job.splits)
    splits: dict[tuple[str, ...], list[str]] = {}
    for split, count in counts.items():
        absent = tuple(
            name
            for index, name in enumerate(job.declared.labels.classes)
            if not count[index] and index != job.declared.labels.ignored
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


def _declared(job: Job, data_bytes: int) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "content_version": CONTENT_VERSION if lengths_column(job) is None else WITH_LENGTHS,
        "title": job.declared.title,
        "source": job.declared.source,
        "licence": job.declared.licence,
        "synthetic": job.declared.synthetic,
        "recipe": job.provenance,
        "identity": job.identity,
        "length": job.length,
        "modalities": _modalities(job),
        "labels": _labels(job),
        "samples_per_block": job.block,
        "splits": {
            name: {part: len(ids) for part, ids in split.items()}
            for name, split in job.splits.items()
        },
        "data_bytes": data_bytes,
    }


def _modalities(job: Job) -> list[dict[str, Any]]:
    columns: Mapping[str, Column] = {column.name: column for column in job.columns}
    return [
        {
            "name": item.name,
            "dtype": item.dtype,
            "shape": list(item.shape),
            "scale": float(item.scale),
            "unit": item.unit,
            "samples_per_record": columns[item.name].samples_per_record,
            # Left out where all is as in stores of earlier versions.
            **{key: True for key in ("integers", "optional", "varying") if getattr(item, key)},
            **({"encoding": item.encoding} if item.encoding != RAW else {}),
        }
        for item in job.declared.modalities
    ]


def _labels(job: Job) -> dict[str, Any]:
    labels, column = job.declared.labels, job.columns[-1]
    return {
        "task": labels.task,
        "classes": list(labels.classes),
        "ignored": labels.ignored,
        "shape": list(labels.shape),
        "unknown": "nan" if labels.unknown != labels.unknown else labels.unknown,
        "dtype": column.dtype,
        "samples_per_record": column.samples_per_record,
    }
