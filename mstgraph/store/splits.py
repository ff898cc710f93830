"""Splits: five numbered groups of 60/20/20, and those that come with the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mstgraph.store.declared import Declared
from mstgraph.support.errors import UserError, nearest, users_code

PARTS = ("train", "validation", "test")
GROUPS = 5

Split = dict[str, np.ndarray]


def numbered_split(length: int, group: int) -> Split:
    """Return group ``group`` of ``length`` samples: 60/20/20, ids ascending, int64.

    The permutation is that of ``numpy.random.RandomState(group)``, a stream that numpy keeps fixed
    for ever; train takes its first ⌊0.6 N⌋ ids, validation the next up to ⌊0.8 N⌋, test the rest.
    """
    order = np.random.RandomState(group).permutation(length).astype(np.int64)
    pieces = np.split(order, [length * 6 // 10, length * 8 // 10])
    return {part: np.sort(ids) for part, ids in zip(PARTS, pieces, strict=True)}


def official_split(name: str, given: Mapping[str, Sequence[int]], length: int) -> Split:
    """Return a split that comes with the data, checked; ids ascending, int64.

    Without ``validation``, a fifth of the training ids (the first of a permutation by
    ``RandomState(0)``) is set aside.

    Raises:
        UserError: a part is unknown, missing or empty, or ids are repeated, shared by two parts
            or out of range.
    """
    for part in given:
        if part not in PARTS:
            close = nearest(str(part), PARTS)
            raise UserError(f"split '{name}' has an unknown part '{part}'{close}")
    for part in ("train", "test"):
        if part not in given:
            raise UserError(f"split '{name}' has no part '{part}'; expected train and test")
    split = {part: _ids(name, part, given[part], length) for part in PARTS if part in given}
    if "validation" not in split:
        split |= _set_aside(split["train"])
    split = {part: split[part] for part in PARTS}
    _check_disjoint(name, split)
    return split


def make_splits(declared: Declared) -> dict[str, Split]:
    """Return every split of a data set by name: the numbered groups, then the official ones.

    Raises:
        UserError: too few samples to split, or an official split is at fault.
    """
    length = declared.length
    if length < 3:
        raise UserError(
            f"{declared.title} has {length} samples; expected at least 3, "
            "one for each of train, validation and test"
        )
    splits = {str(group): numbered_split(length, group) for group in range(GROUPS)}
    for name, given in declared.official_splits.items():
        if name in splits:
            raise UserError(
                f"official split '{name}' has the name of a numbered group; expected any name "
                f"but 0 to {GROUPS - 1}"
            )
        splits[name] = official_split(name, given, length)
    for name, split in splits.items():
        for part, ids in split.items():
            if not len(ids):
                raise UserError(f"part '{part}' of split '{name}' is empty; expected samples")
    return splits


def _ids(name: str, part: str, given: Sequence[int], length: int) -> np.ndarray:
    where = f"part '{part}' of split '{name}'"
    with users_code(f"{where} is no sequence of sample numbers"):
        found = np.asarray(given)
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise UserError(
            f"{where} is of type {found.dtype} and {found.ndim} dimensions; "
            "expected a sequence of sample numbers"
        )
    outside = found[(found < 0) | (found >= length)]
    if outside.size:
        raise UserError(f"{where} names sample {outside[0]}; expected 0 to {length - 1}")
    values, counts = np.unique(found.astype(np.int64), return_counts=True)
    if (counts > 1).any():
        raise UserError(f"{where} names sample {values[counts > 1][0]} more than once")
    return values


def _set_aside(train: np.ndarray) -> Split:
    order = np.random.RandomState(0).permutation(len(train))
    count = len(train) // 5
    return {"validation": np.sort(train[order[:count]]), "train": np.sort(train[order[count:]])}


def _check_disjoint(name: str, split: Split) -> None:
    for first, second in (PARTS[:2], PARTS[1:], PARTS[::2]):
        shared = np.intersect1d(split[first], split[second])
        if shared.size:
            raise UserError(
                f"split '{name}' has sample {shared[0]} in both {first} and {second}; "
                "expected parts without a common sample"
            )
