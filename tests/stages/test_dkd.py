"""Dynamic knowledge distillation against Eq. 11–18 in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import training_worlds as small

from mstgraph.distil.gate import Gate
from mstgraph.methods.kl import KL
from mstgraph.run.train import total
from mstgraph.stages.dkd import DKD

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("float64")

TEACHERS = len(small.DEFAULT_TEACHERS)
EVERYBODY = [f"{member}.{point}".strip(".") for member, point in small.DEFAULT_TEACHERS]


def numpy_confidence(world: small.World) -> np.ndarray:
    """Eq. 11–12 for a classifier: two linear layers, a ReLU between, a softmax."""
    gate = world.networks.modules["gate"]
    first, last = gate.hidden[0], gate.classifier
    hidden = world.numpy("s") @ first.weight.detach().numpy().T + first.bias.detach().numpy()
    scores = np.maximum(hidden, 0) @ last.weight.detach().numpy().T + last.bias.detach().numpy()
    return np.exp(small.log_softmax(scores))


def confidence_of(world: small.World, dense: bool) -> np.ndarray:
    """The gate's confidence; a dense gate is tested in a place of its own."""
    if not dense:
        return numpy_confidence(world)
    with torch.no_grad():
        return world.networks.modules["gate"](torch.from_numpy(world.numpy("s"))).numpy()


def expected_terms(world: small.World, dense: bool, k: int) -> dict[str, float]:
    """ℓ_S (Eq. 15), ℓ_DKD (Eq. 13, 14) and both load balances, one loop over samples."""
    labels, student = world.labels.numpy(), world.numpy("s")
    confidence = confidence_of(world, dense)
    divergences = [
        small.per_sample(small.kl(world.numpy(t.name), student, 4.0), labels, dense)
        for t in world.node.teachers
    ]
    distill = 0.0
    for sample, scores in enumerate(confidence):
        best = sorted(range(TEACHERS), key=lambda j, scores=scores: -scores[j])[:k]
        distill += sum(divergences[j][sample] for j in best)
    mean = confidence.mean(axis=0)
    loads = confidence.sum(axis=0)
    return {
        "task": small.per_sample(small.cross_entropy(student, labels), labels, dense).mean(),
        "distill": distill / len(confidence),
        "kl": sum(1 / TEACHERS * np.log(1 / TEACHERS / c) for c in mean),
        "cv": loads.std(ddof=1) / loads.mean(),
    }


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("k", [1, 2, 3, 4])
@pytest.mark.parametrize("balance", ["kl", "cv"])
@pytest.mark.parametrize("keep", [(), EVERYBODY], ids=["routed", "kept"])
def test_terms_equal_the_equations(dense: bool, k: int, balance: str, keep: list[str]) -> None:
    """The sum over the k selected teachers, not their mean and not weighted by confidence."""
    world = small.world(DKD(k=k, balance=balance), "dkd", dense=dense, keep=keep)
    terms = world.node.settings.losses(world.node, world.batch(), 1)
    expected = expected_terms(world, dense, k)
    for name, value in {**expected, "balance": expected[balance]}.items():
        if name in terms:
            assert float(terms[name].value.detach()) == pytest.approx(value, abs=1e-12), name
    assert set(terms) == {"task", "distill", "balance"}


