"""The training loop against one written out by hand."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import training_worlds as small
from torch.nn import functional as F

from mstgraph.data.feed import batch_positions
from mstgraph.data.order import epoch_order
from mstgraph.run.evaluation import Evaluation
from mstgraph.run.train import Training
from mstgraph.support.errors import RunError
from mstgraph.support.interrupt import Interrupted

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("workspace")

ALONE = ("graph.alone = True", "CI.epochs = 1", "STA.epochs = 1", "DKD.epochs = 2")


# Learns without a parameter: logits are the distances to a running mean of its inputs.
REMEMBERING = """
import gin
import torch
from torch import nn


@gin.configurable
class Remembering(nn.Module):

    def __init__(self, inputs, num_outputs):
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_outputs))

    def forward(self, values):
        values = values[:, : len(self.mean)]
        if self.training:
            self.mean.lerp_(values.mean(0), 0.1)
        return values - self.mean
"""


def by_hand(
    experiment: small.Experiment, epochs: int, together: int = 1, longest: float | None = None
) -> tuple[torch.nn.Module, list[float]]:
    """Train the student on its task alone, in a plain loop; the best epoch by validation loss.

    Args:
        experiment: the experiment.
        epochs: how many.
        together: batches whose gradients make a step.
        longest: gradients are made as short.
    """
    node = experiment.plan.stages["alone-zer"]
    network = experiment.parts.build(node.parts["zer"], "cpu")
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    pool = small.quiet(experiment, "unused").pool
    ((inputs, labels, _),) = pool.feed("train", ("zer",)).epoch(1200)
    ((valid, truth, _),) = pool.feed("validation", ("zer",)).epoch(400)
    losses, best, best_loss, steps = [], {}, float("inf"), 0
    for epoch in range(1, epochs + 1):
        total = 0.0
        batches = batch_positions(epoch_order(1200, 0, epoch), 128)
        for first in range(0, len(batches), together):
            optimizer.zero_grad()
            for rows in batches[first : first + together]:
                done, steps = steps / (10 * epochs), steps + 1  # 1,200 samples by 128
                optimizer.param_groups[0]["lr"] = 1e-3 * (1 + math.cos(math.pi * done)) / 2
                loss = F.cross_entropy(network(inputs["zer"][rows]), labels[rows])
                loss.backward()
                total += float(loss.detach()) * len(rows)
            gradients = [p.grad for p in network.parameters() if p.grad is not None]
            for gradient in gradients:
                gradient /= len(batches[first : first + together])
            length = math.sqrt(sum(float((g**2).sum()) for g in gradients))
            if longest is not None and length > longest:
                for gradient in gradients:
                    gradient *= longest / length
            optimizer.step()
        losses.append(total / 1200)
        with torch.no_grad():
            value = float(F.cross_entropy(network(valid["zer"]), truth))
        if value < best_loss:
            best_loss, best = value, {n: t.clone() for n, t in network.state_dict().items()}
    network.load_state_dict(best)
    return network, losses


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("together", "longest"), [(1, None), (4, None), (1, 0.05), (3, 0.05)])
def test_a_stage_is_a_plain_training_loop(together: int, longest: float | None) -> None:
    """Same losses, and the weights of the same best epoch; accumulated and clipped ones, too."""
    settings = "DKD.select = 'loss'", f"DKD.accumulate = {together}", f"DKD.clip = {longest}"
    experiment = small.mfeat(*ALONE, *settings)
    execution = small.quiet(experiment, "run")
    with execution._ready():
        execution._run_group([experiment.plan.stages["alone-zer"]])
    network, losses = by_hand(experiment, 3, together, longest)
    lines = Path("run/stages/alone-zer/metrics.jsonl").read_text().splitlines()
    found = [json.loads(line)["training"]["task"]["value"] for line in lines]
    tolerance = 1e-6 if longest else 1e-9  # torch adds 1e-6 to the length that it divides by
    assert found == pytest.approx(losses, abs=tolerance)
    left = small.weights_of("run/stages/alone-zer")["zer.safetensors"]
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(left[name], tensor, rtol=0, atol=tolerance)


@pytest.mark.parametrize("place", [4, 12])
def test_a_stop_waits_for_the_step_under_way(place: int) -> None:
    """With all settings that have a state; continued, it comes to the same bits."""
    settings = (
        *("DKD.accumulate = 4", "DKD.clip = 0.1", "DKD.ema = 0.9", "DKD.optimizer = @NAdam"),
        *("DKD.rates = {'hidden1': 0.1}", "graph.alone = False", "NAdam.weight_decay = 0.5"),
        "DKD.decays = {'hidden1': 0.1, 'vectors': 0}",
    )
    experiment = small.mfeat(*ALONE[1:], *settings)
    small.run(experiment, "whole")
    execution = small.quiet(experiment, "stopped")
    told = execution.reporter.batch_done

    def stopping(node: Any, epoch: int, batch: int, sums: Any) -> None:
        told(node, epoch, batch, sums)
        if node.name == "dkd-zer" and 10 * (epoch - 1) + batch == place + 1:
            execution.interrupt.requested = True

    execution.reporter.batch_done = stopping  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        execution.run()
    state = torch.load("stopped/stages/dkd-zer/checkpoint.pt", weights_only=True)
    assert 10 * (state["epoch"] - 1) + state["batch"] == {4: 8, 12: 14}[place]
    decays = [group["weight_decay"] for group in state["optimizer"]["param_groups"]]
    assert {round(decay, 6) for decay in decays} == {0.5, 0.05, 0.0}
    small.run(experiment, "stopped")
    small.assert_weights("whole", "stopped")


@pytest.mark.usefixtures("float64")
def test_a_decaying_rate_reaches_the_optimiser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step takes the rate of its place, from the first to the last of all epochs."""
    seen: list[float] = []
    step = torch.optim.Adam.step

    def noted(self: torch.optim.Adam, *arguments: object) -> object:
        seen.append(self.param_groups[0]["lr"])
        return step(self, *arguments)

    monkeypatch.setattr(torch.optim.Adam, "step", noted)
    decay = "DKD.epochs = 4", "DKD.schedule = @PolynomialDecay()", "PolynomialDecay.power = 1.0"
    small.run(small.mfeat(*ALONE[1:], "graph.alone = False", *decay), "run")
    batches = 10  # 1,200 samples by 128
    steps = 4 * batches
    expected = [1e-3 * (1 - step / steps) for step in range(steps)]
    assert seen[-len(expected) :] == pytest.approx(expected)


