"""FitNets: regressors between layers of any shapes, the hint loss, the divergence after it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import training_worlds as small
from torch import nn

from mstgraph.methods.fitnets import GRID, LARGEST_LINEAR, FitNets, Regressor, Resize, hint_loss
from mstgraph.methods.loss import HINTS, Answer, Edge, EdgeShapes
from mstgraph.support.errors import UserError

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

TASK = small.class_task()
SHAPES = [(6,), (4, 1, 1), (3, 9), (5, 8, 6), (2, 7, 5), (3, 4, 6, 5), (2, 2, 3, 3)]


def shapes(student: list[tuple[int, ...]], teacher: list[tuple[int, ...]]) -> EdgeShapes:
    """What an adapter is built from."""
    return EdgeShapes({HINTS: tuple(teacher)}, {HINTS: tuple(student)}, TASK, 10)


def features(found: list[tuple[int, ...]], seed: int, batch: int = 4) -> tuple[torch.Tensor, ...]:
    """Random features of some shapes."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(batch, *shape, generator=generator) for shape in found)


def edge(
    student: tuple[torch.Tensor, ...],
    teacher: tuple[torch.Tensor, ...],
    adapter: nn.Module | None,
) -> Edge:
    """A batch with random logits."""
    (logits,) = features([(small.CLASSES,)], 8, len(student[0]))
    labels = torch.zeros(len(student[0]), dtype=torch.int64)
    answers = Answer(logits, {HINTS: teacher}), Answer(logits.flip(0) * 2, {HINTS: student})
    return Edge(*answers, labels, torch.arange(len(labels)), TASK, adapter)


@pytest.mark.parametrize("source", SHAPES, ids=str)
@pytest.mark.parametrize("target", SHAPES, ids=str)
def test_a_regressor_fits_itself_to_any_two_shapes(
    source: tuple[int, ...], target: tuple[int, ...]
) -> None:
    """It returns the target's shape, is affine, and gives a gradient to its input."""
    torch.manual_seed(0)
    regressor = Regressor(source, target)
    (one,), (other,) = features([source], 1, 3), features([source], 2, 3)
    one.requires_grad_()
    answer = regressor(one)
    assert answer.shape == (3, *target)
    middle = regressor((one + other) / 2)
    torch.testing.assert_close(middle, (answer + regressor(other)) / 2)
    answer.square().sum().backward()
    assert one.grad is not None
    assert (one.grad.abs().flatten(1).sum(1) > 0).all()
    assert all(parameter.grad is not None for parameter in regressor.parameters())


def test_vectors_are_joined_by_a_linear_layer() -> None:
    """As many weights as pairs of features, plus one offset each."""
    regressor = Regressor((7,), (3,))
    assert sum(p.numel() for p in regressor.parameters()) == 7 * 3 + 3
    (feature,) = features([(7,)], 3)
    weight, bias = (p.detach().numpy() for p in regressor.parameters())
    np.testing.assert_allclose(
        regressor(feature).detach().numpy(), feature.numpy() @ weight.T + bias
    )


def test_maps_of_one_extent_are_joined_by_a_convolution() -> None:
    """Each position is computed from its neighbours, with one kernel everywhere."""
    regressor = Regressor((2, 4, 5), (3, 4, 5))
    (feature,) = features([(2, 4, 5)], 4, 1)
    weight, bias = (p.detach().numpy() for p in regressor.parameters())
    padded = np.pad(feature[0].numpy(), ((0, 0), (1, 1), (1, 1)))
    expected = np.empty((3, 4, 5))
    for y, x in np.ndindex(4, 5):
        window = padded[:, y : y + 3, x : x + 3]
        expected[:, y, x] = np.einsum("oiyx,iyx->o", weight, window) + bias
    np.testing.assert_allclose(regressor(feature)[0].detach().numpy(), expected)


@pytest.mark.parametrize(
    ("source", "target", "stride"), [((2, 8, 8), (3, 4, 4), 2), ((2, 6, 6), (3, 4, 12), 1)]
)
def test_a_convolution_strides_where_the_target_is_half_as_large(
    source: tuple[int, ...], target: tuple[int, ...], stride: int
) -> None:
    """Anything between is left to the resizing after it."""
    (convolution,) = [m for m in Regressor(source, target).modules() if isinstance(m, nn.Conv2d)]
    assert convolution.stride == (stride, stride)


def test_resizing_averages_where_it_shrinks_and_interpolates_where_it_grows() -> None:
    """By hand: means of halves, and points between neighbours; a constant stays a constant."""
    resize = Resize((4, 2), (2, 4))
    rows = torch.tensor([1.0, 3.0, 5.0, 9.0])
    feature = rows[:, None] + torch.tensor([0.0, 4.0])
    expected = torch.tensor([[2.0], [7.0]]) + torch.tensor([0.0, 1.0, 3.0, 4.0])
    torch.testing.assert_close(resize(feature[None, None])[0, 0], expected)
    assert not resize.state_dict()
    ones = Resize((5, 7, 3), (3, 9, 3))(torch.ones(1, 1, 5, 7, 3))
    torch.testing.assert_close(ones, torch.ones(1, 1, 3, 9, 3))


