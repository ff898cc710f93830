"""Contrastive distillation: the loss in plain numpy, the draw of negatives, the memories."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import training_worlds as small
from torch import Tensor

from mstgraph.methods import crd
from mstgraph.methods.crd import CRD, UNSEEN, ContrastiveMemory, contrast, draw_negatives
from mstgraph.methods.loss import PENULTIMATE, Answer, Edge, EdgeShapes
from mstgraph.support.errors import UserError

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

TASK = small.class_task(3)
SAMPLES, BATCH = 20, 4
POSITIONS = torch.tensor([3, 11, 0, 7])
LABELS = torch.tensor([0, 1, 0, 2])


def built(**options: Any) -> tuple[CRD, ContrastiveMemory]:
    """A loss with small embeddings, and its adapter."""
    loss = CRD(**{"negatives": 6, "width": 5, **options})
    torch.manual_seed(1)
    shapes = EdgeShapes({PENULTIMATE: ((3, 2),)}, {PENULTIMATE: ((4,),)}, TASK, SAMPLES)
    adapter = loss.adapter(shapes)
    assert isinstance(adapter, ContrastiveMemory)
    return loss, adapter


def edge(
    adapter: ContrastiveMemory,
    seed: int = 2,
    positions: Tensor = POSITIONS,
    labels: Tensor = LABELS,
) -> Edge:
    """A random batch whose features all want gradients."""
    generator = torch.Generator().manual_seed(seed)
    size = len(labels)
    teacher = torch.randn(size, 3, 2, generator=generator).requires_grad_()
    student = torch.randn(size, 4, generator=generator).requires_grad_()
    logits = torch.zeros(size, 3)
    answers = (Answer(logits, {PENULTIMATE: (x,)}) for x in (teacher, student))
    return Edge(*answers, labels, positions, TASK, adapter)


def embedded(layer: torch.nn.Linear, features: Tensor) -> np.ndarray:
    """Embeddings of length 1, in numpy."""
    weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
    found = features.detach().flatten(1).numpy() @ weight.T + bias
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def by_hand(
    loss: CRD, state: ContrastiveMemory, batch: Edge, negatives: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The loss of each sample and the normalising constants, one comparison at a time."""
    embeddings = (
        embedded(state.teacher, batch.teacher.penultimate),
        embedded(state.student, batch.student.penultimate),
    )
    memories, known = state.memories.numpy(), np.exp(state.constants.numpy())
    noise = negatives.shape[1] / SAMPLES
    losses, constants = np.zeros(len(negatives)), []
    for own in (0, 1):
        exponentials = np.zeros((len(negatives), 1 + negatives.shape[1]))
        for b in range(len(negatives)):
            for c, sample in enumerate([int(batch.positions[b]), *negatives[b]]):
                similarity = embeddings[own][b] @ memories[1 - own, sample]
                exponentials[b, c] = np.exp(similarity / loss.temperature)
        constant = exponentials.mean() * SAMPLES if np.isnan(known[own]) else known[own]
        constants.append(constant)
        h = exponentials / constant / (exponentials / constant + noise)
        losses -= np.log(h[:, 0]) + np.log(1 - h[:, 1:]).sum(axis=1)
    return losses, np.array(constants)


