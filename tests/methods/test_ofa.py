"""One for all: the loss against plain numpy, the heads of every kind of feature."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import training_worlds as small
from torch import Tensor, nn

from mstgraph.methods.loss import HINTS, Answer, Edge, EdgeShapes, Shape
from mstgraph.methods.ofa import OFA, Heads, enhanced_cross_entropy
from mstgraph.support.errors import UserError

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

CLASSES, BATCH = 5, 6
TASK = small.class_task(CLASSES)
LABELS = torch.tensor([0, 3, 1, 4, 3, 2])
MAPS: list[Shape] = [(3, 9), (3, 8, 6), (2, 5, 4, 4)]


def pair(batch: int = BATCH, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    """Two random logits."""
    generator = torch.Generator().manual_seed(5)
    shape = (batch, classes)
    return torch.randn(shape, generator=generator) * 2, torch.randn(shape, generator=generator)


def by_hand(teacher: Tensor, student: Tensor, labels: Tensor, gamma: float) -> np.ndarray:
    """The loss, one sample and class at a time."""
    p = np.exp(small.log_softmax(teacher.detach().numpy()))
    log_q = small.log_softmax(student.detach().numpy())
    losses = np.zeros(len(p))
    for i, c in np.ndindex(*p.shape):
        truth = float(labels[i] == c)
        losses[i] -= ((p[i, c] + truth) ** gamma - truth) * log_q[i, c]
    return losses


def built(*shapes: Shape, **options: Any) -> tuple[OFA, nn.Module]:
    """A loss and its heads."""
    loss = OFA(**options)
    torch.manual_seed(1)
    return loss, loss.adapter(EdgeShapes({}, {HINTS: shapes}, TASK, 100))


def edge(adapter: nn.Module, *shapes: Shape, batch: int = BATCH) -> Edge:
    """A random batch whose tensors all want gradients."""
    generator = torch.Generator().manual_seed(2)
    hints = tuple(torch.randn(batch, *s, generator=generator).requires_grad_() for s in shapes)
    teacher, student = (logits.requires_grad_() for logits in pair(batch))
    return Edge(
        Answer(teacher, {HINTS: ()}),
        Answer(student, {HINTS: hints}),
        LABELS[:batch],
        torch.arange(batch),
        TASK,
        adapter,
    )


def rows(batch: Edge, chosen: list[int]) -> Edge:
    """Some samples of a batch, in some order."""
    hints = tuple(hint[chosen] for hint in batch.student.hints)
    return Edge(
        Answer(batch.teacher.logits[chosen]),
        Answer(batch.student.logits[chosen], {HINTS: hints}),
        batch.labels[chosen],
        batch.positions[chosen],
        TASK,
        batch.adapter,
    )


@pytest.mark.parametrize("gamma", [1.0, 1.1, 2.0])
@pytest.mark.parametrize(("batch", "classes"), [(6, 5), (1, 5), (2, 5)])
def test_equals_the_sum_over_classes(batch: int, classes: int, gamma: float) -> None:
    """−Σ [(p + y)^γ − y] log q for each sample."""
    teacher, student = pair(batch, classes)
    value = enhanced_cross_entropy(teacher, student, LABELS[:batch], gamma)
    np.testing.assert_allclose(value, by_hand(teacher, student, LABELS[:batch], gamma))
    assert value.shape == (batch,)


def test_gamma_one_is_divergence_plus_the_teachers_entropy() -> None:
    """The target is then the teacher's output, whatever the label."""
    teacher, student = pair()
    log_p = torch.log_softmax(teacher, 1)
    entropy = -(log_p.exp() * log_p).sum(1).numpy()
    value = enhanced_cross_entropy(teacher, student, LABELS, 1.0).numpy()
    np.testing.assert_allclose(value, small.kl(teacher.numpy(), student.numpy(), 1.0) + entropy)
    torch.testing.assert_close(
        enhanced_cross_entropy(teacher, student, LABELS.flip(0), 1.0), torch.tensor(value)
    )


def test_uniform_outputs_by_hand() -> None:
    """Four classes, γ = 2: 3·(1/4)² + (5/4)² − 1, times log 4."""
    value = enhanced_cross_entropy(torch.zeros(1, 4), torch.zeros(1, 4), torch.tensor([2]), 2.0)
    assert value.item() == pytest.approx((3 / 16 + 9 / 16) * np.log(4))


