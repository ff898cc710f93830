"""The gate, top-k routing and the load-balance terms, against numpy by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mstgraph.distil import gate as module
from mstgraph.distil.gate import Gate, among, evenly, load_balance_cv, load_balance_kl, top_k
from mstgraph.support.errors import UserError


def confidences(seed: int, batch: int, teachers: int) -> Tensor:
    """Return random rows that sum to one, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, teachers, generator=generator, dtype=torch.float64)
    return torch.softmax(3 * logits, dim=1)


@pytest.mark.parametrize(
    ("classes", "dense", "count"),
    [(10, False, 304), (8, False, 212), (141, False, 41_176), (41, True, 4_596)],
)
def test_parameters_are_as_many_as_the_reference_counts(classes, dense, count):
    """With four teachers the counts are those of the paper's data sets."""
    with torch.device("meta"):
        gate = Gate(classes, 4, dense)
    assert sum(value.numel() for value in gate.parameters()) == count


@pytest.mark.parametrize("activation", [True, False])
def test_classification_by_hand(activation):
    """softmax(W₂ ReLU(W₁ z + b₁) + b₂), without the ReLU as released."""
    torch.manual_seed(0)
    gate = Gate(5, 3, dense=False, activation=activation)
    logits = torch.randn(4, 5)
    first, last = gate.hidden[0], gate.classifier
    w1, b1, w2, b2 = (p.detach().numpy() for p in (*first.parameters(), *last.parameters()))
    hidden = logits.numpy() @ w1.T + b1
    scores = (np.maximum(hidden, 0) if activation else hidden) @ w2.T + b2
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(gate(logits).detach().numpy(), expected, rtol=1e-5)


def test_dense_by_hand():
    """A 1×1 convolution, a strided depthwise 3×3 one, the average and a linear layer."""
    torch.manual_seed(0)
    gate = Gate(2, 3, dense=True).double()
    logits = torch.randn(1, 2, 4, 5, dtype=torch.float64)
    point, depth = gate.hidden[0], gate.hidden[2]
    weight, bias = point.weight.detach().numpy()[:, :, 0, 0], point.bias.detach().numpy()
    wide = np.maximum(np.einsum("oc,chw->ohw", weight, logits[0].numpy()) + bias[:, None, None], 0)
    padded = np.pad(wide, ((0, 0), (1, 1), (1, 1)))
    kernel, offset = depth.weight.detach().numpy()[:, 0], depth.bias.detach().numpy()
    small = np.zeros((4, 2, 3))
    for channel, row, column in np.ndindex(small.shape):
        window = padded[channel, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        small[channel, row, column] = (window * kernel[channel]).sum() + offset[channel]
    vector = np.maximum(small, 0).mean(axis=(1, 2))
    last = gate.classifier
    scores = last.weight.detach().numpy() @ vector + last.bias.detach().numpy()
    expected = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(gate(logits)[0].detach().numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 8, 9)])
def test_confidence_is_a_distribution_per_sample(shape):
    """Rows sum to one, and a sample's row does not depend on the rest of the batch."""
    torch.manual_seed(0)
    gate = Gate(5, 4, dense=len(shape) == 4)
    logits = torch.randn(shape)
    confidence = gate(logits)
    assert confidence.shape == (6, 4)
    torch.testing.assert_close(confidence.sum(dim=1), torch.ones(6))
    torch.testing.assert_close(gate(logits[2:3]), confidence[2:3])


@pytest.mark.parametrize("rows", [1, 2, 4])
def test_dense_logits_a_few_at_a_time(rows, monkeypatch):
    """However many fit, confidences and gradients are those of all at once."""
    torch.manual_seed(0)
    gate = Gate(5, 4, dense=True).double()
    logits = torch.randn(7, 5, 8, 6, dtype=torch.float64, requires_grad=True)
    wanted = (logits, *gate.parameters())
    whole = torch.softmax(gate.classifier(gate.hidden(logits)), dim=1)
    monkeypatch.setattr(module, "HIDDEN_BYTES", rows * 2 * 5 * 8 * 6 * 8)
    sizes = []
    gate.hidden.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    parts = gate(logits)
    assert max(sizes) == rows
    assert sum(sizes) == 7
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)
    pairs = [torch.autograd.grad(c[:, 1].square().sum(), wanted) for c in (whole, parts)]
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def kl_balance(confidence):
    """Load balance of a batch by the mean of its confidences."""
    return load_balance_kl(confidence.mean(0))


