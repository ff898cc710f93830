"""FD-CMKD, against bands summed wave by wave and losses one sample at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import training_worlds as small
from torch import Tensor, nn

from mstgraph.methods.fdcmkd import (
    EPSILON,
    FDCMKD,
    Common,
    band_losses,
    bands,
    standardised,
)
from mstgraph.methods.fitnets import Regressor
from mstgraph.methods.loss import REPRESENTATION, Answer, Edge, EdgeShapes
from mstgraph.support.errors import UserError
from mstgraph.tasks.task import Task

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

CLASSES = 4


def pair(*shape: int) -> tuple[Tensor, Tensor]:
    """Two random features."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def numpy_standardised(feature: np.ndarray) -> np.ndarray:
    """Mean 0, variance 1, sample by sample."""
    return np.stack([(x - x.mean()) / (x.std() + EPSILON) for x in feature])


def low_of_line(values: np.ndarray, cutoff: float) -> np.ndarray:
    """The slow waves of one line, each of them written out as a cosine and a sine."""
    count, places = len(values), np.arange(len(values))
    found = np.zeros(count)
    for wave in range(count // 2 + 1):
        if wave / count > cutoff / 2:
            continue
        cosine, sine = (f(2 * np.pi * wave * places / count) for f in (np.cos, np.sin))
        twice = 1 if wave in (0, count / 2) else 2
        found += twice * ((values @ cosine) * cosine + (values @ sine) * sine) / count
    return found


def numpy_low(feature: np.ndarray, cutoff: float) -> np.ndarray:
    """The low band: line by line on each axis."""
    for axis in range(min(2, feature.ndim - 1), feature.ndim):
        feature = np.apply_along_axis(low_of_line, axis, feature, cutoff)
    return feature


def numpy_losses(teacher: np.ndarray, student: np.ndarray, cutoff: float) -> tuple[Any, Any]:
    """Both losses of each sample."""
    low = [numpy_low(x, cutoff) for x in (teacher, student)]
    high = [x - part for x, part in zip((teacher, student), low, strict=True)]
    logs = [np.where(x >= 0, np.log1p(np.abs(x)), -np.log1p(np.abs(x))) for x in high]
    rows = len(teacher)
    return tuple(
        ((a - b) ** 2).reshape(rows, -1).mean(1) for a, b in ((low[0], low[1]), (logs[0], logs[1]))
    )


@pytest.mark.parametrize("cutoff", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("shape", [(3, 8), (3, 7), (2, 3, 5), (2, 3, 4, 5), (2, 2, 3, 4, 2)])
def test_bands_and_losses_equal_sums_over_waves(shape: tuple[int, ...], cutoff: float) -> None:
    """Of vectors, sequences, maps and clips, with even and odd extents."""
    teacher, student = pair(*shape)
    low, high = bands(teacher, cutoff)
    np.testing.assert_allclose(low.numpy(), numpy_low(teacher.numpy(), cutoff), atol=1e-12)
    torch.testing.assert_close(low + high, teacher)
    expected = numpy_losses(teacher.numpy(), student.numpy(), cutoff)
    for found, value in zip(band_losses(teacher, student, cutoff), expected, strict=True):
        np.testing.assert_allclose(found.numpy(), value, atol=1e-12)


def test_limits_of_the_cutoff_and_bands_of_waves() -> None:
    """All is low at 1, the mean alone at 0; a wave is in one band, which are orthogonal."""
    feature, _ = pair(3, 8)
    assert bands(feature, 1.0)[1].abs().max() < 1e-12
    torch.testing.assert_close(bands(feature, 0.0)[0], feature.mean(1, keepdim=True).expand(3, 8))
    slow = torch.cos(2 * torch.pi * torch.arange(8.0) / 8)[None]
    fast = torch.cos(2 * torch.pi * 3 * torch.arange(8.0) / 8)[None]
    low, high = bands(2 * slow + fast, 0.5)
    torch.testing.assert_close(low, 2 * slow)
    torch.testing.assert_close(high, fast)
    low, high = bands(feature, 0.5)
    assert (low * high).sum(1).abs().max() < 1e-12


def test_standardised_features_see_neither_shift_nor_scale() -> None:
    """Each sample by itself; a feature that does not vary is 0, with a finite gradient."""
    feature, _ = pair(3, 2, 4, 5)
    found = standardised(feature)
    np.testing.assert_allclose(found.numpy(), numpy_standardised(feature.numpy()), atol=1e-12)
    torch.testing.assert_close(standardised(5 * feature - 7), found, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(standardised(feature[1:2]), found[1:2])
    constant = torch.ones(2, 6, requires_grad=True)
    standardised(constant).square().sum().backward()
    assert (standardised(constant) == 0).all()
    assert constant.grad.isfinite().all()


def test_the_logarithm_is_loose_where_the_square_is_strict() -> None:
    """Twice the difference is less than four times the loss; signs count."""
    fast = torch.cos(2 * torch.pi * 3 * torch.arange(8.0) / 8)[None]
    losses = [float(band_losses(k * fast, 0 * fast, 0.5)[1]) for k in (1.0, 2.0, 4.0)]
    assert losses[1] < 4 * losses[0]
    assert losses[2] < 4 * losses[1]
    assert float(band_losses(fast, -fast, 0.5)[1]) == pytest.approx(4 * losses[0])


def made(
    student: tuple[int, ...], teacher: tuple[int, ...], task: Task, loss: FDCMKD
) -> tuple[Common, Any]:
    """An adapter, and a function from features and labels to the loss."""
    torch.manual_seed(2)
    shapes = EdgeShapes({REPRESENTATION: (teacher,)}, {REPRESENTATION: (student,)}, task, 10)
    adapter = loss.adapter(shapes)

    def value(theirs: Tensor, ours: Tensor, labels: Tensor) -> Tensor:
        logits = torch.zeros(len(ours), CLASSES)
        answers = [Answer(logits, {REPRESENTATION: (x,)}) for x in (theirs, ours)]
        return loss.edge(Edge(*answers, labels, torch.arange(len(ours)), task, adapter))

    assert isinstance(adapter, Common)
    return adapter, value


@pytest.mark.parametrize("ignored", [None, -1])
def test_the_loss_is_the_weighted_sum_of_bands_and_of_the_shared_classifier(
    ignored: int | None,
) -> None:
    """Of each sample; one without a label has no part in the classifier's loss alone."""
    task = small.class_task(CLASSES, ignored=ignored)
    adapter, value = made((6,), (6,), task, FDCMKD(0.4, 2.0, 3.0, 0.5))
    teacher, student = pair(5, 6)
    labels = torch.tensor([0, 1, 2, 3, 0]) if ignored is None else torch.tensor([0, -1, 2, 3, -1])
    found = value(teacher, student, labels).detach().numpy()
    theirs, ours = numpy_standardised(teacher.numpy()), numpy_standardised(student.numpy())
    low, high = numpy_losses(theirs, ours, 0.4)
    weight, bias = (p.detach().numpy() for p in adapter.classifier.linear.parameters())
    logits = [x @ weight.T + bias for x in (theirs, ours)]
    shared = sum(small.cross_entropy(z, labels.numpy().clip(0)) for z in logits)
    shared = np.where(labels.numpy() >= 0, shared, 0.0)
    np.testing.assert_allclose(found, 2 * low + 3 * high + 0.5 * shared, atol=1e-12)
    assert found.shape == (5,)


def test_features_of_other_sizes_are_projected_and_equal_ones_are_not() -> None:
    """What learns is the student, the projection and the classifier; never the teacher."""
    task = small.class_task(CLASSES)
    assert isinstance(made((6,), (6,), task, FDCMKD())[0].projection, nn.Identity)
    for source, target in (((6,), (9,)), ((3, 4, 4), (5, 2, 2)), ((3, 4, 4), (7,))):
        adapter, value = made(source, target, task, FDCMKD())
        assert isinstance(adapter.projection, Regressor)
        teacher = torch.randn(5, *target, requires_grad=True)
        student = torch.randn(5, *source, requires_grad=True)
        value(teacher, student, torch.arange(5) % CLASSES).sum().backward()
        assert teacher.grad is None
        assert student.grad.any()
        assert all(p.grad.any() for p in adapter.parameters())


def test_pixels_are_classified_where_labels_are_maps() -> None:
    """The classifier's map is brought to the extent of the labels; a vector is refused."""
    task = small.class_task(CLASSES, (6, 4), 0)
    adapter, value = made((3, 3, 2), (3, 3, 2), task, FDCMKD())
    teacher, student = pair(2, 3, 3, 2)
    labels = torch.randint(CLASSES, (2, 6, 4))
    assert adapter.classifier(student).shape == (2, CLASSES, 6, 4)
    assert value(teacher, student, labels).shape == (2,)
    with pytest.raises(UserError, match="FDCMKD classifies each pixel by a feature of shape"):
        made((6,), (6,), task, FDCMKD())


def test_gradient_against_central_differences() -> None:
    """Through standardisation, bands and logarithms."""
    task = small.class_task(CLASSES)
    _, value = made((6,), (6,), task, FDCMKD(0.5, 1.0, 2.0, 0.0))
    teacher, student = pair(3, 6)
    student.requires_grad_()
    value(teacher, student, torch.arange(3)).sum().backward()
    p, q = numpy_standardised(teacher.numpy()), student.detach().numpy().copy()

    def loss() -> float:
        low, high = numpy_losses(p, numpy_standardised(q), 0.5)
        return float((low + 2 * high).sum())

    np.testing.assert_allclose(student.grad.numpy(), small.numeric_gradient(loss, q), atol=1e-8)


def test_senseless_options_are_refused() -> None:
    """The option and what was expected are named."""
    assert FDCMKD().problem() is None
    assert FDCMKD(cutoff=1.5).problem() == ("cutoff", "is 1.5, expected 0 to 1")
    assert FDCMKD(high_weight=-1.0).problem() == ("high_weight", "is -1.0, expected 0 or more")
    option, words = FDCMKD(0.5, 0.0, 0.0, 0.0).problem()  # type: ignore[misc]
    assert option == "low_weight"
    assert words == "is 0 like all weights of FDCMKD, expected one of them above 0"
