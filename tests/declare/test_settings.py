"""The engine changes how long a run takes and nothing else: with it and without, same weights."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import training_worlds as small
from tiny_graphs import METHODS, SHORT
from torch import Tensor

from mstgraph.declare.settings import Engine
from mstgraph.derive.keeping.passes import group_stages
from mstgraph.networks.mlp import MLP
from mstgraph.run.keeper import Keeper

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("workspace")

OFF = "engine.cache = False"
PLACES = {
    "memory": (),
    "disk": ("engine.memory_gigabytes = 0", "engine.disk_gigabytes = 1"),
    "recompute": ("engine.memory_gigabytes = 0", "engine.disk_gigabytes = 0"),
}
# No mutual edges and no gate: pretrain and distill take the places of ci and dkd.
PLAIN = ("Member.mutual = ()", "graph.gate = None", "Distill.epochs = 2", "Pretrain.epochs = 1")
GRAPHS = {"mst": (), "mst, k = 2": ("DKD.k = 2",), "distill": PLAIN}


def opened(task: str, *bindings: str) -> Any:
    """An experiment over vectors, or over maps; of these without the student alone."""
    if task == "vectors":
        return small.mfeat("STA.learning_rate = 0.01", *bindings)
    return small.rooms("graph.alone = False", *bindings)


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that runs a graph without the engine, once per graph."""

    @cache
    def run(task: str, graph: str) -> Path:
        path = tmp_path_factory.mktemp("off") / "run"
        small.run(opened(task, OFF, *GRAPHS[graph]), path)
        return path

    return run


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("task", "graph", "place"),
    [
        *(("vectors", "mst", place) for place in PLACES),
        ("vectors", "distill", "disk"),
        *(("maps", "mst, k = 2", place) for place in PLACES),
        ("maps", "distill", "memory"),
    ],
)
def test_weights_are_those_of_a_run_without_the_engine(
    task: str, graph: str, place: str, references: Any
) -> None:
    """Every stage of a run in double precision, wherever constants are kept, to 1e-9."""
    experiment = opened(task, *GRAPHS[graph], *PLACES[place])
    execution = small.quiet(experiment, "on")
    execution.run()
    small.assert_weights("on", references(task, graph), 1e-9)
    told = small.told(execution)
    assert (f", {place})" in told) == (place != "recompute")
    assert not Path("on/.kept").exists()
    assert execution.pool.remaining == pytest.approx(
        experiment.engine.memory_budget(execution.device), rel=0.5
    )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("name", METHODS)
def test_every_method_comes_to_the_same_weights(name: str, method: Any) -> None:
    """Features of layers, hints and masks without parameters included, kept or computed."""
    bindings = (*SHORT, "graph.alone = False")
    bindings += () if name == "none" else ("graph.teachers = 'all'",)
    small.run(method(name, OFF, *bindings), "off")
    for place in ("memory", "disk"):
        execution = small.quiet(method(name, *PLACES[place], *bindings), place)
        execution.run()
        small.assert_weights(place, "off", 1e-9)
        # Where nothing is frozen, there is nothing to keep.
        frozen = any(node.freezes for node in execution.experiment.plan.stages.values())
        assert (f", {place})" in small.told(execution)) == frozen


@pytest.mark.usefixtures("float64")
def test_below_masks_is_kept_where_responses_are_too_large(references: Any) -> None:
    """Then a routed teacher starts at its mask point, and its inputs are not read any more."""
    room = ("engine.memory_gigabytes = 0", "engine.disk_gigabytes = 0.001")
    experiment = opened("maps", *GRAPHS["mst, k = 2"], *room)
    execution = small.quiet(experiment, "on")
    execution.run()
    small.assert_weights("on", references("maps", "mst, k = 2"), 1e-9)
    (told,) = [line for line in small.told(execution).splitlines() if "for dkd-rgb" in line]
    assert "activations of rgbd before fusion and decoder.stage5" in told
    assert "activations of depth before encoder.stage5 and decoder.stage5" in told
    assert "response" not in told
    setting = execution.setting([experiment.plan.stages["dkd-rgb"]])
    assert setting.training.modalities == ("rgb",)


def losses(folder: Path, stage: str) -> list[float]:
    """The training losses of a stage, epoch by epoch."""
    lines = (folder / "stages" / stage / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line)["training"] for line in lines]
    return [term["value"] for record in records for term in record.values()]


def test_losses_are_equal_to_rounding_in_single_precision(plain: Any) -> None:
    """Over the first epochs; later, rounding has grown with training."""
    small.run(small.mfeat(OFF), "off")
    for stage in ("ci", "sta-zer-fou.hidden1", "dkd-zer", "alone-zer"):
        off = losses(Path("off"), stage)
        assert losses(plain().folder.path, stage) == pytest.approx(off, rel=2e-5, abs=1e-6)


@pytest.mark.usefixtures("float64")
def test_networks_that_cannot_be_traced_run_whole(
    monkeypatch: pytest.MonkeyPatch, references: Any
) -> None:
    """And give the same result."""
    expected, plain = references("vectors", "mst"), MLP.forward

    def forward(self: MLP, *inputs: Tensor) -> Tensor:
        if not inputs[0].is_meta and float(inputs[0].sum()) == float("inf"):
            raise AssertionError
        return plain(self, *inputs)

    monkeypatch.setattr(MLP, "forward", forward)
    whole = opened("vectors")
    assert whole.parts.trunk("fou", ("hidden1", "hidden2")) is None
    small.run(whole, "whole")
    small.assert_weights("whole", expected, 1e-9)


