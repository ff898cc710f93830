"""Tasks of classes: the loss of a sample, divergence, and what counts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import training_worlds as small

from mstgraph.data.labelled import UNKNOWN
from mstgraph.store.recipe import Labels
from mstgraph.support.errors import UserError
from mstgraph.tasks.choice import task_for
from mstgraph.tasks.classes import MARKED
from mstgraph.tasks.task import Metric, Task

pytest_plugins = ("training_fixtures",)

C = 6


def dense_task(ignored: int | None) -> Task:
    """A segmentation of 4×3 pixels."""
    return small.class_task(C, (4, 3), ignored)


def predictions(task: Task, samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random logits and labels."""
    generator = torch.Generator().manual_seed(0)
    shape = (samples, *task.extent)
    logits = torch.randn(samples, C, *task.extent, generator=generator)
    return logits, torch.randint(0, C, shape, generator=generator)


def test_loss_of_a_classification_is_the_cross_entropy_of_each_sample() -> None:
    """−log P(label); 0 where the label does not count."""
    logits, labels = predictions(small.class_task(C), 9)
    expected = small.cross_entropy(logits.numpy(), labels.numpy())
    np.testing.assert_allclose(small.class_task(C).loss(logits, labels), expected, rtol=1e-5)
    some = small.class_task(C, ignored=int(labels[0])).loss(logits, labels)
    kept = labels.numpy() != int(labels[0])
    np.testing.assert_allclose(some, np.where(kept, expected, 0), rtol=1e-5)


@pytest.mark.parametrize("dense", [False, True])
def test_divergence_is_kl_of_softened_outputs_of_each_place(dense: bool) -> None:
    """Of samples, or of pixels, whichever labels are ignored."""
    task = dense_task(0) if dense else small.class_task(C)
    teacher, student = predictions(task, 4)[0], predictions(task, 4)[0].flip(0)
    expected = small.kl(teacher.numpy(), student.numpy(), 4.0)
    np.testing.assert_allclose(task.divergence(teacher, student, 4.0), expected, atol=1e-6)


def test_which_labels_count() -> None:
    """None, which costs nothing, where all do."""
    labels = torch.tensor([0, 1, 2, 1])
    assert small.class_task(C).counted(labels) is None
    counted = small.class_task(C, ignored=1).counted(labels)
    assert counted is not None
    assert counted.tolist() == [True, False, True, False]


def test_without_ignored_labels_an_average_is_over_all_pixels() -> None:
    """And a value of a whole sample is its own average."""
    values, labels = torch.rand(3, 4, 3), torch.zeros(3, 4, 3, dtype=torch.int64)
    found = dense_task(None).average(values, labels)
    np.testing.assert_allclose(found, values.numpy().mean((1, 2)), rtol=1e-6)
    torch.testing.assert_close(
        small.class_task(C).average(values[:, 0, 0], labels[:, 0, 0]), values[:, 0, 0]
    )


@pytest.mark.parametrize("ignored", [0, 255])
def test_cross_entropy_averages_over_labelled_pixels(ignored: int) -> None:
    """Per sample; a sample without labels has the loss 0, and infinite logits there do no harm."""
    task = dense_task(ignored)
    logits, labels = predictions(task, 5)
    labels = labels.clamp(min=1)
    labels[0], labels[1, :2] = ignored, ignored
    logits[0] = math.inf
    values = task.loss(logits, labels)
    own = small.cross_entropy(logits[1:].numpy().astype(float), labels[1:].clamp(max=C - 1).numpy())
    expected = [v[lab.numpy() != ignored].mean() for v, lab in zip(own, labels[1:], strict=True)]
    np.testing.assert_allclose(values.numpy(), [0, *expected], rtol=1e-5)


def test_marks_say_where_a_map_is_right() -> None:
    """Of pixels, the same for all who answer; none of whole samples, which `right` knows."""
    task = replace(dense_task(0), unlabelled=True)
    logits, labels = predictions(task, 6)
    labels[0], labels[1, 0] = UNKNOWN, 0
    marks = task.marks(logits, labels)
    expected = np.where(logits.argmax(1) == labels, 2, 1)
    expected[(labels == UNKNOWN) | (labels == 0)] = 0
    own = expected.reshape(6, -1)
    assert marks.shape == own.shape
    np.testing.assert_array_equal(np.sort(marks.numpy(), axis=1), np.sort(own, axis=1))
    assert small.class_task(C).marks(torch.rand(2, C), torch.tensor([0, 1])) is None


def test_marks_are_of_few_pixels() -> None:
    """However large the maps are, in an order that is no grid."""
    logits, labels = torch.rand(2, C, 64, 48), torch.ones(2, 64, 48, dtype=torch.int64)
    labels[:, :, 24:] = 2
    marks = small.class_task(C, (64, 48)).marks(logits, labels)
    assert marks.shape == (2, MARKED)
    right = float((logits.argmax(1) == labels).float().mean())
    assert float((marks == 2).float().mean()) == pytest.approx(right, abs=0.05)


def test_ignored_pixels_get_no_gradient() -> None:
    """Neither from the cross-entropy nor from an average."""
    task = dense_task(0)
    logits, labels = predictions(task, 5)
    logits.requires_grad_()
    (task.loss(logits, labels) + task.average(logits.square().sum(1), labels)).sum().backward()
    ignored = (labels == 0)[:, None].expand_as(logits)
    assert logits.grad[ignored].abs().max() == 0
    assert logits.grad[~ignored].abs().min() > 0


def test_an_ignored_value_may_be_anything() -> None:
    """A product with zero would make not-a-number of infinity."""
    task = dense_task(0)
    labels = torch.ones(2, 4, 3, dtype=torch.int64)
    labels[0, 0, 0] = 0
    values = torch.ones(2, 4, 3)
    values[0, 0, 0] = math.nan
    assert task.average(values, labels).tolist() == [1.0, 1.0]


def test_a_stores_labels_name_their_task() -> None:
    """Both kinds of task, with what is reported for each."""
    flat = task_for(Labels("classification", ("a", "b")))
    maps = task_for(Labels("segmentation", ("a", "b"), 0, (4, 6)))
    assert (flat.kind, flat.dense, flat.primary.name, flat.num_outputs) == (
        "classification",
        False,
        "OA",
        2,
    )
    assert (maps.dense, maps.primary.name, maps.extent) == (True, "mIoU", (4, 6))
    assert [metric.title for metric in flat.metrics] == ["OA", "AA", "F1", "κ"]
    assert [metric.name for metric in maps.metrics] == ["OA", "AA", "mIoU"]
    assert flat.classes == ("a", "b")
    assert flat.exclusive_classes


def test_labels_of_an_unknown_task_are_refused() -> None:
    """With the nearest task of the package."""
    kind: Any = "segmentatoin"
    with pytest.raises(UserError, match="did you mean 'segmentation'"):
        task_for(Labels(kind, ("a",)))


def test_a_metric_says_which_way_is_better() -> None:
    """By the sign of what it is worth, and with an arrow where lower is better."""
    accuracy, error = Metric("OA", "accuracy"), Metric("MAE", "error", higher_is_better=False)
    assert accuracy.merit(0.7) > accuracy.merit(0.6)
    assert error.merit(0.7) < error.merit(0.6)
    assert (accuracy.heading, error.heading) == ("accuracy", "error ↓")
