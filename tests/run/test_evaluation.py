"""Evaluation of a split in batches equals one batch, and leaves no trace."""

from __future__ import annotations

import pytest
import torch
import training_worlds as small

from mstgraph.run.evaluation import evaluate
from mstgraph.run.networks import Networks

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("workspace")


def setting(experiment: small.Experiment, stage: str):
    """The networks of a stage as they were initialised, and the pool."""
    execution = small.quiet(experiment, "run")
    node = experiment.plan.stages[stage]
    modules = {n: experiment.parts.build(p, "cpu") for n, p in node.parts.items()}
    networks = Networks(modules, experiment.inputs_of, frozenset(node.trains), {})
    return node, networks, execution.pool


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("batch_size", [7, 399, 400])
def test_batches_do_not_matter(batch_size: int) -> None:
    """Loss, metrics and statistics of DKD over the test part: as computed in one go."""
    experiment = small.mfeat("DKD.k = 2")
    node, networks, pool = setting(experiment, "dkd-zer")
    feed = pool.feed("test", ("fou", "zer"))
    (found,) = evaluate([node], networks, feed, experiment.task, batch_size, {})
    ((inputs, labels, _),) = feed.epoch(400)
    with torch.no_grad():
        logits = networks.modules["zer"](inputs["zer"])
        confidence = networks.modules["gate.zer"](logits)
    matrix = experiment.task.accumulator()
    matrix.update(logits, labels)
    losses = small.cross_entropy(logits.numpy(), labels.numpy())
    assert found.loss == pytest.approx(losses.mean(), rel=1e-12)
    assert found.metrics == {"zer": matrix.metrics()}
    assert found.statistics["confidence"] == pytest.approx(confidence.mean(0).tolist())
    chosen = torch.zeros_like(confidence).scatter(1, confidence.topk(2).indices, 0.5)
    assert found.statistics["share"] == pytest.approx(chosen.mean(0).tolist())
    assert found.as_dict()["share"] == found.statistics["share"]


def test_networks_are_evaluated_in_eval_mode_and_left_as_they_were() -> None:
    """No dropout, no batch statistics, no running averages touched."""
    experiment = small.rooms()
    node, networks, pool = setting(experiment, "ci")
    for module in networks.modules.values():
        module.train()
    before = {
        n: {k: t.clone() for k, t in m.state_dict().items()} for n, m in networks.modules.items()
    }
    feed = pool.feed("test", ("rgb", "depth"))
    first = evaluate([node], networks, feed, experiment.task, 2, {})
    second = evaluate([node], networks, feed, experiment.task, 2, {})
    assert first == second
    for name, states in before.items():
        for key, tensor in networks.modules[name].state_dict().items():
            assert torch.equal(tensor, states[key])