def test_stages_of_a_group_come_out_as_if_alone(
    monkeypatch: pytest.MonkeyPatch, plain: Any
) -> None:
    """Bit for bit: sharing a pass over the data changes nothing in any of them."""
    together = plain()
    assert "sta-zer-fused.fusion, sta-zer-fused.hidden1" in small.told(together)
    monkeypatch.setattr("mstgraph.run.execute.group_stages", lambda stages: [[s] for s in stages])
    alone = small.quiet(small.mfeat(), "alone")
    alone.run()
    assert "sta-zer-fused.fusion, sta-zer-fused.hidden1" not in small.told(alone)
    small.assert_weights(together.folder.path, "alone")


def test_stages_of_a_group_with_dropout_come_out_as_if_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each has its own random state: two students in one graph draw what they draw alone."""
    bindings = ("graph.target = ('rgb', 'depth')", "STA.epochs = 1", "DKD.epochs = 1")
    masks = [f"{name}/Member.masks = ('encoder.stage5',)" for name in ("rgb", "depth")]
    more = (*masks, "rgbd/Member.masks = ('fusion',)", "graph.alone = False")
    experiment = small.rooms(*bindings, *more)
    groups = group_stages(list(experiment.plan.stages.values()))
    assert ["sta-rgb-rgbd.fusion", "sta-rgb-depth.encoder.stage5"] in [
        [node.name for node in group][:2] for group in groups
    ]
    small.run(experiment, "together")
    monkeypatch.setattr("mstgraph.run.execute.group_stages", lambda stages: [[s] for s in stages])
    small.run(small.rooms(*bindings, *more), "alone")
    small.assert_weights("together", "alone")


def test_augmented_inputs_are_not_constant() -> None:
    """Nothing of the training split is kept then, and the result is another one."""
    bindings = (*small.ONE_MASK, "graph.alone = False")
    small.run(small.rooms(*bindings), "plain")
    execution = small.quiet(
        small.rooms(*bindings, "data.augmentation = @HorizontalFlip()"), "flipped"
    )
    execution.run()
    assert "computed once" not in small.told(execution)
    plain, flipped = small.weights_of("plain"), small.weights_of("flipped")
    name = "student-rgb.safetensors"
    assert any(not torch.equal(plain[name][n], flipped[name][n]) for n in plain[name])


def test_halved_values_take_half_the_bytes_and_change_results_a_little(plain: Any) -> None:
    """float16 is a choice that a stage's identity knows of."""
    halved = small.quiet(small.mfeat("engine.cache_dtype = 'float16'"), "float16")
    halved.run()
    sizes = []
    for execution in (halved, plain()):
        nodes = [execution.experiment.plan.stages["dkd-zer"]]
        decisions = execution.setting(nodes).keeper.decisions["train"]
        sizes.append([decision.size for decision in decisions])
    assert [2 * size for size in sizes[0]] == sizes[1]
    with pytest.raises(AssertionError, match="differs"):
        small.assert_weights(plain().folder.path, "float16")
    small.assert_weights(plain().folder.path, "float16", 0.05)


def test_disk_is_given_back_even_if_a_killed_run_left_it() -> None:
    """What another configuration kept is removed with the next stage that finishes."""
    Path("run/.kept/stale").mkdir(parents=True)
    Path("run/.kept/stale/data.mdb").write_bytes(b"x")
    small.run(small.mfeat("CI.epochs = 1", "STA.epochs = 1", "DKD.epochs = 1"), "run")
    assert not Path("run/.kept").exists()


def test_budgets(tmp_path: Path) -> None:
    """What is bound counts; else a share of what is free, also for a folder to be made."""
    device = torch.device("cpu")
    assert Engine(memory_gigabytes=1.5).memory_budget(device) == 1_500_000_000
    assert Engine(disk_gigabytes=0).disk_budget(tmp_path) == 0
    assert Engine().memory_budget(device) > 0
    assert Engine(memory_gigabytes=0).problem() is None
    assert Engine(disk_gigabytes=-1).problem() == (
        "disk_gigabytes",
        "is -1, expected at least 0, or None",
    )
    assert Engine().disk_budget(tmp_path / "not" / "there") > 0


def test_an_interrupt_is_heard_while_values_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Filling a cache can take long; Ctrl-C need not wait for its end."""
    from mstgraph.support.interrupt import Interrupted

    execution = small.quiet(small.mfeat(), "run")
    fill = Keeper.kept
    asked = []

    def kept(self: Keeper, part: str) -> Any:
        if self.decisions["train"]:
            execution.interrupt.requested = True
            asked.append(part)
        return fill(self, part)

    monkeypatch.setattr(Keeper, "kept", kept)
    with pytest.raises(Interrupted, match="sta-zer"):
        execution.run()
    assert asked == ["train"]
    monkeypatch.undo()


@pytest.mark.parametrize("given", [1e300, float("inf")])
def test_a_budget_without_end_is_a_number(given: float, tmp_path: Path) -> None:
    """Of bytes, more than any machine has."""
    engine = Engine(memory_gigabytes=given, disk_gigabytes=given)
    assert engine.problem() is None
    assert engine.memory_budget(torch.device("cpu")) == engine.disk_budget(tmp_path) == 10**18
