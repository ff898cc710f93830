"""Averages of weights, against one written out by hand, and whatever stops the run."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_worlds as small
from torch import nn
from torch.nn import functional as F

from mstgraph.data.order import epoch_order
from mstgraph.run.averaging import Average
from mstgraph.stages.pretrain import Pretrain
from mstgraph.stages.salience import Salience
from mstgraph.support.interrupt import Interrupted

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("workspace")

# The student alone is the only stage that is looked at; the others are as short as can be.
SHORT = (
    "graph.teachers = 'none'",
    "data.batch_size = 400",
    "Pretrain.epochs = 3",
    "Pretrain.learning_rate = 1e-2",
    "Pretrain.schedule = @ConstantRate()",
)
EMA = (*SHORT, "Pretrain.ema = 0.6")
STAGE = "pretrain-zer"


def records(folder: str) -> list[dict[str, Any]]:
    """What a stage reported, epoch by epoch."""
    lines = Path(folder, "stages", STAGE, "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_the_average_equals_the_weighted_sum_of_all_steps() -> None:
    """The plain mean at first, then α × old + (1 − α) × new; counters are the latest."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2)).double()
    average = Average({"s": module}, 0.75, {}, 0)
    seen: list[np.ndarray] = []
    expected = np.zeros(())
    for step in range(1, 9):
        with torch.no_grad():
            module[0].bias.normal_()
            module[1].running_mean.normal_()
            module[1].num_batches_tracked.fill_(step)
        average.update()
        seen.append(torch.cat([module[0].bias, module[1].running_mean]).detach().numpy().copy())
        alpha = min(0.75, 1 - 1 / step)
        expected = alpha * expected + (1 - alpha) * seen[-1]
        found = average.states["s"]
        together = torch.cat([found["0.bias"], found["1.running_mean"]]).numpy()
        np.testing.assert_allclose(together, expected, atol=1e-12)
        if step <= 4:
            np.testing.assert_allclose(together, np.mean(seen, axis=0), atol=1e-12)
        assert found["1.num_batches_tracked"] == step


def test_parts_have_the_average_only_while_it_is_in_place() -> None:
    """And get back, bit for bit, what they had, also after an error."""
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    average = Average({"s": layer}, 0.5, {}, 0)
    average.update()
    with torch.no_grad():
        layer.weight.normal_()
    average.update()
    before, mean = layer.weight.detach().clone(), average.states["s"]["weight"].clone()
    with average.in_place():
        assert torch.equal(layer.weight, mean)
    assert torch.equal(layer.weight, before)
    with suppress(KeyError), average.in_place():
        raise KeyError
    assert torch.equal(layer.weight, before)
    assert torch.equal(average.states["s"]["weight"], mean)


def by_hand(experiment: small.Experiment, decay: float) -> list[tuple[float, nn.Module]]:
    """Train the student in a plain loop; validation loss and averaged network of each epoch."""
    node = experiment.plan.stages[STAGE]
    network, averaged = (experiment.parts.build(node.parts["zer"], "cpu") for _ in range(2))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    pool = small.quiet(experiment, "unused").pool
    ((inputs, labels, _),) = pool.feed("train", ("zer",)).epoch(1200)
    ((valid, truth, _),) = pool.feed("validation", ("zer",)).epoch(400)
    found, steps = [], 0
    for epoch in range(1, 4):
        for rows in torch.as_tensor(epoch_order(1200, 0, epoch)).split(400):
            optimizer.zero_grad()
            F.cross_entropy(network(inputs["zer"][rows]), labels[rows]).backward()
            optimizer.step()
            steps += 1
            alpha = min(decay, 1 - 1 / steps)
            with torch.no_grad():
                for mean, new in zip(averaged.parameters(), network.parameters(), strict=True):
                    mean.copy_(alpha * mean + (1 - alpha) * new)
        with torch.no_grad():
            found.append(float(F.cross_entropy(averaged(valid["zer"]), truth)))
    return list(zip(found, [averaged] * 3, strict=True))