def cv_balance(confidence):
    """Load balance of a batch by the sum of its confidences."""
    return load_balance_cv(confidence.sum(0))


@pytest.mark.parametrize("detach", [True, False])
def test_detach_decides_whether_the_student_gets_a_gradient(detach):
    """The paper's gate sends gradients into the logits; a detached one sends none."""
    logits = torch.randn(6, 5, requires_grad=True)
    gate = Gate(5, 4, dense=False, detach=detach)
    kl_balance(gate(logits)).backward()
    assert (logits.grad is None) == detach
    assert gate.classifier.weight.grad.abs().sum() > 0


def test_top_k_is_best_first_and_ties_go_to_the_earlier_teacher():
    """Indices come in descending confidence; equal ones in the teachers' order."""
    confidence = torch.tensor([[0.1, 0.2, 0.6, 0.1], [0.25, 0.25, 0.25, 0.25]])
    assert top_k(confidence, 3).tolist() == [[2, 1, 0], [0, 1, 2]]
    assert top_k(confidence, 4).tolist() == [[2, 1, 0, 3], [0, 1, 2, 3]]


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 9))
def test_the_best_one_is_the_first_of_the_best(seed, batch, teachers):
    """With k = 1 a shorter way leads to the same teacher, also among many equals."""
    coarse = torch.randint(0, 3, (batch, teachers), generator=torch.Generator().manual_seed(seed))
    first = [row.index(max(row)) for row in coarse.tolist()]
    assert top_k(coarse.double(), 1).tolist() == [[index] for index in first]
    if teachers > 1:
        assert top_k(coarse.double(), 2)[:, 0].tolist() == first


@pytest.mark.parametrize("k", [0, 5])
def test_top_k_of_teachers_that_do_not_exist_is_refused(k):
    """Taking more teachers than there are, or none, is the user's error."""
    with pytest.raises(UserError, match=f"k = {k} teachers, expected 1 to 4"):
        top_k(torch.full((2, 4), 0.25), k)


def test_kl_and_cv_by_hand():
    """Two samples, three teachers, worked out on paper."""
    confidence = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.65, 0.25]], dtype=torch.float64)
    mean = np.array([0.3, 0.45, 0.25])
    kl = (np.log(1 / 3) - np.log(mean)).sum() / 3
    load = 2 * mean
    cv = math.sqrt(((load - load.mean()) ** 2).sum() / 2) / load.mean()
    assert kl_balance(confidence).item() == pytest.approx(kl, rel=1e-12)
    assert cv_balance(confidence).item() == pytest.approx(cv, rel=1e-12)


@pytest.mark.parametrize("balance", [kl_balance, cv_balance])
def test_balanced_batches_cost_nothing(balance):
    """Uniform confidences, and sharp ones that spread evenly, give zero and no gradient."""
    for confidence in (torch.full((8, 4), 0.25), torch.eye(4)):
        confidence = confidence.clone().requires_grad_()
        value = balance(confidence)
        value.backward()
        assert value.item() == pytest.approx(0, abs=1e-6)
        assert bool(confidence.grad.isfinite().all())


def test_collapse_costs_much_but_stays_finite():
    """With one teacher taking all, KL is large and finite and CV is √N; so are the gradients."""
    logits = torch.zeros(8, 4)
    logits[:, 0] = 1000
    logits.requires_grad_()
    confidence = torch.softmax(logits, dim=1)
    assert confidence[0, 1] == 0
    value = kl_balance(confidence)
    value.backward()
    assert 10 < value.item() < 1000
    assert bool(logits.grad.isfinite().all())
    assert cv_balance(confidence).item() == pytest.approx(2)


@pytest.mark.parametrize("balance", [kl_balance, cv_balance])
def test_one_teacher_is_always_balanced(balance):
    """With N = 1 there is nothing to balance."""
    confidence = torch.ones(5, 1, requires_grad=True)
    value = balance(confidence)
    value.backward()
    assert value.item() == 0
    assert bool(confidence.grad.isfinite().all())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(2, 6))