def test_one_class_is_zero() -> None:
    """The student is sure of the only class."""
    value = enhanced_cross_entropy(*pair(3, 1), torch.zeros(3, dtype=torch.int64), 1.1)
    assert value.abs().max() == 0


def test_gamma_enhances_the_true_class_most_where_the_teacher_is_sure() -> None:
    """The student's gradient at the true class grows with γ, and more for a sure teacher."""
    gains = []
    for certainty in (1.0, 4.0):
        teacher, slopes = torch.tensor([[certainty, 0.0, 0.0]]), []
        for gamma in (1.0, 1.5):
            student = torch.zeros(1, 3, requires_grad=True)
            label = torch.tensor([0])
            enhanced_cross_entropy(teacher, student, label, gamma).sum().backward()
            slopes.append(-student.grad[0, 0].item())
        gains.append(slopes[1] - slopes[0])
    assert 0 < gains[0] < gains[1]


def test_does_not_change_when_logits_are_shifted() -> None:
    """A softmax does not see a constant."""
    teacher, student = pair()
    shifted = enhanced_cross_entropy(teacher + 50, student - 20, LABELS, 1.1)
    torch.testing.assert_close(shifted, enhanced_cross_entropy(teacher, student, LABELS, 1.1))


def test_huge_logits_stay_finite() -> None:
    """No 0 × ∞ where a probability underflows."""
    teacher = torch.tensor([[1e4, 0.0, -1e4]])
    student = (-teacher).requires_grad_()
    value = enhanced_cross_entropy(teacher, student, torch.tensor([1]), 1.1).sum()
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("final", [True, False])
def test_edge_is_the_mean_over_the_points(final: bool) -> None:
    """Every head, and the student's own logits unless left out; one loss a sample."""
    shapes: list[Shape] = [(7,), *MAPS]
    loss, heads = built(*shapes, gamma=1.3, final=final)
    batch = edge(heads, *shapes)
    value = loss.edge(batch)
    points = [head(hint) for head, hint in zip(heads.heads, batch.student.hints, strict=True)]
    points += [batch.student.logits] * final
    expected = [by_hand(batch.teacher.logits, p, LABELS, 1.3) for p in points]
    np.testing.assert_allclose(value.detach(), np.mean(expected, axis=0))
    assert value.shape == (BATCH,)


@pytest.mark.parametrize("final", [True, False])
def test_what_gets_a_gradient(final: bool) -> None:
    """The student's layers and all heads; its logits if they are a point; never the teacher."""
    shapes: list[Shape] = [(7,), (3, 8, 6)]
    loss, heads = built(*shapes, final=final)
    batch = edge(heads, *shapes)
    loss.edge(batch).sum().backward()
    assert batch.teacher.logits.grad is None
    for hint in batch.student.hints:
        assert hint.grad.flatten(1).abs().sum(1).min() > 0
    assert (batch.student.logits.grad is not None) == final
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in heads.parameters())


def test_order_of_the_batch_does_not_matter() -> None:
    """Each sample keeps its loss, although a map's head normalises over the batch."""
    loss, heads = built((3, 8, 6))
    batch = edge(heads, (3, 8, 6))
    order = [4, 2, 0, 5, 1, 3]
    torch.testing.assert_close(loss.edge(rows(batch, order)), loss.edge(batch)[order])


@pytest.mark.parametrize("shape", [(7,), (7, 1), (7, 1, 1), (7, 1, 1, 1)])
def test_vector_head(shape: Shape) -> None:
    """Linear to 2C, ReLU, Linear to C; extents of 1 are no extents."""
    head = Heads([shape], CLASSES)
    count = 7 * 2 * CLASSES + 2 * CLASSES + 2 * CLASSES * CLASSES + CLASSES
    assert sum(p.numel() for p in head.parameters()) == count
    feature = torch.randn(3, *shape)
    first, second = (layer for layer in head.modules() if isinstance(layer, nn.Linear))
    hidden = np.maximum(feature.flatten(1).numpy() @ first.weight.detach().numpy().T, 0)
    expected = hidden @ second.weight.detach().numpy().T  # biases start at 0
    np.testing.assert_allclose(head([feature])[0].detach(), expected, atol=1e-12)


