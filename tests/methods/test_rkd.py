"""Relational distillation, against one pair and one triplet at a time, and where samples meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from typing import Any

import numpy as np
import pytest
import torch
import training_worlds as small
from torch import Tensor

from mstgraph.methods import rkd
from mstgraph.methods.loss import PENULTIMATE, Answer, Edge
from mstgraph.methods.rkd import RKD, angle_loss, distance_loss

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

LOSSES = (distance_loss, angle_loss)


def pair(batch: int = 6) -> tuple[Tensor, Tensor]:
    """Features of a teacher and of a smaller student."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(batch, 7, generator=generator), torch.randn(batch, 4, generator=generator)


def rotation(size: int) -> Tensor:
    """An orthogonal matrix."""
    return torch.linalg.qr(torch.randn(size, size, generator=torch.Generator().manual_seed(1)))[0]


def smooth(difference: float) -> float:
    """Smooth L1 with the bend at one."""
    size = abs(difference)
    return 0.5 * size**2 if size < 1 else size - 0.5


def distances_by_hand(teacher: np.ndarray, student: np.ndarray) -> float:
    """The loss of distances, one ordered pair at a time."""
    pairs = list(permutations(range(len(teacher)), 2))
    sides = []
    for features in (teacher, student):
        lengths = np.array([np.linalg.norm(features[i] - features[j]) for i, j in pairs])
        sides.append(lengths / lengths.mean())
    return float(np.mean([smooth(s - t) for t, s in zip(*sides, strict=True)]))


def angles_by_hand(teacher: np.ndarray, student: np.ndarray) -> float:
    """The loss of angles, one ordered triplet at a time."""

    def cosine(x: np.ndarray, i: int, j: int, k: int) -> float:
        one, other = x[i] - x[j], x[k] - x[j]
        return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))

    triplets = permutations(range(len(teacher)), 3)
    return float(np.mean([smooth(cosine(student, *n) - cosine(teacher, *n)) for n in triplets]))


BY_HAND = {distance_loss: distances_by_hand, angle_loss: angles_by_hand}


def edge(teacher: Tensor, student: Tensor) -> Edge:
    """A batch with these penultimate features."""
    numbers = torch.arange(len(student))
    answers = (Answer(x.flatten(1)[:, :3], {PENULTIMATE: (x,)}) for x in (teacher, student))
    return Edge(*answers, numbers % 3, numbers, small.class_task(3))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("batch", [3, 6, 9])
@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_equals_the_mean_over_tuples(loss: Callable[..., Tensor], batch: int, scale: float) -> None:
    """Pairs and triplets of different samples; far differences count linearly."""
    teacher, student = pair(batch)
    student = student * torch.tensor([scale, 1.0, 1.0, 1.0])
    expected = BY_HAND[loss](teacher.numpy(), student.numpy())
    value = loss(teacher, student)
    assert value.shape == ()
    np.testing.assert_allclose(value.item(), expected, rtol=1e-10)


def test_both_branches_of_smooth_l1_are_met() -> None:
    """Three points on a line: cosines 1, −1 and 1 against a right angle's, by hand."""
    teacher = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    student = torch.tensor([[0.0], [1.0], [-2.0]])
    half = np.sqrt(0.5)
    expected = (0.5 * 1**2 + 2 * 0.5 * (1 - half) ** 2) / 3  # −1 against 0, 1 against √½ twice
    assert angle_loss(teacher, student).item() == pytest.approx(expected, rel=1e-12)
    opposite = torch.tensor([[0.0], [1.0], [2.0]])  # at 0: cosine 1; at 1: −1; at 2: 1
    line = angle_loss(torch.tensor([[0.0], [1.0], [-2.0]]), opposite)
    assert line.item() == pytest.approx((1.5 + 1.5 + 0) / 3, rel=1e-12)
    stretched = torch.tensor([[0.0], [1.0], [1000.0]])
    lengths = np.array([1, 1000, 999]) / (2000 / 3)
    other = np.array([1, 1, np.sqrt(2)]) / ((2 + np.sqrt(2)) / 3)
    by_hand = np.mean([smooth(a - b) for a, b in zip(lengths, other, strict=True)])
    assert distance_loss(teacher, stretched).item() == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_is_zero_for_relations_that_agree(loss: Callable[..., Tensor]) -> None:
    """Turned, mirrored, moved and scaled features have the same relations."""
    teacher, _ = pair()
    student = (-3.0 * teacher @ rotation(7) + torch.arange(7.0)).requires_grad_()
    value = loss(teacher, student)
    value.backward()
    assert abs(value.item()) < 1e-20
    assert student.grad.abs().max() < 1e-12