@pytest.mark.parametrize("select", ["loss", "metric", "last"])
def test_which_epoch_is_kept(select: str) -> None:
    """Lowest loss, highest metric, or the last; the first of equals."""
    experiment = small.mfeat(
        *ALONE, "DKD.epochs = 8", "DKD.learning_rate = 0.3", f"DKD.select = '{select}'"
    )
    small.run(experiment, "run")
    lines = Path("run/stages/dkd-zer/metrics.jsonl").read_text().splitlines()
    records = [json.loads(line)["validation"] for line in lines]
    losses = [record["loss"] for record in records]
    metrics = [record["metrics"]["zer"]["OA"] for record in records]
    expected = {"loss": losses.index(min(losses)), "metric": metrics.index(max(metrics)), "last": 7}
    artefact = json.loads(Path("run/stages/dkd-zer/artefact.json").read_text())
    assert artefact["best_epoch"] == expected[select] + 1


@pytest.mark.parametrize("select", ["loss", "metric"])
def test_the_weights_before_the_first_epoch_may_be_kept(select: str) -> None:
    """A student that only gets worse leaves with what it came with; so do its metrics."""
    bindings = ("DKD.epochs = 2", "DKD.learning_rate = 10.0", f"DKD.select = '{select}'")
    small.run(small.mfeat(*ALONE, *bindings, "DKD.start_counts = True"), "run")
    artefact = json.loads(Path("run/stages/dkd-zer/artefact.json").read_text())
    assert (artefact["best_epoch"], artefact["epochs"]) == (0, 2)
    before = small.weights_of("run/stages/ci")["zer.safetensors"]
    after = small.weights_of("run/stages/dkd-zer")["zer.safetensors"]
    assert all(torch.equal(before[name], after[name]) for name in before)
    first = json.loads(Path("run/stages/dkd-zer/metrics.jsonl").read_text().splitlines()[0])
    assert first["epoch"] == 0
    assert first["validation"]["metrics"] == artefact["validation"]["metrics"]
    ci = json.loads(Path("run/stages/ci/artefact.json").read_text())
    assert artefact["test"]["metrics"]["zer"] == ci["test"]["metrics"]["zer"]


