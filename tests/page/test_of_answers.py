"""What a page says of answers, of runs that are cheaper told than trained."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from mstgraph.page.of_answers import PLOTTED, answers
from mstgraph.page.parts import Chart, Section, Words
from mstgraph.store.recipe import Labels
from mstgraph.tasks.multilabel import MultiLabel
from mstgraph.tasks.regression import Regression


def sections(kind: str, classes: tuple[str, ...], **contributions: torch.Tensor) -> list[Section]:
    """Of a student ``me`` that was trained so."""
    run: Any = SimpleNamespace(
        plan={"task": {"kind": kind, "outputs": len(classes)}},
        targets=["me"],
        classes=list(classes),
        responses=lambda: {f"me {how}": ("stage", how) for how in contributions},
        contributions=lambda place: contributions[place[1]].numpy(),
    )
    return answers(run)


def test_each_class_of_several_has_a_confusion_of_its_own() -> None:
    """Two by two, counted by hand; a class that never applies has no precision and half a table."""
    task = MultiLabel(Labels("multilabel", ("calm", "loud")))
    outputs = torch.tensor([[2.0, -1.0], [-2.0, 3.0], [1.0, -1.0], [4.0, -1.0]])
    labels = torch.tensor([[1, 0], [1, 0], [0, 0], [1, 0]])
    (section,) = sections(
        "multilabel", task.labels.classes, distilled=task.contributions(outputs, labels)
    )
    precision, table = section.blocks
    assert isinstance(precision, Chart)
    assert isinstance(table, Chart)
    assert [row["class"] for row in precision.data] == ["calm"]
    found = {(row["class"], row["answer"]): (row["share"], row["samples"]) for row in table.data}
    assert found == {
        ("calm", "applies, said"): (0.6667, 2),
        ("calm", "applies, not said"): (0.3333, 1),
        ("calm", "does not, said"): (1, 1),
        ("calm", "does not, not said"): (0, 0),
        ("loud", "does not, said"): (0.25, 1),
        ("loud", "does not, not said"): (0.75, 3),
    }


def test_predicted_numbers_stand_against_true_ones() -> None:
    """Of alone and distilled, on axes of one extent; at most so many numbers have a chart."""
    names = tuple(f"number {i}" for i in range(PLOTTED + 2))
    task = Regression(Labels("regression", names))
    labels = torch.arange(3.0)[:, None] + torch.arange(len(names))
    how = {
        name: task.contributions(labels + by, labels)
        for name, by in (("alone", 2), ("distilled", 1))
    }
    (section,) = sections("regression", names, **how)
    *shown, rest = section.blocks
    assert [chart.title for chart in shown if isinstance(chart, Chart)] == list(names[:PLOTTED])
    assert isinstance(rest, Words)
    chart = shown[1]
    assert isinstance(chart, Chart)
    rows = [(row["series"], row["true"], row["predicted"]) for row in chart.data]
    assert rows[:1] == [("alone", 1, 3)]
    assert rows[3:] == [("distilled", 1, 2), ("distilled", 2, 3), ("distilled", 3, 4)]
    assert chart.spec["layer"][0]["data"]["values"] == [
        {"true": 1, "predicted": 1, "end": 5},
    ]


def test_of_one_class_for_each_sample_there_are_confusions() -> None:
    """As before: alone, distilled and what distillation changed."""
    hit = np.eye(2, dtype=np.int32)[[0, 1, 1]]
    whole = torch.from_numpy(np.concatenate([hit, hit, hit], 1))
    (section,) = sections("classification", ("a", "b"), alone=whole, distilled=whole)
    titles = [block.title for block in section.blocks if isinstance(block, Chart)]
    assert titles == [f"Confusion, {how}" for how in ("alone", "distilled", "distilled less alone")]
