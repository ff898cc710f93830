"""What of a group of stages is kept, for training and for validation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import training_worlds as small
from tiny_graphs import SHORT

from mstgraph.derive.document import constants_by_stage
from mstgraph.derive.experiment import Experiment
from mstgraph.derive.keeping.passes import group_stages
from mstgraph.run.execute import Execution
from mstgraph.run.keeper import Keeper
from mstgraph.run.kept import OnDisk
from mstgraph.stages.distill import Distill
from mstgraph.stages.dkd import DKD
from mstgraph.stages.stage import StageNode

pytest_plugins = ("training_fixtures",)

Method = Callable[..., Experiment]
ALL = "graph.teachers = 'all'"


def finish(execution: Execution, stage: str) -> StageNode:
    """Run all that a stage needs; return the stage."""
    node = execution.experiment.plan.stages[stage]
    for group in group_stages(list(execution.experiment.plan.stages.values())):
        if node in group:
            return node
        execution.run_group([one.name for one in group])
    raise AssertionError(stage)


LAST = {"rkd": "distill-rgb", "mst": "dkd-rgb"}


@pytest.mark.parametrize("name", LAST)
def test_validation_asks_no_teacher_of_a_last_stage(
    method: Method, tmp_path: Path, name: str
) -> None:
    """Nothing is kept of it, no other modality is read, and no teacher computes."""
    execution = small.quiet(method(name, *SHORT), tmp_path / "run")
    node = finish(execution, LAST[name])
    setting = execution.setting([node])
    assert len(setting.keeper.decisions["train"]) == len(node.teachers)
    assert setting.keeper.decisions["validation"] == []
    assert setting.validation.modalities == ("rgb",)
    assert setting.training.modalities == ("rgb",), "its teachers are kept"
    off = small.quiet(method(name, *SHORT, "engine.cache = False"), tmp_path / "run")
    setting = off.setting([node])
    assert setting.validation.modalities == ("rgb",)
    assert setting.training.modalities == ("rgb", "depth")


@pytest.mark.parametrize("name", LAST)
def test_a_validation_that_asks_teachers_comes_to_the_same(
    method: Method, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records, statistics and weights, bit for bit."""
    small.run(method(name, *SHORT), tmp_path / "one")
    for stage in (DKD, Distill):
        monkeypatch.setattr(stage, "validated", lambda self, node: tuple(node.forwards))
    execution = small.quiet(method(name, *SHORT), tmp_path / "other")
    node = finish(execution, LAST[name])
    keeper = execution.setting([node]).keeper
    assert len(keeper.decisions["validation"]) == len(node.teachers)
    keeper.release()
    execution.run()
    small.assert_weights(tmp_path / "one", tmp_path / "other")
    assert records(tmp_path / "one") == records(tmp_path / "other")


def records(folder: Path) -> list[list[str]]:
    """What a run's stages wrote after each epoch, but for the time."""
    paths = sorted(folder.rglob("metrics.jsonl"))
    lines = [path.read_text().splitlines() for path in paths]
    return [[line.partition(', "seconds"')[0] for line in group] for group in lines]


def test_features_are_kept_beside_the_logits_where_a_loss_reads_them(method: Method) -> None:
    """In the stage that reads them; a hint stage's validation reads them, too."""
    found = constants_by_stage(method("fitnets", *SHORT, ALL), torch.device("cpu"), Path("runs"))
    kept = {
        stage: [(v["part"], v["value"], v["bytes"]) for v in values]
        for stage, values in found.items()
    }
    layers = " and its hidden1 and hidden2"
    size = 4 * (3 + 6 + 4)  # three classes, layers of six and of four, float32
    assert kept["hint-rgb"] == [
        ("train", f"response of fused{layers}", 12 * size),
        ("train", f"response of depth{layers}", 12 * size),
        ("validation", f"response of fused{layers}", 4 * size),
        ("validation", f"response of depth{layers}", 4 * size),
    ]
    assert kept["distill-rgb"] == [
        ("train", "response of fused", 12 * 4 * 3),
        ("train", "response of depth", 12 * 4 * 3),
    ]
    assert kept["pretrain-fused"] == kept["alone-rgb"] == []


def test_nothing_of_a_teacher_that_learns_is_constant(method: Method) -> None:
    """And in its stage nothing else is frozen."""
    experiment = method("c2kd", *SHORT)
    found = constants_by_stage(experiment, torch.device("cpu"), Path("runs"))
    assert found["distill-rgb"] == []
    assert experiment.plan.stages["distill-rgb"].freezes == ()


def test_a_masked_teacher_with_features_is_kept_as_a_whole(method: Method) -> None:
    """The layers that it reads lie behind or at the mask, so no trunk stands for it."""
    experiment = method("rkd", *SHORT, ALL, "graph.points = 'masks'")
    found = constants_by_stage(experiment, torch.device("cpu"), Path("runs"))
    names = {value["value"] for value in found["distill-rgb"]}
    assert names == {
        f"response of {member} with its MaskNet at {point} and its hidden2"
        for member, point in (
            ("fused", "fusion"),
            ("fused", "hidden1"),
            ("depth", "hidden1"),
            ("depth", "hidden2"),
        )
    }


def test_a_value_with_other_layers_is_filed_under_another_name(
    method: Method, tmp_path: Path
) -> None:
    """The same network answers in both stages of FitNets; what is kept of it differs."""
    places = []
    experiment = method(
        "fitnets", *SHORT, "engine.memory_gigabytes = 0", "engine.disk_gigabytes = 1"
    )
    for stage in ("hint-rgb", "distill-rgb"):
        execution = small.quiet(experiment, tmp_path / "run")
        node = finish(execution, stage)
        keeper: Keeper = execution.setting([node]).keeper
        (kept,) = keeper.kept("train").values()
        assert isinstance(kept, OnDisk)
        places.append(kept.folder.name)
        keeper.release()
    assert places[0] != places[1]
