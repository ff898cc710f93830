"""Confusions of maps, against a loop over pixels."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F
from training_worlds import class_task

from mstgraph.look.pixels import confusion_of_maps
from mstgraph.stages.node import RESPONSE


def test_pixels_are_counted_that_count() -> None:
    """Row by label, column by answer, over all batches; what is ignored is in none."""
    draw = np.random.default_rng(0)
    labels, answers = draw.integers(0, 4, (2, 3, 5, 6))
    batches = [
        SimpleNamespace(labels=torch.tensor(labels[i : i + 2]), rows=slice(i, i + 2))
        for i in (0, 2)
    ]
    run: Any = SimpleNamespace(
        experiment=SimpleNamespace(task=class_task(4, (5, 6), 0)), batches=lambda *_: batches
    )
    logits = F.one_hot(torch.tensor(answers), 4).movedim(3, 1)
    asked: Any = SimpleNamespace(
        forward=SimpleNamespace(member="rgb"),
        outputs=lambda shared: {RESPONSE: logits[shared.rows]},
    )
    expected = np.zeros((4, 4), int)
    for label, answer in zip(labels.ravel(), answers.ravel(), strict=True):
        expected[label, answer] += label != 0
    np.testing.assert_array_equal(confusion_of_maps(run, asked, [0, 1, 2]), expected)