def test_axes_that_a_map_lacks_are_added_and_those_too_many_are_averaged_over() -> None:
    """A moving picture guides a still one by its mean over the time."""
    regressor = Regressor((2, 5, 4, 4), (3, 4, 4))
    (feature,) = features([(2, 5, 4, 4)], 5)
    still = feature.mean(2, keepdim=True).expand_as(feature)
    torch.testing.assert_close(regressor(feature), regressor(still))
    tall = Regressor((2, 6), (3, 4, 6))
    (sound,) = features([(2, 6)], 6)
    rows = tall(sound)
    torch.testing.assert_close(rows, rows[:, :, :1].expand_as(rows))


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ((25088,), (596,), 25088 * 128 + 128 * 596 + 596),
        ((64, 56, 56), (596,), 64 * GRID * 596 + 596),
        ((320,), (512, 15, 20), 320 * 512 * GRID + 512 * GRID),
        ((120,), (25088,), 120 * 25088 + 25088),
    ],
    ids=str,
)
def test_large_features_do_not_make_large_regressors(
    source: tuple[int, ...], target: tuple[int, ...], expected: int
) -> None:
    """Exact numbers of parameters: a factored layer, a small grid, or what is small as it is."""
    with torch.device("meta"):
        regressor = Regressor(source, target)
    count = sum(parameter.numel() for parameter in regressor.parameters())
    assert count == expected < LARGEST_LINEAR


def test_hint_loss_equals_the_sum_over_pairs() -> None:
    """The mean of squares of each pair, per sample, in a loop."""
    found = [(6,), (2, 3, 4)]
    ours, theirs = features(found, 1), features(found, 2)
    expected = [
        sum(((a[i] - b[i]).numpy() ** 2).mean() for a, b in zip(ours, theirs, strict=True))
        for i in range(4)
    ]
    np.testing.assert_allclose(hint_loss(ours, theirs).numpy(), expected)
    assert hint_loss(ours, ours).abs().max() == 0


def test_hint_trains_student_and_regressors_towards_the_teacher() -> None:
    """A gradient for both, none for the teacher; gradient steps bring the loss down."""
    loss = FitNets()
    source, target = [(6,), (3, 4, 4)], [(2, 8, 8), (5,)]
    torch.manual_seed(0)
    adapter = loss.adapter(shapes(source, target))
    student = tuple(feature.requires_grad_() for feature in features(source, 1))
    seen = edge(student, features(target, 2), adapter)
    first = loss.hint(seen)
    assert first.shape == (4,)
    torch.testing.assert_close(first, hint_loss(adapter(student), seen.teacher.hints))
    first.mean().backward()
    assert all(feature.grad.abs().max() > 0 for feature in student)
    optimizer = torch.optim.SGD(adapter.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        loss.hint(seen).mean().backward()
        optimizer.step()
    assert loss.hint(seen).mean() < 0.9 * first.mean()


def test_adapter_pairs_layers_in_order() -> None:
    """The first of the student predicts the first of the teacher."""
    adapter = FitNets().adapter(shapes([(6,), (3, 9)], [(2, 7, 5), (4,)]))
    predicted = adapter(features([(6,), (3, 9)], 1))
    assert [tuple(p.shape[1:]) for p in predicted] == [(2, 7, 5), (4,)]


def test_edge_is_the_divergence_with_its_temperature_squared() -> None:
    """τ² KL(teacher ‖ student); hints and regressors take no part."""
    seen = edge(features([(6,)], 1), features([(6,)], 2), None)
    kl = small.kl(seen.teacher.logits.numpy(), seen.student.logits.numpy(), 3.0)
    np.testing.assert_allclose(FitNets(3.0).edge(seen).numpy(), 9 * kl)
    np.testing.assert_allclose(FitNets(3.0, temperature_squared=False).edge(seen).numpy(), kl)


@pytest.mark.parametrize("counts", [(1, 2), (2, 1), (0, 0)])
def test_refuses_layers_that_cannot_be_paired(counts: tuple[int, int]) -> None:
    """Both must name as many, and at least one."""
    with pytest.raises(UserError, match=r"have \d and \d, expected as many of one as of the other"):
        FitNets().adapter(shapes([(6,)] * counts[0], [(6,)] * counts[1]))


def test_refuses_a_temperature_that_makes_no_sense() -> None:
    """The option and what was expected."""
    assert FitNets(temperature=0.0).problem() == ("temperature", "is 0.0, expected more than 0")
    assert FitNets().problem() is None
