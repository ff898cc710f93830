"""What a store in which samples lack something says of it: which modalities go with which."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mstgraph.store.layout import incomplete
from mstgraph.store.presence import pattern_counts
from mstgraph.store.recipe import Labels, Modality
from mstgraph.store.splits import Split

Records = Iterable[tuple[range, np.ndarray]]


def describe_presence(
    modalities: Sequence[Modality],
    lengths: np.ndarray,
    labels: Labels,
    records: Records,
    splits: Mapping[str, Split],
) -> dict[str, Any]:
    """Return which modalities samples have, counted.

    Args:
        modalities: of the store.
        lengths: of those that samples may lack, [samples, modalities] int.
        labels: what is to be predicted.
        records: of the labels.
        splits: the splits.

    Returns:
        ``{"samples": {"audio + video": 80, …}, "splits": {name: {part: the same}}, "classes":
        {split: {modality: classes of which no training sample has it}}}``.
    """
    names = [item.name for item in modalities]
    own = dict(zip(incomplete(modalities), (lengths > 0).T, strict=True))
    table = np.stack([own.get(n, np.ones(len(lengths), bool)) for n in names], axis=1)
    held = _classes_held(labels, records)
    return {
        "samples": pattern_counts(names, table),
        "splits": {
            split: {part: pattern_counts(names, table[ids]) for part, ids in parts.items()}
            for split, parts in splits.items()
        },
        "classes": {
            split: _without(own, held, labels, parts["train"]) for split, parts in splits.items()
        },
    }


def _classes_held(labels: Labels, records: Records) -> np.ndarray:
    """Return which classes occur in each sample, [samples, classes] bool; of no task but two."""
    found = []
    for _, values in records:
        flat = values.reshape(len(values), -1)
        held = np.zeros((len(values), len(labels.classes)), bool)
        if labels.task in ("classification", "segmentation"):
            rows, places = np.nonzero((flat >= 0) & (flat < len(labels.classes)))
            held[rows, flat[rows, places].astype(np.int64)] = True
        found.append(held)
    held = np.concatenate(found)
    if labels.ignored is not None and 0 <= labels.ignored < held.shape[1]:
        held[:, labels.ignored] = False
    return held


def _without(
    own: Mapping[str, np.ndarray], held: np.ndarray, labels: Labels, train: np.ndarray
) -> dict[str, list[str]]:
    """Return modality → classes that occur in training, but never beside it."""
    occurs = held[train].any(axis=0)
    found = {
        name: [
            labels.classes[place]
            for place in np.flatnonzero(occurs & ~held[train][there[train]].any(axis=0))
        ]
        for name, there in own.items()
    }
    return {name: classes for name, classes in found.items() if classes}