def test_patience_ends_a_stage_that_gets_no_better() -> None:
    """After so many epochs without a better one it is over; the next stage goes on."""
    bindings = ("DKD.epochs = 30", "DKD.learning_rate = 10.0", "DKD.patience = 2")
    bindings += ("DKD.select = 'loss'",)
    small.run(small.mfeat(*ALONE, *bindings), "run")
    artefact = json.loads(Path("run/stages/dkd-zer/artefact.json").read_text())
    assert artefact["epochs"] == artefact["best_epoch"] + 2 < 30


def test_a_validation_that_is_no_number_fails_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else no epoch would be the best and the last one's weights would pass for it."""
    end = Training.end_epoch

    def broken(self: Training, result: Evaluation) -> None:
        end(self, Evaluation(float("nan"), result.metrics, result.statistics))

    monkeypatch.setattr(Training, "end_epoch", broken)
    words = "stage ci: the validation 'loss' is nan in epoch 1; try a smaller CI.learning_rate"
    with pytest.raises(RunError, match=words):
        small.run(small.mfeat(*ALONE), "run")


def test_training_loss_is_weighted_by_samples() -> None:
    """A last, smaller batch counts by its size: the mean over samples, not over batches."""
    experiment = small.mfeat(*ALONE, "data.batch_size = 900", "DKD.learning_rate = 1e-12")
    small.run(experiment, "run")
    line = Path("run/stages/alone-zer/metrics.jsonl").read_text().splitlines()[0]
    node = experiment.plan.stages["alone-zer"]
    network = experiment.parts.build(node.parts["zer"], "cpu")
    pool = small.quiet(experiment, "unused").pool
    ((inputs, labels, _),) = pool.feed("train", ("zer",)).epoch(1200)
    with torch.no_grad():
        expected = float(F.cross_entropy(network(inputs["zer"]), labels))
    value = json.loads(line)["training"]["task"]["value"]
    assert value == pytest.approx(expected, rel=1e-5)


def test_training_loss_is_weighted_by_labelled_samples() -> None:
    """Seven labels in ten batches: one without any does not count as a loss of 0."""
    experiment = small.mfeat("data.labelled = 7", "DKD.epochs = 1", "DKD.learning_rate = 1e-12")
    execution = small.quiet(experiment, "run")
    execution.run_group(["alone-zer"])
    line = Path("run/stages/alone-zer/metrics.jsonl").read_text().splitlines()[0]
    network = experiment.parts.build(experiment.plan.stages["alone-zer"].parts["zer"], "cpu")
    feed = execution.pool.feed("train", ("zer",))
    assert any((labels < 0).all() for _, labels, _ in feed.epoch(128, feed.order(0, 1)))
    ((inputs, labels, _),) = feed.epoch(1200)
    known = labels.numpy() >= 0
    with torch.no_grad():
        logits = network(inputs["zer"][known]).numpy()
    expected = small.cross_entropy(logits, labels.numpy()[known]).mean()
    value = json.loads(line)["training"]["task"]["value"]
    assert known.sum() == 7
    assert value == pytest.approx(expected, rel=1e-5)


def test_a_stage_whose_parts_have_buffers_alone() -> None:
    """It has no optimiser, learns, and comes to the same buffers after a stop."""
    Path("remembering.py").write_text(REMEMBERING)
    network = ("import remembering", "zer/Member.network = @Remembering")
    bindings = (*ALONE, *network, "zer/Member.mutual = ()")
    small.run(small.mfeat(*bindings), "whole")
    stopped = small.quiet(small.mfeat(*bindings), "run")
    done = stopped.reporter.batch_done

    def ask(*arguments: Any) -> None:
        done(*arguments)
        node, epoch, batch, _ = arguments
        stopped.interrupt.requested = (node.name, epoch, batch) == ("alone-zer", 1, 4)

    stopped.reporter.batch_done = ask
    with pytest.raises(Interrupted):
        stopped.run()
    state = torch.load("run/stages/alone-zer/checkpoint.pt", weights_only=True)
    assert (state["batch"], state["optimizer"]) == (4, {})
    assert state["parts"]["zer"]["mean"].abs().min() > 0
    small.run(small.mfeat(*bindings), "run")
    small.assert_weights("run", "whole")
    assert (small.weights_of("run/stages/alone-zer")["zer.safetensors"]["mean"] != 0).all()
