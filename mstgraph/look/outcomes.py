"""What test samples came to, from `samples.npz` alone: confusions, transfer, routing by class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mstgraph.certainty.counts import Counts, counts_in
from mstgraph.certainty.verdict import RIGHT
from mstgraph.look.records import Records


def counts(records: Records, place: tuple[str, str]) -> Counts | None:
    """Return the counts of a response; None of a task that does not count classes."""
    found = counts_in(records.contributions(place))
    if found is None or found.hit.shape[1] != int(records.plan["task"]["outputs"]):
        return None
    return found


def recall(found: Counts) -> np.ndarray:
    """Return the share of each class that is hit, [classes] float; nan of a class without any."""
    hit, labelled = found.hit.sum(0), found.labelled.sum(0)
    return np.divide(hit, labelled, out=np.full(len(hit), np.nan), where=labelled > 0)


def right(records: Records, place: tuple[str, str]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return where a response is right, and what counts, [samples × places] bool each.

    None of a task that says neither.
    """
    marks = records.marks(place)
    if marks is not None:
        return (marks == RIGHT).ravel(), (marks > 0).ravel()
    found = counts(records, place)
    if found is None or not found.single:
        return None
    return found.hit.sum(1) > 0, found.labelled.sum(1) > 0


@dataclass(frozen=True)
class Transfer:
    """What each response could tell each other one.

    Attributes:
        names: of the responses.
        accuracy: share that each is right on, [n].
        told: share of the errors of j (column) on which i (row) is right, [n, n].
        agree: share on which both are right or both wrong, [n, n].
    """

    names: list[str]
    accuracy: np.ndarray
    told: np.ndarray
    agree: np.ndarray


def transfer(records: Records) -> Transfer | None:
    """Compare all responses with one another; None where nothing is known of single samples."""
    places = records.responses()
    found = {name: r for name, place in places.items() if (r := right(records, place)) is not None}
    if not found:
        return None
    counted = np.logical_and.reduce([counts for _, counts in found.values()])
    rows = np.stack([values[counted] for values, _ in found.values()]).astype(float)
    errors = 1 - rows
    told = (rows @ errors.T) / np.maximum(errors.sum(1), 1)
    agree = (rows @ rows.T + errors @ errors.T) / max(1, rows.shape[1])
    return Transfer(list(found), rows.mean(1), told, agree)


def routing_by_class(records: Records, target: str) -> np.ndarray | None:
    """Return the share of each class that the gate sends to each teacher, [classes, teachers].

    A map counts for a class by its pixels of it. None without a gate, of a task without classes,
    or of a run by an earlier version, which did not keep it.
    """
    stage = records.last(target)
    share = records.statistics(stage).get("share")
    if share is None or target not in records.samples(stage):
        return None
    found = counts(records, (stage, target))
    if found is None or len(share) != len(found.labelled):
        return None
    known = ~np.isnan(share).any(axis=1)
    labelled = found.labelled[known]
    weight = labelled.sum(0)[:, None]
    summed = labelled.T @ share[known]
    return np.divide(summed, weight, out=np.full_like(summed, np.nan, float), where=weight > 0)


@dataclass(frozen=True)
class Changed:
    """Test samples whose answer distillation changed, by place in the test part.

    Attributes:
        mended: wrong alone, right distilled.
        spoilt: the other way round.
        score: for maps, by how much the share of right pixels changed; else ±1.
    """

    mended: np.ndarray
    spoilt: np.ndarray
    score: np.ndarray


def changed(records: Records, target: str) -> Changed | None:
    """Return the samples that changed, most changed first; None where nobody knows."""
    alone, last = records.alone(target), records.last(target)
    if alone is None or target not in records.samples(alone):
        return None
    if target not in records.samples(last):
        return None
    one, other = (counts(records, (stage, target)) for stage in (last, alone))
    if one is None or other is None:
        return None
    total = np.maximum(one.labelled.sum(1), 1)
    score = (one.hit.sum(1) - other.hit.sum(1)) / total
    order = np.argsort(-np.abs(score), kind="stable")
    return Changed(order[score[order] > 0], order[score[order] < 0], score)
