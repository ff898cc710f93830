"""What a file is worth: its answers beside torch's, by an independent sum."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mstgraph.export.measure import compare, milliseconds, threads_of_torch
from mstgraph.store.recipe import Labels
from mstgraph.tasks.choice import task_for


def test_differences_agreement_and_metrics() -> None:
    """Over all batches; what has no label agrees or not, but counts in no metric."""
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(40, 3)).astype(np.float32)
    other = outputs + rng.normal(size=(40, 3)).astype(np.float32)
    labels = rng.integers(-1, 3, 40)
    task = task_for(Labels("classification", ("a", "b", "c"), ignored=-1))
    numbers = np.arange(40)
    batches = [((numbers[i : i + 7],), torch.tensor(labels[i : i + 7])) for i in range(0, 40, 7)]
    ways = {"torch": lambda rows: outputs[rows], "other": lambda rows: other[rows]}
    first, second = compare(ways, batches, task, {"torch": 1, "other": 2}).values()
    assert (first.difference, first.agreement, first.size) == (0, 1, 1)
    assert second.difference == pytest.approx(np.abs(other - outputs).max())
    limits = [0.001 * max(1, np.abs(outputs[i : i + 7]).max()) for i in range(0, 40, 7)]
    off = np.abs(other - outputs) > np.repeat(limits, 7)[:40, None]
    assert (first.apart, second.apart) == (0, off.mean())
    assert second.agreement == np.mean(other.argmax(1) == outputs.argmax(1))
    known = labels >= 0
    for row, given in ((first, outputs), (second, other)):
        assert row.metrics["OA"] == pytest.approx(np.mean(given.argmax(1)[known] == labels[known]))


def test_an_answer_that_is_no_number_is_a_difference() -> None:
    """Not one that goes unseen because nothing is larger than it."""
    task = task_for(Labels("classification", ("a", "b")))
    outputs = np.zeros((2, 2), np.float32)
    broken = outputs + np.array([[np.nan], [0]], np.float32)
    ways = {"torch": lambda rows: outputs, "other": lambda rows: broken}
    found = compare(ways, [((outputs,), torch.tensor([0, 1]))], task, {"torch": 0, "other": 0})
    assert np.isnan(found["other"].difference)
    assert found["other"].apart == 0.5


def test_ways_take_turns() -> None:
    """So that a slow moment hits them alike; every answer is to the same values."""
    order: list[str] = []
    ways = {
        name: lambda values, name=name: order.append(name) or values  # type: ignore[func-returns-value]
        for name in "ab"
    }
    times = milliseconds(ways, (np.zeros(3),))
    assert order == ["a", "b"] * (len(order) // 2)
    assert all(low <= median <= high for median, low, high in times.values())


def test_threads_are_given_back() -> None:
    """What the program had set is set again."""
    before = torch.get_num_threads()
    with threads_of_torch(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