@pytest.mark.usefixtures("float64")
def test_the_average_is_what_is_validated_and_left_and_training_is_as_without() -> None:
    """Validation losses and the last weights against a plain loop; training losses unchanged."""
    experiment = small.mfeat(*EMA, "Pretrain.select = 'last'")
    small.run(experiment, "run")
    small.run(small.mfeat(*SHORT), "without")
    expected = by_hand(experiment, 0.6)
    losses = [record["validation"]["loss"] for record in records("run")]
    assert losses == pytest.approx([loss for loss, _ in expected], abs=1e-9)
    left = small.weights_of(f"run/stages/{STAGE}")["zer.safetensors"]
    for name, tensor in expected[-1][1].state_dict().items():
        torch.testing.assert_close(left[name], tensor, rtol=0, atol=1e-9)
    training = [[r["training"] for r in records(folder)] for folder in ("run", "without")]
    assert training[0] == training[1]
    plain = [record["validation"]["loss"] for record in records("without")]
    assert max(abs(a - b) for a, b in zip(plain, losses, strict=True)) > 1e-3


@pytest.mark.parametrize("kill", [True, False], ids=["killed", "asked"])
def test_a_stopped_run_comes_to_the_same_bits(kill: bool) -> None:
    """In the middle of an epoch: the average and its number of steps are in the checkpoint."""
    small.run(small.mfeat(*EMA), "whole")
    stopped = small.quiet(small.mfeat(*EMA), "run")
    done = stopped.reporter.batch_done

    def act(*arguments: Any) -> None:
        done(*arguments)
        node, epoch, batch, _ = arguments
        if (node.name, epoch, batch) == (STAGE, 2, 2):
            if kill:
                raise KeyboardInterrupt
            stopped.interrupt.requested = True

    stopped.reporter.batch_done = act
    with pytest.raises(KeyboardInterrupt if kill else Interrupted):
        stopped.run()
    if not kill:
        state = torch.load(f"run/stages/{STAGE}/checkpoint.pt", weights_only=True)
        assert state["averaged"] == 5  # three batches of the first epoch, two of the second
        assert set(state["average"]) == {"zer"}
    small.run(small.mfeat(*EMA), "run")
    small.assert_weights("run", "whole")
    drop = [[{**r, "seconds": 0} for r in records(folder)] for folder in ("run", "whole")]
    assert drop[0] == drop[1]


def test_stages_of_a_group_have_an_average_each() -> None:
    """MaskNets, the gate and maps too; asked to stop in the middle of a group, then as one."""
    shared = (*small.ONE_MASK, "graph.alone = False")
    bindings = (*shared, "CI.ema = 0.5", "STA.ema = 0.6", "DKD.ema = 0.7")
    small.run(small.rooms(*bindings), "whole")
    small.run(small.rooms(*shared), "without")
    stopped = small.quiet(small.rooms(*bindings), "run")
    done = stopped.reporter.batch_done

    def act(*arguments: Any) -> None:
        done(*arguments)
        node, epoch, batch, _ = arguments
        if (node.kind, epoch, batch) == ("sta", 2, 2):
            stopped.interrupt.requested = True

    stopped.reporter.batch_done = act
    with pytest.raises(Interrupted):
        stopped.run()
    small.run(small.rooms(*bindings), "run")
    small.assert_weights("run", "whole")
    with pytest.raises(AssertionError, match="differs"):
        small.assert_weights("whole", "without")


def test_without_an_average_nothing_is_kept_of_one() -> None:
    """A decay that forgets all at once comes to what there is without."""
    small.run(small.mfeat(*SHORT), "without")
    small.run(small.mfeat(*SHORT, "Pretrain.ema = 1e-12"), "forgetful")
    small.assert_weights("without", "forgetful", tolerance=1e-6)


def test_the_student_alone_is_averaged_as_the_distilled_one_is() -> None:
    """A fair control has the same rule."""
    stages = small.mfeat("DKD.ema = 0.9").plan.stages
    assert stages["dkd-zer"].settings.ema == stages["alone-zer"].settings.ema == 0.9
    assert stages["ci"].settings.ema is None


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.5, float("nan")])
def test_a_decay_without_sense_is_refused(decay: float) -> None:
    """As one that keeps nothing, or everything."""
    settings = Pretrain(ema=decay)
    problem = settings.problem(small.world(settings, "pretrain").node)
    assert problem == ("ema", f"is {decay}, expected more than 0 and less than 1, or None")


def test_a_stage_that_measures_has_nothing_to_average() -> None:
    """Salience has no step that goes back and forth."""
    settings = Salience(ema=0.9)
    problem = settings.problem(small.world(settings, "sta").node)
    assert problem == ("ema", "is 0.9, expected None: what is measured here is a mean already")