def test_weights_follow_the_papers_schedule() -> None:
    """λ1 halves after every 30 epochs, λ2 loses a tenth after every 10 (Eq. 18, Section 4.1)."""
    world = small.world(DKD(distillation_weight=2.0, balance_weight=3.0), "dkd")
    for epoch in (1, 10, 11, 30, 31, 60, 61, 90, 91, 100):
        terms = world.node.settings.losses(world.node, world.batch(), epoch)
        assert terms["task"].scale == 1.0
        assert terms["distill"].scale == pytest.approx(2 * 0.5 ** ((epoch - 1) // 30))
        assert terms["balance"].scale == pytest.approx(3 * 0.9 ** ((epoch - 1) // 10))
        loss = sum(term.scale * float(term.value.detach()) for term in terms.values())
        assert float(total(terms).detach()) == pytest.approx(loss)


@pytest.mark.parametrize("keep", [(), EVERYBODY], ids=["routed", "kept"])
@pytest.mark.parametrize(
    ("term", "parts"),
    [("task", {"s"}), ("distill", {"s"}), ("balance", {"s", "gate"})],
)
def test_who_gets_a_gradient_from_what(keep: list[str], term: str, parts: set[str]) -> None:
    """Distillation sends none to the gate; balance reaches the student; teachers get none."""
    world = small.world(DKD(), "dkd", keep=keep)
    world.node.settings.losses(world.node, world.batch(), 1)[term].value.backward()
    assert {name for name, size in world.gradients().items() if size > 0} == parts


def test_a_detached_gate_sends_nothing_to_the_student() -> None:
    """Gate.detach cuts the way from the load balance to the student."""
    gate = lambda: Gate(small.CLASSES, TEACHERS, False, detach=True)  # noqa: E731
    world = small.world(DKD(), "dkd", gate=gate)
    world.node.settings.losses(world.node, world.batch(), 1)["balance"].value.backward()
    assert set(world.gradients()) == {"gate"}


def test_the_students_gradient_is_that_of_the_whole_loss() -> None:
    """Against central differences, at a place where routing does not change."""
    world = small.world(DKD(k=2), "dkd")
    total(world.node.settings.losses(world.node, world.batch(), 1)).backward()
    bias = world.networks.modules["s"].classifier.bias

    def loss() -> float:
        terms = expected_terms(world, False, 2)
        return terms["task"] + terms["distill"] + terms["kl"]

    numeric = small.numeric_gradient(loss, bias.detach().numpy())
    np.testing.assert_allclose(bias.grad.numpy(), numeric, atol=1e-7)


def test_an_image_is_routed_as_a_whole() -> None:
    """One choice per image; statistics are means over images."""
    world = small.world(DKD(k=2), "dkd", dense=True)
    values = world.node.settings.statistics(world.node, world.batch())
    confidence = confidence_of(world, True)
    np.testing.assert_allclose(values["confidence"].detach().numpy(), confidence)
    chosen = np.zeros_like(confidence)
    for sample, scores in enumerate(confidence):
        chosen[sample, np.argsort(-scores)[:2]] = 0.5
    np.testing.assert_allclose(values["share"].detach().numpy(), chosen)
    assert values["share"].shape == (small.BATCH, TEACHERS)


@pytest.mark.parametrize("keep", [(), EVERYBODY], ids=["routed", "kept"])
def test_ignored_pixels_have_no_part_in_task_and_distillation(keep: list[str]) -> None:
    """Logits at unlabelled pixels get no gradient from either term."""
    world = small.world(DKD(k=2), "dkd", dense=True, keep=keep)
    batch = world.batch()
    logits = batch.response("s")
    logits.retain_grad()
    terms = world.node.settings.losses(world.node, batch, 1)
    (terms["task"].value + terms["distill"].value).backward()
    ignored = (world.labels == small.IGNORED)[:, None].expand_as(logits)
    assert logits.grad[ignored].abs().max() == 0
    assert logits.grad[~ignored].abs().min() > 0


@pytest.mark.parametrize("k", [0, 5])
def test_a_k_that_is_no_number_of_teachers_is_refused(k: int) -> None:
    """The sentence says how many there are and names them."""
    world = small.world(DKD(k=k), "dkd")
    parameter, words = world.node.settings.problem(world.node)
    assert parameter == "k"
    assert words == f"is {k}, expected 1 to N = 4 teachers (f.joint, f.hidden, t.hidden, t)"


def test_an_unknown_balance_is_refused() -> None:
    """With the nearest name."""
    world = small.world(DKD(balance="kv"), "dkd")
    assert world.node.settings.problem(world.node)[1].startswith("is 'kv'; did you mean")


def test_edge_losses_may_differ() -> None:
    """Each teacher's own loss is used for the samples that chose it."""
    losses = [KL(1.0), KL(2.0), KL(3.0), KL(4.0, temperature_squared=True)]
    results = []
    for keep in ((), EVERYBODY):
        world = small.world(DKD(k=2), "dkd", losses=losses, keep=keep)
        terms = world.node.settings.losses(world.node, world.batch(), 1)
        results.append(float(terms["distill"].value.detach()))
    student, confidence = world.numpy("s"), numpy_confidence(world)
    values = [
        small.kl(world.numpy(t.name), student, t.loss.temperature)
        * (t.loss.temperature**2 if t.loss.temperature_squared else 1)
        for t in world.node.teachers
    ]
    expected = np.mean(
        [sum(values[j][b] for j in np.argsort(-c)[:2]) for b, c in enumerate(confidence)]
    )
    assert results == pytest.approx([expected, expected], abs=1e-12)


ROUTINGS = ("top-k", "mean", "confidence")


def divergences_of(world: small.World, dense: bool, temperature: float = 4.0) -> np.ndarray:
    """KL(teacher ‖ student) of each sample and teacher, [batch, N]."""
    labels, student = world.labels.numpy(), world.numpy("s")
    columns = [
        small.per_sample(small.kl(world.numpy(t.name), student, temperature), labels, dense)
        for t in world.node.teachers
    ]
    return np.stack(columns, 1)


def term_of(world: small.World, name: str) -> float:
    """The value of a loss term."""
    terms = world.node.settings.losses(world.node, world.batch(), 1)
    return float(terms[name].value.detach())


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("keep", [(), EVERYBODY], ids=["routed", "kept"])
def test_all_teachers_may_teach_with_weights(dense: bool, keep: list[str]) -> None:
    """Equally (1/N each), or by the gate's confidence; never a number of the batch as a whole."""
    made = {r: small.world(DKD(routing=r), "dkd", dense=dense, keep=keep) for r in ROUTINGS}
    values = divergences_of(made["mean"], dense)
    confidence = confidence_of(made["confidence"], dense)
    assert term_of(made["mean"], "distill") == pytest.approx(values.mean(), abs=1e-12)
    expected = np.mean([c @ v for c, v in zip(confidence, values, strict=True)])
    assert term_of(made["confidence"], "distill") == pytest.approx(expected, abs=1e-12)
    assert abs(expected - values.mean()) > 1e-6, "the two must be told apart"
    everybody = small.world(DKD(k=TEACHERS), "dkd", dense=dense, keep=keep)
    assert term_of(everybody, "distill") == pytest.approx(TEACHERS * values.mean(), abs=1e-12)


def test_edge_losses_may_differ_with_weights_too() -> None:
    """Each teacher's own loss, times its weight."""
    losses = [KL(1.0), KL(2.0), KL(3.0), KL(4.0, temperature_squared=True)]
    for keep in ((), EVERYBODY):
        made = small.world(DKD(routing="confidence"), "dkd", losses=losses, keep=keep)
        student, confidence = made.numpy("s"), numpy_confidence(made)
        expected = 0.0
        for j, teacher in enumerate(made.node.teachers):
            factor = 16.0 if j == 3 else 1.0
            values = factor * small.kl(made.numpy(teacher.name), student, teacher.loss.temperature)
            expected += (confidence[:, j] * values).mean()
        assert term_of(made, "distill") == pytest.approx(expected, abs=1e-12)


def test_only_a_gate_that_routes_is_balanced() -> None:
    """The mean has no use for a gate: no balance term, no gradient for it."""
    made = {routing: small.world(DKD(routing=routing), "dkd") for routing in ROUTINGS}
    sets = {r: set(w.node.settings.losses(w.node, w.batch(), 1)) for r, w in made.items()}
    assert sets["mean"] == {"task", "distill"}
    assert sets["top-k"] == sets["confidence"] == {"task", "distill", "balance"}
    world = small.world(DKD(routing="mean"), "dkd")
    total(world.node.settings.losses(world.node, world.batch(), 1)).backward()
    assert set(world.gradients()) == {"s"}


@pytest.mark.parametrize("routing", ROUTINGS)
@pytest.mark.parametrize("keep", [(), EVERYBODY], ids=["routed", "kept"])
def test_the_gate_gets_no_gradient_from_distillation(routing: str, keep: list[str]) -> None:
    """As in the paper: whatever the routing, what the gate learns is the balance alone."""
    world = small.world(DKD(routing=routing), "dkd", keep=keep)
    terms = world.node.settings.losses(world.node, world.batch(), 1)
    assert "gate" not in terms
    terms["distill"].value.backward()
    assert {name for name, size in world.gradients().items() if size > 0} == {"s"}


@pytest.mark.parametrize("routing", ["mean", "confidence"])
def test_the_students_gradient_with_weights(routing: str) -> None:
    """Against central differences, the weights held fixed."""
    world = small.world(DKD(routing=routing), "dkd")
    world.node.settings.losses(world.node, world.batch(), 1)["distill"].value.backward()
    bias = world.networks.modules["s"].classifier.bias
    fixed = numpy_confidence(world) if routing == "confidence" else np.full((1, 4), 0.25)

    def loss() -> float:
        return float((fixed * divergences_of(world, False)).sum(1).mean())

    numeric = small.numeric_gradient(loss, bias.detach().numpy())
    np.testing.assert_allclose(bias.grad.numpy(), numeric, atol=1e-8)


@pytest.mark.parametrize("dense", [False, True])
def test_statistics_are_the_weights_that_teachers_have(dense: bool) -> None:
    """Shares add up to one, of whichever routing."""
    for routing in ROUTINGS:
        world = small.world(DKD(routing=routing, k=2), "dkd", dense=dense)
        found = world.node.settings.statistics(world.node, world.batch())
        confidence = confidence_of(world, dense)
        np.testing.assert_allclose(found["confidence"].detach().numpy(), confidence)
        share = found["share"].detach().numpy()
        np.testing.assert_allclose(share.sum(1), 1.0)
        if routing == "mean":
            assert (share == 1 / TEACHERS).all()
        if routing == "confidence":
            np.testing.assert_allclose(share, confidence)


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("keep", [(), EVERYBODY], ids=["routed", "kept"])
def test_the_gates_own_loss_is_the_expected_loss_of_its_choice(
    dense: bool, keep: list[str]
) -> None:
    """Σ_j C_j (ℓ_j + CE_j), averaged over the batch; with the weight that it is given."""
    world = small.world(DKD(gate_weight=0.3), "dkd", dense=dense, keep=keep)
    terms = world.node.settings.losses(world.node, world.batch(), 50)
    labels = world.labels.numpy()
    tasks = [
        small.per_sample(small.cross_entropy(world.numpy(t.name), labels), labels, dense)
        for t in world.node.teachers
    ]
    values = divergences_of(world, dense) + np.stack(tasks, 1)
    expected = (confidence_of(world, dense) * values).sum(1).mean()
    assert float(terms["gate"].value.detach()) == pytest.approx(expected, abs=1e-12)
    assert terms["gate"].scale == 0.3, "it does not decay"
    plain = small.world(DKD(), "dkd", dense=dense, keep=keep)
    others = plain.node.settings.losses(plain.node, plain.batch(), 50)
    assert set(terms) - set(others) == {"gate"}
    for name, term in others.items():
        assert float(terms[name].value.detach()) == float(term.value.detach())


@pytest.mark.parametrize("gate_detached", [False, True])
def test_the_gates_own_loss_trains_the_gate_alone(gate_detached: bool) -> None:
    """Neither student nor teacher; towards the teachers with the smaller loss."""
    gate = lambda: Gate(small.CLASSES, TEACHERS, False, detach=gate_detached)  # noqa: E731
    world = small.world(DKD(gate_weight=1.0), "dkd", gate=gate)
    world.node.settings.losses(world.node, world.batch(), 1)["gate"].value.backward()
    assert {name for name, size in world.gradients().items() if size > 0} == {"gate"}
    before = term_of(world, "gate")
    with torch.no_grad():
        for parameter in world.networks.modules["gate"].parameters():
            parameter -= 0.05 * parameter.grad
    assert term_of(world, "gate") < before


def test_validation_asks_no_teacher() -> None:
    """The student's cross-entropy and the gate's statistics; the names say so beforehand."""
    world = small.world(DKD(gate_weight=1.0), "dkd")
    asked = []
    for name in ("f", "t"):
        world.networks.modules[name].register_forward_pre_hook(
            lambda _module, _inputs, name=name: asked.append(name)
        )
    stage, batch = world.node.settings, world.batch()
    values = stage.validation_loss(world.node, batch).detach().numpy()
    stage.statistics(world.node, batch)
    expected = small.cross_entropy(world.numpy("s"), world.labels.numpy())
    np.testing.assert_allclose(values, expected)
    assert asked == []
    assert stage.validated(world.node) == stage.reported(world.node) == ("s",)


def test_an_unknown_routing_is_refused() -> None:
    """With the nearest name; a weight must not be negative."""
    world = small.world(DKD(routing="topk"), "dkd")
    assert world.node.settings.problem(world.node) == (
        "routing",
        "is 'topk'; did you mean 'top-k'? (valid: confidence, correctness, mean, top-k)",
    )
    world = small.world(DKD(gate_weight=-1.0), "dkd")
    assert world.node.settings.problem(world.node) == (
        "gate_weight",
        "is -1.0, expected at least 0",
    )
