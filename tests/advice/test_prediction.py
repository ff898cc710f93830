"""What the prediction must say whatever its coefficients are."""

from __future__ import annotations

import numpy as np
import pytest

from mstgraph.advice.advise import measure
from mstgraph.advice.answers import Answers
from mstgraph.advice.findings import Edge
from mstgraph.advice.prediction import GAIN, HARM, predicted_gain

SAMPLES, CLASSES = 1000, 10


def edge(teacher_accuracy: float | None, unlabelled: float) -> Edge:
    """Return the edge of a teacher whose errors know nothing of the student's; None: the student.

    All answers are synthetic; the student is right on 70 % of the samples.
    """
    random = np.random.default_rng(0)
    labels = random.integers(CLASSES, size=SAMPLES)

    def logits(accuracy: float) -> np.ndarray:
        wrong = (labels + random.integers(1, CLASSES, size=SAMPLES)) % CLASSES
        said = np.where(random.random(SAMPLES) < accuracy, labels, wrong)
        return np.eye(CLASSES)[said] + random.normal(size=(SAMPLES, CLASSES)) * 0.01

    student = logits(0.7)
    found = Answers(labels, {"student": student}, {"student": student}, 0.0)
    teacher = student if teacher_accuracy is None else logits(teacher_accuracy)
    return measure("student", "teacher", teacher, found, unlabelled)


def test_the_formula() -> None:
    """By hand: half unlabelled, helped on a fifth, harmed on a tenth."""
    assert predicted_gain(0.2, 0.1, 0.5) == pytest.approx(0.5 * GAIN * (0.2 - HARM * 0.1))
    assert GAIN > 0
    assert HARM > 0


def test_a_teacher_that_equals_the_student_gains_nothing() -> None:
    """It says nothing that the student does not know, and is dropped."""
    same = edge(None, unlabelled=0.9)
    assert same.gain == 0
    assert same.verdict == "drop"


def test_a_random_teacher_is_dropped() -> None:
    """Also if most samples have no label."""
    assert edge(1 / CLASSES, unlabelled=0.99).verdict == "drop"


def test_a_better_teacher_is_kept_and_ranks_first() -> None:
    """Where most samples have no label."""
    good, fair = edge(0.95, unlabelled=0.9), edge(0.7, unlabelled=0.9)
    assert good.verdict == "keep"
    assert good.gain > fair.gain > edge(0.4, unlabelled=0.9).gain


def test_with_every_label_nothing_is_expected() -> None:
    """However good the teacher is."""
    complete = edge(0.95, unlabelled=0.0)
    assert complete.gain == 0
    assert complete.verdict == "drop"
