"""What a gain comes to in words."""

from __future__ import annotations

import numpy as np
import pytest
import training_worlds as small

from mstgraph.certainty.verdict import TeacherFacts, gain_over, sentence, told_share, verdict_of
from mstgraph.tasks.confusion import OA
from mstgraph.tasks.task import Metric

ERROR = Metric("error", "error", higher_is_better=False)
AGAINST = "against the same network trained as long alone"


@pytest.mark.parametrize(
    ("interval", "verdict"),
    [((0.01, 0.02), "gains"), ((-0.01, 0.02), "within noise"), ((-0.02, -0.01), "loses")],
)
def test_the_verdict_is_the_side_of_zero(interval, verdict) -> None:
    """Of an error, lower is the better side."""
    assert verdict_of(OA, interval) == verdict
    opposite = {"gains": "loses", "loses": "gains"}
    assert verdict_of(ERROR, interval) == opposite.get(verdict, verdict)


def test_zero_itself_is_noise() -> None:
    """Nothing was gained by networks that answer alike."""
    assert verdict_of(OA, (0.0, 0.0)) == "within noise"


def test_a_gain_needs_no_reason() -> None:
    """Also where a teacher is weak."""
    said = sentence(OA, (0.841, 0.81), (0.012, 0.049), [TeacherFacts("fused", 0.78)], 0.5)
    assert said == (
        "distilled gains +.031 OA [+.012, +.049] over the same network trained as long alone"
    )


def test_no_gain_has_the_reason_that_the_numbers_give() -> None:
    """The best teacher is weaker; or teachers are right where the student is; else none."""
    values, interval = (0.807, 0.81), (-0.016, 0.011)
    noise = f"within noise: −.003 OA [−.016, +.011] {AGAINST}"
    weak = [TeacherFacts("depth", 0.7), TeacherFacts("fused", 0.78)]
    assert sentence(OA, values, interval, weak, 0.02) == (
        f"{noise}; its best teacher (fused, 0.780) is weaker than the student alone (0.810)"
    )
    strong = [*weak, TeacherFacts("sound", 0.9)]
    assert sentence(OA, values, interval, strong, 0.04) == (
        f"{noise}; its teachers are right where it already is, and on 4% of its errors"
    )
    assert sentence(OA, values, interval, strong, 0.4) == noise
    assert sentence(OA, values, interval) == noise
    assert sentence(OA, (0.7, 0.81), (-0.2, -0.05), strong, 0.4) == (
        f"distilled loses −.110 OA [−.200, −.050] {AGAINST}"
    )


def test_a_gain_is_paired_by_sample() -> None:
    """The same answers: [0, 0] and p = 1; a map is not right or wrong and has no such p."""
    task = small.class_task(3)
    eye = np.eye(3, dtype=np.int32)[np.arange(60) % 3]
    right, wrong = np.hstack([eye, eye, eye]), np.hstack([eye * 0, eye, np.roll(eye, 1, 1)])
    same = gain_over(task, right, right)
    assert (same.samples, same.intervals["OA"], same.p) == (60, (0.0, 0.0), 1.0)
    better = gain_over(task, right, wrong)
    assert better.intervals["OA"] == (1.0, 1.0)
    assert better.p == pytest.approx(2 / 2**60)
    assert gain_over(small.class_task(3, (1, 1)), right, wrong).p is None


def test_what_teachers_can_tell_of_pixels() -> None:
    """The share of the student's wrong pixels on which one of them is right, without void ones."""
    alone = np.array([[1, 1, 1, 1], [2, 2, 0, 1]], np.uint8)
    one = np.array([[2, 1, 1, 1], [1, 1, 0, 2]], np.uint8)
    other = np.array([[2, 2, 1, 1], [2, 2, 0, 1]], np.uint8)
    assert told_share(alone, [one]) == 2 / 5
    assert told_share(alone, [one, other]) == 3 / 5
    assert told_share(alone, []) is None
    assert told_share(np.full((2, 2), 2, np.uint8), [one[:, :2]]) is None
