"""C²KD against sums in plain numpy and Kendall's τ-b of scipy."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import torch
import training_worlds as small
from scipy.stats import kendalltau
from torch.nn import functional as F

from mstgraph.methods.c2kd import (
    C2KD,
    WIDEST,
    Proxies,
    Proxy,
    mean_rank_correlation,
    non_target_divergence,
    rank_correlation,
)
from mstgraph.methods.loss import PENULTIMATE, Answer, Edge, EdgeShapes
from mstgraph.support.errors import UserError
from mstgraph.tasks.task import Task

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

FLAT = small.class_task()
DENSE = small.class_task(small.CLASSES, small.EXTENT, small.IGNORED)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def labels_of(task: Task) -> torch.Tensor:
    """Labels; where every pixel has one, some are ignored."""
    generator = torch.Generator().manual_seed(4)
    labels = torch.randint(1, task.num_outputs, (small.BATCH, *task.extent), generator=generator)
    if task.dense:
        labels[:, :2, 1] = small.IGNORED
    return labels


def edge(task: Task, teacher: tuple[int, ...], student: tuple[int, ...]) -> Edge:
    """A batch over features of some shapes, everything with gradient, and fresh proxies."""
    torch.manual_seed(2)
    shapes = EdgeShapes({PENULTIMATE: (teacher,)}, {PENULTIMATE: (student,)}, task, 10)
    answers = [
        Answer(
            (2 * random(small.BATCH, small.CLASSES, *task.extent, seed=seed)).requires_grad_(),
            {PENULTIMATE: (random(small.BATCH, *shape, seed=seed + 5).requires_grad_(),)},
        )
        for seed, shape in ((0, teacher), (1, student))
    ]
    positions = torch.arange(small.BATCH)
    return Edge(*answers, labels_of(task), positions, task, C2KD().adapter(shapes))


CASES = [
    (FLAT, (6,), (4,)),
    (FLAT, (6, 3, 4), (4, 5)),
    (FLAT, (6, 2, 3, 2), (4, 1, 1)),
    (DENSE, (6, *small.EXTENT), (4, *small.EXTENT)),
    (DENSE, (6, 2, 3), (4, 3, 2)),
]


# --- the same in numpy -------------------------------------------------------------------------


def numpy_tau(one: np.ndarray, other: np.ndarray) -> float:
    """τ-b of two vectors, pair by pair."""
    pairs = list(itertools.combinations(range(len(one)), 2))
    first = np.array([np.sign(one[i] - one[j]) for i, j in pairs])
    second = np.array([np.sign(other[i] - other[j]) for i, j in pairs])
    untied = np.count_nonzero(first) * np.count_nonzero(second)
    return float((first * second).sum() / np.sqrt(untied)) if untied else 0.0


def numpy_non_target(p_logits: np.ndarray, q_logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """KL among the other classes: those logits picked out of each sample or pixel, one by one."""
    values = np.empty(labels.shape)
    for place in np.ndindex(*labels.shape):
        at = (place[0], slice(None), *place[1:])
        others = np.arange(p_logits.shape[1]) != labels[place]
        values[place] = small.kl(p_logits[at][others][None], q_logits[at][others][None], 1.0)[0]
    return values


def numpy_proxy(proxy: Proxy, feature: np.ndarray, task: Task) -> np.ndarray:
    """Logits of a proxy in training mode, without torch."""
    state = {name: value.numpy() for name, value in proxy.state_dict().items()}
    if not task.dense:
        feature = feature.reshape(*feature.shape[:2], -1).mean(2)
    kept = (1, -1, *[1] * (feature.ndim - 2))

    def layer(values: np.ndarray, index: int) -> np.ndarray:
        weight = state[f"layers.{index}.weight"].reshape(-1, values.shape[1])
        product = np.einsum("oc,bc...->bo...", weight, values)
        return product + state[f"layers.{index}.bias"].reshape(kept)

    hidden = layer(feature, 0)
    axes = (0, *range(2, hidden.ndim))
    hidden = (hidden - hidden.mean(axes, keepdims=True)) / np.sqrt(
        hidden.var(axes, keepdims=True) + 1e-5
    )
    return layer(np.where(hidden > 0, hidden, (0.0 if task.dense else 0.1) * hidden), 3)


def expected(seen: Edge, threshold: float) -> np.ndarray:
    """All terms of each sample."""
    task, labels = seen.task, seen.labels.numpy()
    teacher, student = seen.teacher.logits.detach().numpy(), seen.student.logits.detach().numpy()
    assert isinstance(seen.adapter, Proxies)
    proxies = [
        numpy_proxy(proxy, answer.penultimate.detach().numpy(), task)
        for proxy, answer in (
            (seen.adapter.teacher, seen.teacher),
            (seen.adapter.student, seen.student),
        )
    ]
    chosen = taus(*proxies) > threshold
    if task.dense:
        proxies = [enlarged(logits, task.extent) for logits in proxies]
    of_teacher, of_student = proxies
    whole = small.cross_entropy(teacher, labels)
    for one, other in ((teacher, of_teacher), (student, of_student)):
        whole = whole + small.kl(one, other, 1.0) + small.kl(other, one, 1.0)
    between = numpy_non_target(of_teacher, of_student, labels)
    between = between + numpy_non_target(of_student, of_teacher, labels)
    parts = [small.per_sample(values, labels, task.dense) for values in (whole, between)]
    return parts[0] + chosen * parts[1]


def taus(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """τ-b of each sample, the mean over the pixels of the first one."""
    if first.ndim == 2:
        return np.array([numpy_tau(a, b) for a, b in zip(first, second, strict=True)])
    second = enlarged(second, first.shape[2:])
    return np.array(
        [
            np.mean([numpy_tau(a[:, y, x], b[:, y, x]) for y, x in np.ndindex(*a.shape[1:])])
            for a, b in zip(first, second, strict=True)
        ]
    )


def enlarged(logits: np.ndarray, extent: tuple[int, ...]) -> np.ndarray:
    """Bilinear interpolation between the centres of the pixels, axis by axis."""
    for axis, new in zip((2, 3), extent, strict=True):
        old = logits.shape[axis]
        at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
        below = np.floor(at).astype(int)
        above = np.minimum(below + 1, old - 1)
        share = (at - below).reshape([-1 if a == axis else 1 for a in range(4)])
        logits = (1 - share) * logits.take(below, axis) + share * logits.take(above, axis)
    return logits


# --- rank correlation --------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 8, 41])
@pytest.mark.parametrize("levels", [2, 4, 1000])
def test_rank_correlation_equals_scipys(classes: int, levels: int) -> None:
    """With few levels most classes are tied; where one ranking says nothing it is 0, not nan."""
    generator = np.random.default_rng(classes * levels)
    one, other = generator.integers(0, levels, (2, 60, classes)).astype(float)
    found = rank_correlation(torch.tensor(one), torch.tensor(other)).numpy()
    for a, b, value in zip(one, other, found, strict=True):
        assert value == pytest.approx(np.nan_to_num(kendalltau(a, b).statistic), abs=1e-12)
        assert value == pytest.approx(numpy_tau(a, b), abs=1e-12)


def test_rank_correlation_at_its_limits() -> None:
    """1 for the same ranking, −1 for the reverse, whatever the sizes; 0 for one class."""
    logits = random(9, 6)
    torch.testing.assert_close(rank_correlation(logits, logits.exp()), torch.ones(9))
    torch.testing.assert_close(rank_correlation(logits, -logits), -torch.ones(9))
    assert rank_correlation(logits[:, :1], logits[:, :1]).tolist() == [0.0] * 9
    assert rank_correlation(logits, torch.ones(9, 6)).tolist() == [0.0] * 9


def test_rank_correlation_of_maps_is_that_of_each_pixel() -> None:
    """The mean over the pixels belongs to the sample."""
    one, other = random(3, 5, 4, 2), random(3, 5, 4, 2, seed=1)
    found = rank_correlation(one, other)
    assert found.shape == (3, 4, 2)
    pixels = rank_correlation(*(m.movedim(1, -1).reshape(-1, 5) for m in (one, other)))
    torch.testing.assert_close(found.flatten(), pixels)
    torch.testing.assert_close(mean_rank_correlation(one, other), found.mean((1, 2)))


# --- non-target divergence ---------------------------------------------------------------------


@pytest.mark.parametrize("extent", [(), (4, 3)])
def test_non_target_divergence_is_that_of_the_other_classes(extent: tuple[int, ...]) -> None:
    """The true class is really left out: its logits may be anything."""
    task = DENSE if extent else FLAT
    labels = labels_of(task)
    one, other = (random(small.BATCH, small.CLASSES, *extent, seed=s) * 3 for s in (0, 1))
    found = non_target_divergence(one, other, labels)
    np.testing.assert_allclose(
        found.numpy(), numpy_non_target(one.numpy(), other.numpy(), labels.numpy())
    )
    true = labels.unsqueeze(1)
    changed = one.scatter(1, true, 50.0), other.scatter(1, true, -70.0)
    torch.testing.assert_close(non_target_divergence(*changed, labels), found)


@pytest.mark.parametrize("classes", [1, 2])
def test_non_target_divergence_of_fewer_than_two_other_classes_is_0(classes: int) -> None:
    """Nothing is left to distribute; the gradient is 0, too, not nan."""
    one, other = random(5, classes), random(5, classes, seed=1).requires_grad_()
    value = non_target_divergence(one, other, torch.zeros(5, dtype=torch.int64))
    value.sum().backward()
    assert value.abs().max() == 0
    assert other.grad.abs().max() == 0


def test_non_target_gradient_against_central_differences() -> None:
    """No gradient for the true class, the right one for the others."""
    one, other = random(4, 5), random(4, 5, seed=1).requires_grad_()
    labels = torch.tensor([0, 2, 4, 2])
    non_target_divergence(one, other, labels).sum().backward()
    values = other.detach().numpy()
    numeric = small.numeric_gradient(
        lambda: numpy_non_target(one.numpy(), values, labels.numpy()).sum(), values
    )
    np.testing.assert_allclose(other.grad.numpy(), numeric, atol=1e-8)
    assert other.grad[torch.arange(4), labels].abs().max() == 0


def test_labels_that_are_no_class_leave_finite_values() -> None:
    """They are averaged away later, so they must not be nan."""
    value = non_target_divergence(random(3, 4), random(3, 4, seed=1), torch.tensor([255, -1, 2]))
    assert value.isfinite().all()


# --- the whole ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "teacher", "student"), CASES)
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.2])
def test_loss_equals_the_sum_of_its_terms(
    task: Task, teacher: tuple[int, ...], student: tuple[int, ...], threshold: float
) -> None:
    """Teacher's cross-entropy, two-way divergences, and those between proxies where chosen."""
    seen = edge(task, teacher, student)
    wanted = expected(seen, threshold)
    found = C2KD(threshold).per_sample(seen).detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-10)
    mean = C2KD(threshold).edge(copy.deepcopy(seen))
    assert mean.dim() == 0
    assert float(mean.detach()) == pytest.approx(wanted.mean())