def test_balance_is_symmetric_and_not_negative(seed, batch, teachers):
    """Renaming teachers or reordering samples changes neither term; both are at least 0."""
    confidence = confidences(seed, batch, teachers)
    renamed = confidence[torch.randperm(batch)][:, torch.randperm(teachers)]
    for balance in (kl_balance, cv_balance):
        assert balance(confidence).item() >= -1e-12
        torch.testing.assert_close(balance(renamed), balance(confidence))


@pytest.mark.parametrize("balance", [kl_balance, cv_balance])
def test_a_step_against_the_gradient_balances(balance):
    """Descending moves confidence from the most used teacher to the least used."""
    logits = torch.tensor([[2.0, 0.0, 1.0], [1.0, 0.0, 0.0]], requires_grad=True)
    before = torch.softmax(logits, dim=1)
    balance(before).backward()
    after = torch.softmax(logits - 0.1 * logits.grad, dim=1).mean(dim=0)
    assert after[0] < before.mean(dim=0)[0]
    assert after[1] > before.mean(dim=0)[1]
    assert balance(after[None]) < balance(before)


def test_confidence_is_shared_among_those_that_are_there():
    """Exactly 0 for the others, rows summing to one; nothing changes where all are there."""
    confidence = confidences(3, 6, 4)
    there = torch.tensor(
        [[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0], [0, 1, 1, 0]]
    ).bool()
    found = among(confidence, there)
    for row, own in enumerate(there.numpy()):
        expected = np.where(own, confidence[row].numpy(), 0)
        expected = expected / expected.sum() if own.any() else expected
        np.testing.assert_allclose(found[row], expected, rtol=1e-12)
    assert not found[~there].any()
    assert among(confidence, None) is confidence


def test_a_gate_that_is_sure_of_one_that_is_missing_leaves_the_others_alike():
    """Where nothing is left to share, in finite numbers and gradients."""
    logits = torch.tensor([[0.0, -2000.0, -2000.0]], requires_grad=True)
    found = among(torch.softmax(logits, 1), torch.tensor([[False, True, True]]))
    assert found.tolist() == [[0.0, 0.5, 0.5]]
    found.square().sum().backward()
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("k", [1, 2, 3])
def test_those_that_are_missing_are_chosen_last(k):
    """However sure the gate is of them."""
    confidence, there = torch.tensor([[0.7, 0.1, 0.2]]), torch.tensor([[False, True, True]])
    assert top_k(confidence, k, there).tolist() == [[2, 1, 0][:k]]


def test_balance_asks_of_nobody_to_stand_in_for_one_that_is_missing():
    """A gate that is even among a sample's own teachers is balanced; else by numpy."""
    there = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0], [0, 1, 1]]).bool()
    even = evenly(there, torch.float64)
    assert load_balance_kl(even.mean(0), even.mean(0)).item() == pytest.approx(0, abs=1e-15)
    assert load_balance_cv(even.sum(0), even.sum(0)).item() == pytest.approx(0, abs=1e-15)
    confidence = among(confidences(1, 4, 3), there)
    u, c = even.mean(0).numpy(), confidence.mean(0).numpy()
    expected = (u * np.log(u / c)).sum()
    assert load_balance_kl(confidence.mean(0), even.mean(0)).item() == pytest.approx(expected)
    assert expected > 0
    ratio = c / u
    expected = ratio.std(ddof=1) / ratio.mean()
    assert load_balance_cv(confidence.sum(0), even.sum(0)).item() == pytest.approx(expected)


def test_balance_without_absence_is_the_same():
    """The uniform distribution is what is even among all."""
    confidence = confidences(2, 5, 4)
    even = evenly(torch.ones(5, 4).bool(), torch.float64)
    torch.testing.assert_close(
        kl_balance(confidence), load_balance_kl(confidence.mean(0), even.mean(0))
    )
    torch.testing.assert_close(
        cv_balance(confidence), load_balance_cv(confidence.sum(0), even.sum(0))
    )
