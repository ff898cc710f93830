"""Splits: five numbered groups of 60/20/20, and those that come with the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mstgraph.store.declared import Declared
from mstgraph.support.errors import UserError, nearest, users_code

PARTS = ("train", "validation", "test")
GROUPS = 5

Split = dict[str, np.ndarray]


def numbered_split(length: int, group: int, first: int = 0) -> Split:
    """Return group ``group`` of ``length`` samples: 60/20/20, ids ascending, int64.

    The permutation is that of ``numpy.random.RandomState(group)``, a stream that numpy keeps fixed
    for ever; train takes its first ⌊0.6 N⌋ ids, validation the next up to ⌊0.8 N⌋, test the rest.

    Args:
        length: N.
        group: the seed.
        first: samples before it have their parts already. Those from it on, counted from 0, are
            drawn by ``RandomState([group, first])``, as many for each part as all lack of it.
    """
    seed = [group, first] if first else group
    order = np.random.RandomState(seed).permutation(length - first).astype(np.int64)
    pieces = np.split(order, [length * share // 10 - first * share // 10 for share in (6, 8)])
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


def continued_split(
    name: str, given: Mapping[str, Sequence[int]], stored: Split, first: int, length: int
) -> Split:
    """Return what a split that comes with the data says of new samples, counted from 0.

    Args:
        name: of the split.
        given: its parts now.
        stored: its parts as they are.
        first: the first new sample.
        length: number of samples now.

    Raises:
        UserError: see `official_split`; or a sample that is stored has another part now.
    """
    official_split(name, given, length)  # refuses what makes no sense
    now = {part: np.unique(np.asarray(ids, np.int64)) for part, ids in given.items()}
    if not (now.get("validation", np.empty(0, np.int64)) < first).any():  # it was set aside
        both = np.concatenate([stored["train"], stored["validation"]])
        stored = {**stored, "train": both, "validation": both[:0]}
    for part, ids in now.items():
        moved = np.setxor1d(ids[ids < first], stored[part])
        if moved.size:
            raise UserError(
                f"split '{name}' has another part for sample {moved[0]} than when it was stored; "
                "expected that samples keep their parts, or a store that is prepared anew"
            )
    new = {part: (ids[ids >= first] - first).tolist() for part, ids in now.items()}
    return official_split(name, new, length - first)


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