def test_a_threshold_leaves_samples_out() -> None:
    """The cases above do select some and leave some."""
    seen = edge(*CASES[0])
    assert isinstance(seen.adapter, Proxies)
    found = mean_rank_correlation(
        seen.adapter.teacher(seen.teacher.penultimate),
        seen.adapter.student(seen.student.penultimate),
    )
    assert 0 < int((found > 0).sum()) < small.BATCH


@pytest.mark.parametrize(("task", "teacher", "student"), CASES[:1] + CASES[-1:])
def test_unlabelled_pixels_and_unselected_samples_give_no_gradient(
    task: Task, teacher: tuple[int, ...], student: tuple[int, ...]
) -> None:
    """Targets are fixed: each logit's gradient is that of the terms in which it learns."""
    seen = edge(task, teacher, student)
    assert isinstance(seen.adapter, Proxies)
    C2KD().edge(seen).backward()
    fixed = [
        F.interpolate(logits, task.extent, mode="bilinear") if task.dense else logits
        for logits in (
            seen.adapter.teacher(seen.teacher.penultimate).detach(),
            seen.adapter.student(seen.student.penultimate).detach(),
        )
    ]
    labels = seen.labels.numpy()

    def of_teacher() -> float:
        whole = small.cross_entropy(values, labels) + small.kl(fixed[0].numpy(), values, 1.0)
        return float(small.per_sample(whole, labels, task.dense).mean())

    def of_student() -> float:
        whole = small.kl(fixed[1].numpy(), values, 1.0)
        return float(small.per_sample(whole, labels, task.dense).mean())

    for answer, function in ((seen.teacher, of_teacher), (seen.student, of_student)):
        values = answer.logits.detach().numpy().copy()
        numeric = small.numeric_gradient(function, values)
        np.testing.assert_allclose(answer.logits.grad.numpy(), numeric, atol=1e-8)
        assert answer.penultimate.grad.abs().max() > 0  # through its proxy
    assert all(p.grad is not None for p in seen.adapter.parameters())


