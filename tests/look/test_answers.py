"""What single answers say of classes and numbers, against tasks and independent counts."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mstgraph.look.answers import each_class, numbers
from mstgraph.store.recipe import Labels
from mstgraph.tasks.multilabel import MultiLabel
from mstgraph.tasks.regression import Regression


def records(kind: str, outputs: int, contributions: torch.Tensor) -> Any:
    """A run that answered so."""
    plan = {"task": {"kind": kind, "outputs": outputs}}
    return SimpleNamespace(plan=plan, contributions=lambda _: contributions.numpy())


def test_classes_by_themselves_are_those_that_the_task_counted() -> None:
    """And are ranked by the mean precision at each that applies; nan of a class without any."""
    torch.manual_seed(0)
    task = MultiLabel(Labels("multilabel", ("a", "b", "c")))
    outputs, labels = torch.randn(20, 3), torch.randint(0, 2, (20, 3))
    labels[:, 2] = 0
    run = records("multilabel", 3, task.contributions(outputs, labels))
    found = each_class(run, ("stage", "me"))
    assert found is not None
    np.testing.assert_array_equal(found.said, outputs.numpy() > 0)
    np.testing.assert_array_equal(found.applies, labels.numpy() > 0)
    assert found.known.all()
    for c, precision in enumerate(found.average_precision()[:2]):
        ranked = labels[outputs[:, c].argsort(descending=True), c].numpy()
        at_each = ranked.cumsum() / np.arange(1, 21)
        assert precision == pytest.approx(at_each[ranked == 1].mean())
    assert math.isnan(found.average_precision()[2])
    assert numbers(run, ("stage", "me")) is None


def test_numbers_are_those_that_were_predicted() -> None:
    """Where the truth is known."""
    task = Regression(Labels("regression", ("height", "weight")), unlabelled=True)
    outputs = torch.tensor([[1.0, 2.0], [3.0, -4.0]])
    labels = torch.tensor([[1.5, math.nan], [2.0, -5.0]])
    run = records("regression", 2, task.contributions(outputs, labels))
    found = numbers(run, ("stage", "me"))
    assert found is not None
    np.testing.assert_array_equal(found.true, labels.numpy())
    np.testing.assert_array_equal(found.predicted, [[1, math.nan], [3, -4]])
    assert each_class(run, ("stage", "me")) is None


def test_a_task_of_another_form_is_not_misread() -> None:
    """One of a user's own may have the same kind and count otherwise."""
    run = records("regression", 2, torch.zeros(4, 6))
    assert numbers(run, ("stage", "me")) is None