@pytest.mark.parametrize("loss", LOSSES)
def test_sees_relations_only(loss: Callable[..., Tensor]) -> None:
    """Scale, place and direction of either side, and the order of the batch, change nothing."""
    teacher, student = pair()
    value = loss(teacher, student)
    torch.testing.assert_close(loss(50 * teacher + 3, 0.01 * student @ rotation(4) - 7), value)
    order = torch.randperm(6)
    torch.testing.assert_close(loss(teacher[order], student[order]), value)
    assert (loss(teacher[order], student) - value).abs() > 1e-4


@pytest.mark.parametrize("loss", LOSSES)
def test_features_with_more_axes_are_flattened(loss: Callable[..., Tensor]) -> None:
    """A map is the vector of its entries."""
    teacher, student = pair()
    maps = loss(teacher.view(6, 7, 1), student.view(6, 1, 2, 2))
    torch.testing.assert_close(maps, loss(teacher, student))


@pytest.mark.parametrize("loss", LOSSES)
def test_gradient_against_central_differences(loss: Callable[..., Tensor]) -> None:
    """Also through the mean distance."""
    teacher, student = pair(5)
    student.requires_grad_()
    loss(teacher, student).backward()
    p, q = teacher.numpy(), student.detach().numpy().copy()
    numeric = small.numeric_gradient(lambda: BY_HAND[loss](p, q), q)
    np.testing.assert_allclose(student.grad.numpy(), numeric, atol=1e-8)
    assert np.abs(numeric).max() > 1e-3


@pytest.mark.parametrize("batch", [5, 12])
@pytest.mark.parametrize("vertices", [1, 3, 5])
def test_chunks_change_nothing(batch: int, vertices: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Value and gradient are those of all angles at once, also if the last chunk is smaller."""
    found = []
    for budget in (2**30, vertices * batch * batch * 8):
        monkeypatch.setattr(rkd, "ANGLE_BYTES", budget)
        teacher, student = pair(batch)
        student.requires_grad_()
        value = angle_loss(teacher, student)
        value.backward()
        found.append((value.detach(), student.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-13, atol=1e-15)


def test_memory_is_bounded_by_the_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor of all the angles is made."""
    monkeypatch.setattr(rkd, "ANGLE_BYTES", 4 * 40 * 40 * 8)
    seen = []
    inner = rkd._inner

    def spy(gram: Tensor, at: slice) -> Tensor:
        seen.append(inner(gram, at))
        return seen[-1]

    monkeypatch.setattr(rkd, "_inner", spy)
    angle_loss(*pair(40))
    assert {len(found) for found in seen} == {4}
    assert len(seen) == 2 * 10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("same", ["two", "nearly", "all", "zeros"])
def test_coincident_samples_have_finite_values_and_gradients(
    same: str, loss: Callable[..., Tensor], dtype: torch.dtype
) -> None:
    """Two samples, or all, in one place of one network: no division by zero, no huge step."""
    for side in (0, 1):
        features = [x.to(dtype) for x in pair()]
        changed = features[side]
        if same == "two":
            changed[1] = changed[4]
        elif same == "nearly":
            changed[1] = changed[4] + 3e-8
        else:
            changed[:] = changed[0] * (same == "all")
        student = features[1].requires_grad_()
        value = loss(*features)
        value.backward()
        assert value.isfinite()
        assert value.dtype == dtype
        assert student.grad.isfinite().all()
        assert student.grad.abs().max() < 10


def test_coincident_students_by_hand() -> None:
    """Their distance is 0, and a side of no length has cosine 0 and pulls at nothing."""
    teacher, student = pair(3)
    student[1] = student[0]
    distance, far = student[0].sub(student[2]).norm().item(), teacher.numpy()
    lengths = [np.linalg.norm(far[i] - far[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    scaled = np.array(lengths) / np.mean(lengths)
    expected = np.mean([smooth(s - t) for s, t in zip((0, 1.5, 1.5), scaled, strict=True)])
    assert distance > 0
    assert distance_loss(teacher, student).item() == pytest.approx(expected, rel=1e-9)

    def cosine(i: int, j: int, k: int) -> float:
        one, other = far[i] - far[j], far[k] - far[j]
        return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))

    cosines = [smooth(cosine(1, 0, 2)), smooth(cosine(0, 1, 2)), smooth(1 - cosine(0, 2, 1))]
    assert angle_loss(teacher, student).item() == pytest.approx(np.mean(cosines), rel=1e-9)


def test_close_samples_keep_their_direction() -> None:
    """In single precision, far from the origin, the angle between close samples is still right."""
    teacher = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]).float()
    student = (teacher * 2**-6 + 100).float()
    assert angle_loss(teacher, student).item() < 1e-9
    assert distance_loss(teacher, student).item() < 1e-9


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("loss", LOSSES)
def test_too_small_batches_have_no_relations(loss: Callable[..., Tensor], batch: int) -> None:
    """One sample has no pair; two have one distance, which is its own mean, and no angle."""
    teacher, student = pair(batch)
    student.requires_grad_()
    value = loss(teacher, student)
    value.backward()
    assert abs(value.item()) < 1e-20
    assert student.grad.abs().max() < 1e-12


