"""Metrics of classes: by hand, and against libraries where they agree on absent classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as oracle
import training_worlds as small
from sklearn import metrics as sklearn

from mstgraph.tasks.confusion import metrics_of
from mstgraph.tasks.task import Task

pytest_plugins = ("training_fixtures",)

C = 6
CLASSIFICATION = small.class_task(C)


def dense_task(ignored: int | None) -> Task:
    """A segmentation of 4×3 pixels."""
    return small.class_task(C, (4, 3), ignored)


def predictions(task: Task, samples: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels that agree now and then."""
    generator = torch.Generator().manual_seed(0)
    shape = (samples, *task.extent)
    labels = torch.randint(0, C, shape, generator=generator)
    logits = torch.randn(samples, C, *task.extent, generator=generator)
    logits.scatter_add_(1, labels[:, None], torch.full((samples, 1, *task.extent), 1.0))
    return logits, labels


def streamed(task: Task, logits: torch.Tensor, labels: torch.Tensor, size: int) -> dict[str, float]:
    """Metrics from batches of a size."""
    matrix = task.accumulator()
    for some, own in zip(logits.split(size), labels.split(size), strict=True):
        matrix.update(some, own)
    return matrix.metrics()


def test_classification_metrics_agree_with_scikit_learn() -> None:
    """OA, AA, weighted F1 and κ, where every class occurs."""
    logits, labels = predictions(CLASSIFICATION)
    predicted = logits.argmax(1)
    assert streamed(CLASSIFICATION, logits, labels, 200) == pytest.approx(
        {
            "OA": sklearn.accuracy_score(labels, predicted),
            "AA": sklearn.balanced_accuracy_score(labels, predicted),
            "F1": sklearn.f1_score(labels, predicted, average="weighted"),
            "kappa": sklearn.cohen_kappa_score(labels, predicted),
        },
        abs=1e-12,
    )


@pytest.mark.parametrize("task", [CLASSIFICATION, dense_task(None), dense_task(0)])
def test_streaming_equals_one_shot(task: Task) -> None:
    """Whatever the size of the batches."""
    logits, labels = predictions(task)
    assert streamed(task, logits, labels, 7) == streamed(task, logits, labels, 200)


def test_dense_metrics_agree_with_torchmetrics_without_ignored_labels() -> None:
    """OA, AA (macro recall) and mIoU, where every class occurs."""
    task = dense_task(None)
    logits, labels = predictions(task)
    options = {"preds": logits, "target": labels, "num_classes": C}
    assert streamed(task, logits, labels, 50) == pytest.approx(
        {
            "OA": float(oracle.multiclass_accuracy(**options, average="micro")),
            "AA": float(oracle.multiclass_accuracy(**options, average="macro")),
            "mIoU": float(oracle.multiclass_jaccard_index(**options, average="macro")),
        },
        abs=1e-6,
    )


def test_dense_metrics_with_an_ignored_label_by_hand() -> None:
    """Its pixels do not count; predicting it where something else is labelled is an error."""
    task = small.class_task(3, (1, 8), ignored=0)
    labels = torch.tensor([[[0, 0, 1, 1, 1, 2, 2, 2]]])
    predicted = torch.tensor([[[1, 2, 1, 1, 0, 2, 2, 1]]])
    logits = torch.nn.functional.one_hot(predicted, 3).permute(0, 3, 1, 2).float()
    values = streamed(task, logits, labels, 1)
    assert values["OA"] == pytest.approx(4 / 6)
    assert values["AA"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    # a: 2 hits, 3 labelled, 3 predicted; b: 2 hits, 3 labelled, 2 predicted
    assert values["mIoU"] == pytest.approx((2 / 4 + 2 / 3) / 2)


def test_absent_classes_by_hand() -> None:
    """AA leaves out classes without labels; mIoU counts those that are predicted, as zero."""
    counts = torch.tensor([[3, 1, 0, 0], [0, 2, 0, 2], [0, 0, 0, 0], [0, 0, 0, 0]])
    values = metrics_of(counts)
    assert values["OA"] == pytest.approx(5 / 8)
    assert values["AA"] == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert values["mIoU"] == pytest.approx((3 / 4 + 2 / 5 + 0) / 3)
    labels, predicted = np.repeat([0, 1], 4), np.array([0, 0, 0, 1, 1, 1, 3, 3])
    f1 = sklearn.f1_score(labels, predicted, average="weighted", zero_division=0)
    assert values["F1"] == pytest.approx(f1)
    assert values["kappa"] == pytest.approx(sklearn.cohen_kappa_score(labels, predicted))


def test_everything_in_one_class() -> None:
    """κ is 1 where agreement is all there can be."""
    counts = torch.zeros(3, 3, dtype=torch.int64)
    counts[1, 1] = 5
    values = metrics_of(counts)
    assert values == {"OA": 1.0, "AA": 1.0, "mIoU": 1.0, "F1": 1.0, "kappa": 1.0}


@pytest.mark.parametrize("ignored", [0, 255, -1])
def test_the_ignored_label_need_not_be_a_class(ignored: int) -> None:
    """255 for "unlabelled" is common; what is predicted there has no influence."""
    task = dense_task(ignored)
    logits, labels = predictions(task)
    if ignored == 0:
        logits[:, 0] -= 100  # else "unlabelled" is predicted, too
    labels = labels.clamp(min=1)
    clean = streamed(dense_task(None), logits, labels, 200)
    wide_labels = torch.cat([labels, torch.full_like(labels, ignored)], dim=2)
    wide_logits = torch.cat([logits, torch.randn_like(logits)], dim=3)
    assert streamed(task, wide_logits, wide_labels, 13) == clean


def test_without_any_label_metrics_are_not_a_number() -> None:
    """Never a number that somebody could take for a result."""
    values = metrics_of(torch.zeros(C, C, dtype=torch.int64), ignored=0)
    assert all(math.isnan(value) for value in values.values())
