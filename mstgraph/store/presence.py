"""Presence: which modalities a sample has, and how a pattern of them is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

JOINED = " + "
NOTHING = "nothing"


def pattern_name(names: Sequence[str], there: Sequence[bool]) -> str:
    """Return how a pattern of presence is called: "audio + video"."""
    return JOINED.join(n for n, own in zip(names, there, strict=True) if own) or NOTHING


def pattern_counts(names: Sequence[str], there: np.ndarray) -> dict[str, int]:
    """Return pattern → number of samples, the most complete first.

    Args:
        names: of modalities.
        there: [samples, modalities] bool.
    """
    patterns, counts = np.unique(there, axis=0, return_counts=True)
    order = np.argsort(-patterns.sum(axis=1), kind="stable")
    return {pattern_name(names, patterns[i].tolist()): int(counts[i]) for i in order}


def having(counts: Mapping[str, int], modality: str) -> int:
    """Return how many samples have a modality, from pattern → number of samples."""
    return sum(count for name, count in counts.items() if modality in modalities_of(name))


def modalities_of(pattern: str) -> list[str]:
    """Return the modalities of a pattern."""
    return pattern.split(JOINED)