@pytest.mark.parametrize("shape", MAPS)
def test_map_head(shape: Shape) -> None:
    """Two separable units c → 2c → 2C, each halving the extents, then a Linear."""
    head = Heads([shape], CLASSES)
    channels, kernel, outputs = shape[0], 3 ** (len(shape) - 1), 2 * CLASSES
    count = outputs * CLASSES + CLASSES
    for inside, outside in ((channels, 2 * channels), (2 * channels, outputs)):
        count += 2 * inside * kernel + inside * inside + inside * outside  # convolutions
        count += 2 * inside + 2 * outside  # normalisations
    assert sum(p.numel() for p in head.parameters()) == count
    feature = torch.randn(3, *shape)
    assert head([feature])[0].shape == (3, CLASSES)
    extents = [(e + 3) // 4 for e in shape[1:]]
    assert list(head.heads[0].units(feature).shape) == [3, outputs, *extents]


def test_heads_start_as_described() -> None:
    """Convolutions with Kaiming's deviation, Linears with 0.02, biases at zero."""
    torch.manual_seed(0)
    head = Heads([(64, 8, 8), (2000,)], 100)
    linear = [m for m in head.modules() if isinstance(m, nn.Linear)]
    assert all(m.weight.std().item() == pytest.approx(0.02, rel=0.05) for m in linear)
    assert all(m.bias.abs().max() == 0 for m in linear)
    pointwise = next(
        m for m in head.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)
    )
    deviation = (2 / pointwise.out_channels) ** 0.5
    assert pointwise.weight.std().item() == pytest.approx(deviation, rel=0.05)


@pytest.mark.parametrize("shape", [(3, 2, 2), (3, 8, 6)])
def test_a_batch_of_one_trains(shape: Shape) -> None:
    """A last batch may hold one sample, which has no variance where it shrinks to a pixel.

    What has none is measured by what was seen before; the next batch is normal again.
    """
    loss, heads = built(shape)
    heads.train()
    before = [buffer.clone() for buffer in heads.buffers()]
    value = loss.edge(edge(heads, shape, batch=1))
    value.sum().backward()
    assert value.isfinite().all()
    if shape == (3, 2, 2):
        assert all(torch.equal(b, a) for b, a in zip(before, heads.buffers(), strict=True))
    loss.edge(edge(heads, shape))
    assert not all(torch.equal(b, a) for b, a in zip(before, heads.buffers(), strict=True))


def test_validation_leaves_the_heads_as_they_are() -> None:
    """In eval mode the running statistics are used, not changed."""
    loss, heads = built((3, 8, 6))
    heads.eval()
    before = {name: value.clone() for name, value in heads.state_dict().items()}
    batch = edge(heads, (3, 8, 6))
    torch.testing.assert_close(loss.edge(rows(batch, [1, 4])), loss.edge(batch)[[1, 4]])
    after = heads.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


@pytest.mark.parametrize("shape", [(), (2, 3, 4, 5, 6)])
def test_a_feature_that_is_no_map_is_refused(shape: Shape) -> None:
    """One sentence, with the shape."""
    with pytest.raises(UserError, match="OFA cannot project a feature of shape") as caught:
        built(shape)
    assert str(shape) in str(caught.value)


def test_no_layer_is_refused() -> None:
    """Without hints there is nothing to project."""
    with pytest.raises(UserError, match="OFA projects the student's hints, but there is none"):
        built()


@pytest.mark.parametrize("gamma", [0.9, 0.0, -1.0, float("nan")])
def test_a_gamma_that_weakens_the_truth_is_refused(gamma: float) -> None:
    """The paper's γ enhances."""
    assert OFA(gamma=gamma).problem() == ("gamma", f"is {gamma}, expected at least 1")


def test_sensible_options_pass_and_dense_labels_do_not_fit() -> None:
    """The defaults make sense; the features read are the hints."""
    assert OFA().problem() is None
    assert OFA(gamma=1.0).problem() is None
    assert not OFA.dense
    assert (OFA.reads, OFA.reads_of_student) == ((), (HINTS,))


@pytest.mark.parametrize("ignored", [-1, 255])
def test_an_unlabelled_sample_has_no_true_class(ignored: int) -> None:
    """Its label need not be an index; it is averaged away later, so it only must not fail."""
    teacher, student = pair(2, 5)
    labels = torch.tensor([3, ignored])
    value = enhanced_cross_entropy(teacher, student, labels, 1.1)
    assert float(value[0]) == float(enhanced_cross_entropy(teacher, student, labels[:1], 1.1)[0])
    p, log_q = teacher[1].softmax(0), student[1].log_softmax(0)
    assert float(value[1]) == pytest.approx(float(-(p**1.1 * log_q).sum()))
