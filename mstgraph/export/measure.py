"""What a file is worth: the answers of its own runtime beside torch's, and how long they take."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mstgraph.export.format import Answer
from mstgraph.tasks.task import Task

ROUNDS, WARM = 30, 3
TOLERANCE = 1e-3  # of the largest output: what sums in another order come to
MOST_SECONDS = 5.0  # that timing one batch size may take; three rounds are always made


@dataclass
class Row:
    """One way to run a student, measured.

    Attributes:
        way: ``torch``, or format and precision.
        metrics: metric → value on the test split.
        size: bytes of its files.
        difference: largest difference of an output from torch's on the test split.
        apart: share of outputs that differ by more than `TOLERANCE` of torch's largest.
        agreement: share of answers (of samples, or pixels) that are torch's; None where outputs
            are no classes.
        milliseconds: batch size → median, and the 10th and 90th percentile, of one answer.
    """

    way: str
    metrics: Mapping[str, float]
    size: int
    difference: float
    apart: float
    agreement: float | None
    milliseconds: dict[int, tuple[float, float, float]] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)


def compare(
    ways: Mapping[str, Answer],
    batches: Iterable[tuple[Sequence[np.ndarray], Tensor]],
    task: Task,
    sizes: Mapping[str, int],
) -> dict[str, Row]:
    """Run every way over a split; the first is what the others are compared with.

    Args:
        ways: name → what answers.
        batches: raw values of each modality, and labels.
        task: for metrics.
        sizes: name → bytes of its files.
    """
    measured = {name: task.accumulator() for name in ways}
    difference, apart = dict.fromkeys(ways, 0.0), dict.fromkeys(ways, 0)
    agreed, answers, numbers = dict.fromkeys(ways, 0), 0, 0
    for values, labels in batches:
        outputs = {name: answer(*values) for name, answer in ways.items()}
        reference = next(iter(outputs.values()))
        most = TOLERANCE * max(1.0, float(np.abs(reference).max(initial=0)))
        answers, numbers = answers + reference[:, 0].size, numbers + reference.size
        for name, given in outputs.items():
            off = np.abs(given.astype(np.float64) - reference)
            difference[name] = float(np.maximum(difference[name], off.max(initial=0)))
            apart[name] += int((~(off <= most)).sum())
            agreed[name] += int((given.argmax(1) == reference.argmax(1)).sum())
            rows = _labelled(task, labels)
            measured[name].update(torch.from_numpy(given)[rows], labels[rows])
    exclusive = task.exclusive_classes
    return {
        name: Row(
            name,
            measured[name].metrics(),
            sizes[name],
            difference[name],
            apart[name] / max(1, numbers),
            agreed[name] / max(1, answers) if exclusive else None,
        )
        for name in ways
    }


def _labelled(task: Task, labels: Tensor) -> Tensor:
    """Return which samples have a label, of some pixel at least, [batch] bool."""
    counted = task.counted(labels)
    if counted is None:
        return torch.ones(len(labels), dtype=torch.bool)
    return counted.reshape(len(labels), -1).any(1)


def milliseconds(
    ways: Mapping[str, Answer], values: Sequence[np.ndarray]
) -> dict[str, tuple[float, float, float]]:
    """Time one answer of every way to the same batch; they take turns, so that all share luck.

    Returns:
        Name → median, 10th and 90th percentile in milliseconds.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(WARM):
        for answer in ways.values():
            answer(*values)
    begun = time.perf_counter()
    for number in range(ROUNDS):
        if number >= WARM and time.perf_counter() - begun > MOST_SECONDS:
            break
        for name, answer in ways.items():
            start = time.perf_counter()
            answer(*values)
            taken[name].append(1000 * (time.perf_counter() - start))
    return {
        name: tuple(np.percentile(found, (50, 10, 90)).tolist()) for name, found in taken.items()
    }


@contextmanager
def threads_of_torch(count: int) -> Iterator[None]:
    """Let torch compute on as many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
