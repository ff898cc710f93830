"""Collaborative initialisation against Eq. 1–4 in numpy."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import training_worlds as small

from mstgraph.methods.kl import KL
from mstgraph.run.train import total
from mstgraph.stages.ci import CI

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

MEMBERS = ("f", "s", "t")


def expected_terms(logits: dict[str, np.ndarray], labels: np.ndarray, dense: bool, tau: float):
    """ℓ_task (Eq. 1) and ℓ_align (Eq. 2, 3), averaged over the batch (Eq. 4)."""
    task, align = 0.0, 0.0
    for name in MEMBERS:
        values = small.cross_entropy(logits[name], labels)
        task += small.per_sample(values, labels, dense).mean()
    for one, other in itertools.permutations(MEMBERS, 2):
        values = small.kl(logits[one], logits[other], tau)
        align += small.per_sample(values, labels, dense).mean()
    return task, align


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("tau", [1.0, 4.0])
def test_terms_equal_the_equations(dense: bool, tau: float) -> None:
    """Σ CE over members, and KL in both directions over all pairs."""
    world = small.world(CI(alignment=KL(tau)), "ci", dense=dense)
    terms = world.node.settings.losses(world.node, world.batch(), 1)
    logits = {name: world.numpy(name) for name in MEMBERS}
    task, align = expected_terms(logits, world.labels.numpy(), dense, tau)
    assert float(terms["task"].value.detach()) == pytest.approx(task, abs=1e-12)
    assert float(terms["align"].value.detach()) == pytest.approx(align, abs=1e-12)
    assert (terms["task"].scale, terms["align"].scale) == (1.0, 1.0)


def test_gradients_flow_into_both_sides_of_every_pair() -> None:
    """Nothing is detached: each member's gradient is that of the whole loss."""
    world = small.world(CI(alignment=KL(2.0)), "ci")
    total(world.node.settings.losses(world.node, world.batch(), 1)).backward()
    modules = world.networks.modules
    for name in MEMBERS:
        bias = modules[name].classifier.bias
        changed = bias.detach().numpy()  # shares its memory with the parameter

        def loss() -> float:
            logits = {other: world.numpy(other) for other in MEMBERS}
            return sum(expected_terms(logits, world.labels.numpy(), False, 2.0))

        numeric = small.numeric_gradient(loss, changed)
        np.testing.assert_allclose(bias.grad.numpy(), numeric, atol=1e-8)


def test_a_weight_of_its_own_scales_the_alignment() -> None:
    """alignment_weight enters as the term's scale."""
    world = small.world(CI(alignment_weight=0.25), "ci")
    terms = world.node.settings.losses(world.node, world.batch(), 1)
    expected = terms["task"].value + 0.25 * terms["align"].value
    assert float(total(terms).detach()) == pytest.approx(float(expected.detach()))


def test_validation_is_the_task_loss_of_all_members() -> None:
    """The best epoch is the one with the lowest Σ CE, and every member is reported."""
    world = small.world(CI(), "ci")
    values = world.node.settings.validation_loss(world.node, world.batch()).detach().numpy()
    labels = world.labels.numpy()
    expected = sum(small.cross_entropy(world.numpy(name), labels) for name in MEMBERS)
    np.testing.assert_allclose(values, expected)
    assert world.node.settings.reported(world.node) == MEMBERS


@pytest.mark.parametrize("dense", [False, True])
def test_with_detach_the_one_that_is_learned_from_gets_no_gradient(dense: bool) -> None:
    """Each member moves towards the others as if these were fixed; values stay the same."""
    world = small.world(CI(alignment=KL(2.0), detach=True), "ci", dense=dense)
    terms = world.node.settings.losses(world.node, world.batch(), 1)
    total(terms).backward()
    labels = world.labels.numpy()
    fixed = {name: world.numpy(name) for name in MEMBERS}
    _, align = expected_terms(fixed, labels, dense, 2.0)
    assert float(terms["align"].value.detach()) == pytest.approx(align, abs=1e-12)
    for name in MEMBERS:
        bias = world.networks.modules[name].classifier.bias

        def loss(name: str = name) -> float:
            own = world.numpy(name)
            value = small.per_sample(small.cross_entropy(own, labels), labels, dense).mean()
            for other in MEMBERS:
                if other != name:
                    values = small.kl(fixed[other], own, 2.0)
                    value += small.per_sample(values, labels, dense).mean()
            return value

        numeric = small.numeric_gradient(loss, bias.detach().numpy())
        np.testing.assert_allclose(bias.grad.numpy(), numeric, atol=1e-8)


def test_the_last_stage_of_a_student_selects_by_the_student() -> None:
    """In mutual learning the best epoch is its own; it trains as all members' all the same."""
    world = small.world(CI(), "ci")
    node = replace(world.node, student="s")
    values = node.settings.validation_loss(node, world.batch()).detach().numpy()
    labels = world.labels.numpy()
    np.testing.assert_allclose(values, small.cross_entropy(world.numpy("s"), labels))
    task = node.settings.losses(node, world.batch(), 1)["task"].value
    expected = sum(small.cross_entropy(world.numpy(name), labels).mean() for name in MEMBERS)
    assert float(task.detach()) == pytest.approx(expected, abs=1e-12)
    # And with ``select = 'metric'``, by its metric.
    assert node.settings.selecting(node) == ("s",)
    assert world.node.settings.selecting(world.node) == MEMBERS


def test_peers_can_count_by_their_mean() -> None:
    """1/(K − 1) Σ KL over the others, as in deep mutual learning; with two members all is one."""
    summed = small.world(CI(detach=True), "ci")
    mean = small.world(CI(detach=True, average_peers=True), "ci")
    terms = [w.node.settings.losses(w.node, w.batch(), 1)["align"].value for w in (summed, mean)]
    assert float(terms[0].detach()) == pytest.approx((len(MEMBERS) - 1) * float(terms[1].detach()))
    pair = replace(summed.node, mutual=summed.node.mutual[:1])
    one, other = (w.node.settings.losses(pair, w.batch(), 1)["align"].value for w in (summed, mean))
    assert float(one.detach()) == float(other.detach())