@pytest.mark.parametrize("weights", [{}, {"distance": 0.0}, {"angle": 0.0}, {"distance": 25.0}])
def test_edge_is_the_weighted_sum(weights: dict[str, float]) -> None:
    """Distance 1 and angle 2 unless said otherwise; one value of the batch."""
    teacher, student = pair()
    value = RKD(**weights).edge(edge(teacher, student))
    expected = weights.get("distance", 1.0) * distances_by_hand(teacher.numpy(), student.numpy())
    expected += weights.get("angle", 2.0) * angles_by_hand(teacher.numpy(), student.numpy())
    assert value.shape == ()
    assert value.item() == pytest.approx(expected, rel=1e-10)


def test_what_gets_a_gradient() -> None:
    """Every sample of the student, never the teacher; nothing else is trained."""
    teacher, student = (features.requires_grad_() for features in pair())
    RKD().edge(edge(teacher, student)).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum(1).min() > 0
    assert not RKD().adapts


@pytest.mark.parametrize(
    ("options", "option", "problem"),
    [
        ({"distance": -1.0}, "distance", "is -1.0, expected 0 or more"),
        ({"angle": float("nan")}, "angle", "is nan, expected 0 or more"),
        (
            {"distance": 0.0, "angle": 0.0},
            "angle",
            "is 0 like RKD.distance, expected at least one of them to be above 0",
        ),
    ],
)
def test_senseless_weights_are_refused(options: dict[str, Any], option: str, problem: str) -> None:
    """Weights that push away, or ask for nothing."""
    assert RKD(**options).problem() == (option, problem)


def test_sensible_options_pass_and_dense_labels_do_not_fit() -> None:
    """The defaults make sense; the features read are the penultimate ones."""
    assert RKD().problem() is None
    assert RKD(angle=0.0).problem() is None
    assert not RKD.dense
    assert RKD.reads == (PENULTIMATE,)


def test_unlabelled_samples_take_no_part() -> None:
    """Relations to them count no more than they do; without any labelled one the loss is 0."""
    generator = torch.Generator().manual_seed(3)
    teacher, student = (torch.randn(5, 4, generator=generator) for _ in range(2))
    student.requires_grad_()
    whole = edge(teacher, student)
    labels = torch.tensor([0, 1, -1, 2, 0])
    partly = replace(whole, labels=labels, task=small.class_task(3, ignored=-1))
    value = RKD().edge(partly)
    kept = labels >= 0
    expected = RKD().edge(edge(teacher[kept], student[kept]))
    torch.testing.assert_close(value, expected)
    value.backward()
    assert not student.grad[~kept].any()
    none = replace(partly, labels=torch.full((5,), -1))
    assert float(RKD().edge(none).detach()) == 0
