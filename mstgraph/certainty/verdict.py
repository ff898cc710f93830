"""What a gain and its interval come to, in one sentence, and why where the numbers say why."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from mstgraph.certainty.bootstrap import Interval, paired_differences, percentile_interval
from mstgraph.certainty.hypotheses import mcnemar
from mstgraph.tasks.task import Metric, Task

Verdict = Literal["gains", "within noise", "loses"]
WRONG, RIGHT = 1, 2  # marks of a sample or pixel
FEW = 0.1  # share of the student's errors below which teachers have little to tell it


@dataclass(frozen=True)
class Gain:
    """A network against another one on the same test samples.

    Attributes:
        samples: how many of them.
        intervals: metric → 95 % interval of the difference, None where it is undefined.
        p: exact p-value of McNemar's test; None where answers are not right or wrong.
    """

    samples: int
    intervals: Mapping[str, Interval | None]
    p: float | None


@dataclass(frozen=True)
class TeacherFacts:
    """A teacher beside the student without distillation, by the task's primary metric.

    Attributes:
        name: of the teacher.
        value: its metric.
    """

    name: str
    value: float


def gain_over(task: Task, one: np.ndarray, other: np.ndarray) -> Gain:
    """Compare two networks by what each test sample contributes, [samples, statistics]."""
    differences = paired_differences(one, other, task.metrics_of, ranked=task.ranked)
    rights = right_samples(task, one), right_samples(task, other)
    return Gain(
        samples=len(one),
        intervals={name: percentile_interval(values) for name, values in differences.items()},
        p=None if rights[0] is None or rights[1] is None else mcnemar(rights[0], rights[1]),
    )


def right_samples(task: Task, contributions: np.ndarray) -> np.ndarray | None:
    """Return which samples are answered rightly, [samples] bool; None if that is no yes or no."""
    right = task.right(torch.from_numpy(contributions.astype(np.float64)))
    return None if right is None else right.numpy()


def marks_of(task: Task, contributions: np.ndarray) -> np.ndarray | None:
    """Return whether each sample is answered rightly as a mark (`Task.marks`): [samples, 1]."""
    right = right_samples(task, contributions)
    return None if right is None else right[:, None].astype(np.uint8) + 1


def told_share(alone: np.ndarray, teachers: Sequence[np.ndarray]) -> float | None:
    """Return the share of a student's errors on which some teacher is right; None without any.

    Args:
        alone: marks of the student alone, [samples, places], see `mstgraph.tasks.task.Task.marks`.
        teachers: those of each teacher.
    """
    errors = alone == WRONG
    if not teachers or not errors.any():
        return None
    return float(np.any([marks == RIGHT for marks in teachers], axis=0)[errors].mean())


def verdict_of(metric: Metric, interval: Interval) -> Verdict:
    """Return on which side of zero an interval of a difference lies, if it lies on one."""
    low, high = sorted(map(metric.merit, interval))
    return "gains" if low > 0 else "loses" if high < 0 else "within noise"


def sentence(
    metric: Metric,
    values: tuple[float, float],
    interval: Interval,
    teachers: Sequence[TeacherFacts] = (),
    told: float | None = None,
) -> str:
    """Say what distillation came to.

    Args:
        metric: the task's primary one.
        values: of the distilled student, and of the same network trained as long alone.
        interval: of their difference.
        teachers: those that taught it.
        told: share of the errors of the student alone on which some teacher is right.
    """
    distilled, alone = values
    verdict = verdict_of(metric, interval)
    found = f"{_signed(distilled - alone)} {metric.title} {in_brackets(interval)}"
    if verdict == "gains":
        return f"distilled gains {found} over the same network trained as long alone"
    start = "within noise:" if verdict == "within noise" else "distilled loses"
    why = _why(metric, alone, teachers, told)
    return f"{start} {found} against the same network trained as long alone{why}"


def in_brackets(interval: Interval) -> str:
    """Return an interval as a person reads it.

    >>> in_brackets((-0.0161, 0.011))
    '[−.016, +.011]'
    """
    return f"[{_signed(interval[0])}, {_signed(interval[1])}]"


def _why(metric: Metric, alone: float, teachers: Sequence[TeacherFacts], told: float | None) -> str:
    known = [teacher for teacher in teachers if math.isfinite(teacher.value)]
    if not known:
        return ""
    best = max(known, key=lambda teacher: metric.merit(teacher.value))
    if metric.merit(best.value) < metric.merit(alone):
        return (
            f"; its best teacher ({best.name}, {best.value:.3f}) is weaker than the student alone "
            f"({alone:.3f})"
        )
    if told is not None and told < FEW:
        return f"; its teachers are right where it already is, and on {told:.0%} of its errors"
    return ""


def _signed(value: float) -> str:
    text = f"{value:+.3f}".replace("-", "−")
    return text[0] + text[1:].removeprefix("0")