def spied(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """Return the list to which every draw of negatives is added."""
    draws: list[np.ndarray] = []

    def spy(*arguments: Any) -> tuple[Tensor, Tensor]:
        found = draw_negatives(*arguments)
        draws.append(found[0].numpy())
        return found

    monkeypatch.setattr(crd, "draw_negatives", spy)
    return draws


def test_contrast_by_hand() -> None:
    """Scores log 3, log 1 and log 2 with noise 1: h = 3/4, 1/2 and 2/3."""
    scores = torch.tensor([[3.0, 1.0, 2.0]]).log()
    expected = -np.log(3 / 4) - np.log(1 - 1 / 2) - np.log(1 - 2 / 3)
    assert contrast(scores, 0.0).item() == pytest.approx(expected, rel=1e-12)
    expected = -np.log(3 / 5) - np.log(1 - 1 / 3) - np.log(1 - 1 / 2)
    assert contrast(scores, np.log(2)).item() == pytest.approx(expected, rel=1e-12)


def test_contrast_stays_finite_at_any_score() -> None:
    """No overflow of an exponential; what does not count has no gradient."""
    scores = torch.tensor([[-1e4, 1e4, -torch.inf], [1e4, -1e4, -torch.inf]]).requires_grad_()
    value = contrast(scores, 0.0)
    value.sum().backward()
    torch.testing.assert_close(value, torch.tensor([2e4, 0.0]))
    torch.testing.assert_close(scores.grad, torch.tensor([[-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_equals_the_sum_over_comparisons(
    temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches: the first fixes the constants, the second meets moved memories."""
    draws = spied(monkeypatch)
    loss, memory = built(temperature=temperature)
    fixed = None
    for seed, positions in ((2, POSITIONS), (3, torch.tensor([11, 5, 3, 19]))):
        batch, before = edge(memory, seed, positions), copy.deepcopy(memory)
        value = loss.edge(batch)
        expected, constants = by_hand(loss, before, batch, draws[-1])
        assert value.shape == (BATCH,)
        np.testing.assert_allclose(value.detach(), expected, rtol=1e-10)
        np.testing.assert_allclose(memory.constants.exp(), constants, rtol=1e-10)
        fixed = constants if fixed is None else fixed
        np.testing.assert_allclose(constants, fixed, rtol=1e-10)


def test_memories_move_and_stay_on_the_sphere() -> None:
    """Only those of the batch, by the momentum, after they were compared with."""
    loss, memory = built(momentum=0.25)
    before, batch = copy.deepcopy(memory), edge(memory)
    loss.edge(batch)
    new = np.stack(
        [
            embedded(memory.teacher, batch.teacher.penultimate),
            embedded(memory.student, batch.student.penultimate),
        ]
    )
    expected = before.memories.numpy().copy()
    for side, row in np.ndindex(2, BATCH):
        position = int(POSITIONS[row])
        moved = 0.25 * expected[side, position] + 0.75 * new[side, row]
        expected[side, position] = moved / np.linalg.norm(moved)
    np.testing.assert_allclose(memory.memories, expected, rtol=1e-12, atol=1e-15)


def test_labels_are_learnt_as_they_are_seen() -> None:
    """A sample has no class until a batch holds it."""
    loss, memory = built()
    assert (memory.labels == UNSEEN).all()
    loss.edge(edge(memory))
    expected = np.full(SAMPLES, UNSEEN)
    expected[POSITIONS.numpy()] = LABELS.numpy()
    np.testing.assert_array_equal(memory.labels, expected)


def test_what_gets_a_gradient() -> None:
    """The student and both embeddings; neither the teacher nor a memory."""
    loss, memory = built()
    batch = edge(memory)
    loss.edge(batch).sum().backward()
    assert batch.teacher.penultimate.grad is None
    assert batch.student.penultimate.grad.abs().sum(1).min() > 0
    assert {name for name, _ in memory.named_parameters()} == {
        "teacher.weight",
        "teacher.bias",
        "student.weight",
        "student.bias",
    }
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in memory.parameters())
    assert not any(buffer.requires_grad for buffer in memory.buffers())


def test_gradient_against_central_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the student's features, with the constants fixed before."""
    loss, memory = built(temperature=0.5)
    loss.edge(edge(memory, 9))
    draws = spied(monkeypatch)
    batch, before = edge(memory), copy.deepcopy(memory)
    loss.edge(batch).sum().backward()
    changed = batch.student.penultimate.detach()
    numeric = small.numeric_gradient(
        lambda: by_hand(loss, before, batch, draws[-1])[0].sum(), changed.numpy()
    )
    np.testing.assert_allclose(batch.student.penultimate.grad, numeric, atol=1e-7)


def test_agreement_is_cheaper_than_disagreement() -> None:
    """The positive's similarity lowers the loss, negatives' raise it."""
    agree = torch.tensor([[5.0, -5.0, -5.0]])
    assert contrast(agree, 0.0) < contrast(torch.zeros(1, 3), 0.0) < contrast(-agree, 0.0)


def test_negatives_are_of_other_classes_and_evenly_drawn() -> None:
    """Also those not seen yet count; each of the others is equally likely."""
    labels = torch.tensor([2, 0, 1, 0, UNSEEN, 2, 0, UNSEEN])
    torch.manual_seed(0)
    drawn, available = draw_negatives(torch.tensor([0, 1, 2]), labels, 60_000)
    assert available.all()
    for own, found in enumerate(drawn):
        others = [n for n, label in enumerate(labels.tolist()) if label != own]
        values, counts = np.unique(found.numpy(), return_counts=True)
        assert values.tolist() == others
        expected = 60_000 / len(others)
        assert ((counts - expected) ** 2 / expected).sum() < 25  # χ², at most 6 degrees of freedom


def test_a_sample_alone_with_its_class_has_no_negatives() -> None:
    """If all are of one class only the positive counts, and all stays finite."""
    _, available = draw_negatives(torch.tensor([1, 0]), torch.tensor([1, 1, 1]), 4)
    assert available.tolist() == [False, True]
    loss, memory = built(negatives=50)
    memory.labels.fill_(0)
    batch = edge(memory, labels=torch.zeros(BATCH, dtype=torch.int64))
    before = copy.deepcopy(memory)
    value = loss.edge(batch)
    value.sum().backward()
    expected = np.zeros(BATCH)
    embeddings = (
        embedded(memory.teacher, batch.teacher.penultimate),
        embedded(memory.student, batch.student.penultimate),
    )
    for own in (0, 1):
        memories = before.memories.numpy()[1 - own, POSITIONS.numpy()]
        exponentials = np.exp((embeddings[own] * memories).sum(axis=1) / 0.07)
        scaled = exponentials / (exponentials.mean() * SAMPLES)
        expected -= np.log(scaled / (scaled + (SAMPLES - 1) / SAMPLES))
    np.testing.assert_allclose(value.detach(), expected, rtol=1e-10)
    assert all(p.grad.isfinite().all() for p in memory.parameters())


def test_never_more_negatives_than_other_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small set has fewer than the default."""
    draws = spied(monkeypatch)
    loss, memory = built(negatives=4096)
    loss.edge(edge(memory))
    assert draws[0].shape == (BATCH, SAMPLES - 1)


@pytest.mark.parametrize("size", [1, 2])
def test_small_batches(size: int) -> None:
    """One sample has a positive and negatives like any other."""
    loss, memory = built()
    value = loss.edge(edge(memory, positions=POSITIONS[:size], labels=LABELS[:size]))
    assert value.shape == (size,)
    assert (value > 0).all()


def test_order_of_the_batch_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same negatives each sample keeps its loss, and the memories end up the same."""
    drawn = torch.randint(SAMPLES, (BATCH, 6), generator=torch.Generator().manual_seed(4))
    order, found = torch.tensor([2, 0, 3, 1]), []
    for chosen in (torch.arange(BATCH), order):
        loss, memory = built()
        batch = edge(memory)
        answers = (
            Answer(a.logits, {PENULTIMATE: (a.penultimate[chosen],)})
            for a in (batch.teacher, batch.student)
        )
        fixed = drawn[chosen], torch.ones(BATCH, dtype=torch.bool)
        monkeypatch.setattr(crd, "draw_negatives", lambda *_, fixed=fixed: fixed)
        permuted = Edge(*answers, LABELS[chosen], POSITIONS[chosen], TASK, memory)
        found.append((loss.edge(permuted), memory.memories))
    torch.testing.assert_close(found[1][0], found[0][0][order])
    torch.testing.assert_close(found[1][1], found[0][1])


def test_goes_on_from_a_checkpoint_bit_for_bit() -> None:
    """The state dict and torch's generator hold all there is."""
    loss, memory = built()
    loss.edge(edge(memory))
    kept, generator = copy.deepcopy(memory.state_dict()), torch.get_rng_state()
    straight = loss.edge(edge(memory, 3))
    _, again = built()
    again.load_state_dict(kept)
    torch.set_rng_state(generator)
    resumed = loss.edge(edge(again, 3))
    assert torch.equal(straight, resumed)
    for name, value in memory.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name


def test_the_draw_depends_on_the_seed_alone() -> None:
    """Same seed, same negatives; another seed, others."""
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(draw_negatives(LABELS, torch.arange(SAMPLES) % 3, 30)[0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_memories_start_on_the_sphere_and_embeddings_have_length_one() -> None:
    """Two memories of one row per sample."""
    _, memory = built()
    assert memory.memories.shape == (2, SAMPLES, 5)
    torch.testing.assert_close(memory.memories.norm(dim=2), torch.ones(2, SAMPLES))
    pair = memory(torch.randn(3, 3, 2), torch.randn(3, 4))
    torch.testing.assert_close(pair.norm(dim=2), torch.ones(2, 3))


def test_learning_aligns_the_embeddings_of_a_sample() -> None:
    """After some steps a student's embedding is nearest to its own teacher's memory."""
    torch.manual_seed(0)
    loss = CRD(negatives=15, width=8, temperature=0.2)
    shapes = EdgeShapes({PENULTIMATE: ((6,),)}, {PENULTIMATE: ((6,),)}, small.class_task(16), 16)
    memory = loss.adapter(shapes)
    assert isinstance(memory, ContrastiveMemory)
    teacher = torch.randn(16, 6)
    student = teacher @ torch.randn(6, 6)
    numbers = torch.arange(16)
    batch = Edge(
        Answer(torch.zeros(16, 16), {PENULTIMATE: (teacher,)}),
        Answer(torch.zeros(16, 16), {PENULTIMATE: (student,)}),
        numbers,
        numbers,
        shapes.task,
        memory,
    )
    optimizer = torch.optim.Adam(memory.parameters(), 0.01)
    for _ in range(300):
        optimizer.zero_grad()
        loss.edge(batch).mean().backward()
        optimizer.step()
    nearest = (memory(teacher, student)[1] @ memory.memories[0].t()).argmax(1)
    assert (nearest == numbers).float().mean() > 0.9


@pytest.mark.parametrize(("classes", "samples"), [(1, 20), (3, 1)])
def test_a_task_without_other_classes_is_refused(classes: int, samples: int) -> None:
    """One sentence, with the numbers."""
    shape = {PENULTIMATE: ((4,),)}
    with pytest.raises(UserError, match="CRD tells samples of different classes apart") as caught:
        CRD().adapter(EdgeShapes(shape, shape, small.class_task(classes), samples))
    assert f"{samples} training samples of {classes} classes" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"negatives": 0}, "negatives"),
        ({"negatives": 2.5}, "negatives"),
        ({"width": 0}, "width"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"momentum": 1.0}, "momentum"),
        ({"momentum": -0.1}, "momentum"),
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any], option: str) -> None:
    """What was given is in the sentence."""
    found = CRD(**options).problem()
    assert found is not None
    assert found[0] == option
    assert found[1].startswith(f"is {options[option]}, expected")


def test_sensible_options_pass_and_dense_labels_do_not_fit() -> None:
    """The defaults are those of the paper's tables and make sense."""
    assert CRD().problem() is None
    assert CRD() == CRD(negatives=4096, temperature=0.07, momentum=0.5, width=128)
    assert CRD(momentum=0.0).problem() is None
    assert not CRD.dense
    assert CRD.reads == (PENULTIMATE,)


def test_unlabelled_samples_take_no_part() -> None:
    """They get no gradient, are not remembered, and their share of the mean is 0."""
    loss, adapter = built()
    whole = edge(adapter)
    labels = LABELS.clone()
    labels[1] = -1
    before = adapter.memories.clone()
    value = loss.edge(replace(whole, labels=labels, task=small.class_task(3, ignored=-1)))
    assert value.shape == ()
    value.backward()
    kept = labels >= 0
    assert not whole.student.penultimate.grad[~kept].any()
    assert whole.student.penultimate.grad[kept].any()
    assert torch.equal(adapter.memories[:, POSITIONS[1]], before[:, POSITIONS[1]])
    assert int(adapter.labels[POSITIONS[1]]) == UNSEEN
    none = replace(whole, labels=torch.full_like(LABELS, -1), task=small.class_task(3, ignored=-1))
    assert float(loss.edge(none).detach()) == 0