@pytest.mark.parametrize("threshold", [-1.0, 0.99])
def test_proxies_learn_from_each_other_only_if_they_agree(threshold: float) -> None:
    """A proxy's gradient is the divergence from its network alone where nothing is selected."""
    seen = edge(*CASES[0])
    assert isinstance(seen.adapter, Proxies)
    logits = seen.adapter.student(seen.student.penultimate)
    alone = F.kl_div(
        logits.log_softmax(1), seen.student.logits.detach().softmax(1), reduction="batchmean"
    )
    weight = seen.adapter.student.layers[3].weight
    (own,) = torch.autograd.grad(alone, weight)
    (whole,) = torch.autograd.grad(C2KD(threshold).edge(seen), weight)
    assert torch.allclose(own, whole) == (threshold > 0)


def test_identical_networks_and_proxies_leave_the_cross_entropy() -> None:
    """All divergences are 0."""
    seen = edge(FLAT, (6,), (6,))
    assert isinstance(seen.adapter, Proxies)
    feature = seen.teacher.penultimate.detach()
    seen.adapter.student.load_state_dict(seen.adapter.teacher.state_dict())
    logits = seen.adapter.teacher(feature).detach()
    same = Answer(logits, {PENULTIMATE: (feature,)})
    twice = Edge(same, same, seen.labels, seen.positions, FLAT, seen.adapter)
    wanted = small.cross_entropy(logits.numpy(), seen.labels.numpy())
    np.testing.assert_allclose(C2KD().per_sample(twice).detach().numpy(), wanted, atol=1e-12)


@pytest.mark.parametrize("classes", [1, 2])
def test_few_classes_are_well_defined(classes: int) -> None:
    """Finite values and gradients; one class has nothing to lose."""
    task = small.class_task(classes)
    shapes = EdgeShapes({PENULTIMATE: ((3,),)}, {PENULTIMATE: ((4,),)}, task, 10)
    answers = [
        Answer(random(6, classes, seed=s).requires_grad_(), {PENULTIMATE: (random(6, d, seed=s),)})
        for s, d in ((0, 3), (1, 4))
    ]
    labels = torch.zeros(6, dtype=torch.int64)
    torch.manual_seed(0)
    seen = Edge(*answers, labels, torch.arange(6), task, C2KD().adapter(shapes))
    value = C2KD().edge(seen)
    value.backward()
    assert answers[0].logits.grad.isfinite().all()
    assert (float(value.detach()) == 0) == (classes == 1)


def test_proxies_keep_to_the_widths_of_the_paper() -> None:
    """Linear d → d, normalisation, linear d → C; beyond a limit not as wide as the feature."""
    count = sum(p.numel() for p in Proxy((84,), FLAT).parameters())
    assert count == 84 * 84 + 84 + 2 * 84 + 84 * small.CLASSES + small.CLASSES
    with torch.device("meta"):
        first = Proxy((25088,), FLAT).layers[0]
    assert first.weight.shape == (WIDEST, 25088)


def test_a_batch_of_one_sample_can_be_learned_from() -> None:
    """The rest of an epoch may be one sample, whose normalisation takes the running statistics."""
    proxy = Proxy((6,), FLAT)
    feature = random(1, 6)
    torch.testing.assert_close(proxy(feature), copy.deepcopy(proxy).eval()(feature))
    with pytest.raises(AssertionError):
        torch.testing.assert_close(
            proxy(random(5, 6)), copy.deepcopy(proxy).eval()(random(5, 6)), atol=1e-3, rtol=0
        )


def test_refuses_a_vector_where_every_pixel_has_a_label() -> None:
    """A proxy cannot say anything of pixels that its feature does not know."""
    with pytest.raises(UserError, match=r"of shape \(6,\), expected \(channels, height, width\)"):
        Proxy((6,), DENSE)


@pytest.mark.parametrize("threshold", [-1.5, 1.0, float("nan")])
def test_refuses_a_threshold_that_selects_nothing(threshold: float) -> None:
    """The option and what was expected."""
    assert C2KD(threshold).problem()[0] == "threshold"
    assert C2KD().problem() is None
