"""What of a run's folder can be used again, and who may write to it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import training_worlds as small

from mstgraph.run.artefacts.run_folder import ARTEFACT, RunFolder, default_folder
from mstgraph.stages.pretrain import Pretrain
from mstgraph.stages.stage import StageNode
from mstgraph.support.errors import UserError

UNLABELLED = {part: {"metrics": {"s": {"OA": math.nan}}} for part in ("validation", "test")}


def stage(**identity: object) -> tuple[StageNode, small.World]:
    """A stage with an identity, and its networks."""
    world = small.world(Pretrain(), "pretrain")
    return replace(world.node, hash=json.dumps(identity), identity=identity), world


def test_a_finished_stage_is_used_again_and_loads(tmp_path: Path) -> None:
    """With the same hash; its weights come back."""
    folder = RunFolder(tmp_path)
    node, world = stage(epochs=3)
    assert folder.state(node) == (False, "")
    folder.begin(node)
    folder.finish(node, world.networks.modules, {"best_epoch": 2, **UNLABELLED})
    assert folder.state(node) == (True, "")
    assert folder.artefact(node.name)["best_epoch"] == 2
    before = world.networks.modules["s"].hidden.weight.clone()
    torch.nn.init.zeros_(world.networks.modules["s"].hidden.weight)
    folder.load(node.name, "s", world.networks.modules["s"])
    assert torch.equal(world.networks.modules["s"].hidden.weight, before)


def test_an_undefined_metric_is_null_on_disk_and_nan_when_read(tmp_path: Path) -> None:
    """JSON knows no nan: other readers would refuse the file."""
    folder = RunFolder(tmp_path)
    node, world = stage(epochs=3)
    folder.begin(node)
    folder.finish(node, world.networks.modules, UNLABELLED)
    written = (folder.stage(node.name) / ARTEFACT).read_text()
    assert "NaN" not in written
    assert json.loads(written)["test"] == {"metrics": {"s": {"OA": None}}}
    assert math.isnan(folder.artefact(node.name)["test"]["metrics"]["s"]["OA"])


def test_another_hash_is_trained_again_and_says_why(tmp_path: Path) -> None:
    """At most three reasons; then what is stale goes away."""
    folder = RunFolder(tmp_path)
    node, world = stage(a=1, b=1, c=1, d=1)
    folder.begin(node)
    folder.finish(node, world.networks.modules, {})
    other, _ = stage(a=1, b=2, c=1, d=1)
    assert folder.state(other) == (False, "b was 1, is 2")
    other, _ = stage(a=2, b=2, c=2, d=2)
    assert folder.state(other) == (False, "a was 1, is 2; b was 1, is 2; c was 1, is 2; …")
    folder.begin(other)
    assert not list(folder.stage(node.name).iterdir())


def test_a_stage_without_an_artefact_is_continued(tmp_path: Path) -> None:
    """What lies in its folder stays: it may hold a checkpoint."""
    folder = RunFolder(tmp_path)
    node, _ = stage(a=1)
    folder.begin(node)
    (folder.stage(node.name) / "checkpoint.pt").write_bytes(b"x")
    folder.begin(node)
    assert (folder.stage(node.name) / "checkpoint.pt").exists()
    assert folder.state(node) == (False, "")


def test_the_artefact_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kill between the weights and the artefact leaves a stage that is not finished."""
    folder = RunFolder(tmp_path)
    node, world = stage(a=1)
    folder.begin(node)
    written: list[str] = []
    monkeypatch.setattr(
        "mstgraph.run.artefacts.run_folder.save_weights", lambda p, m: written.append(p.name)
    )
    monkeypatch.setattr(
        "mstgraph.run.artefacts.run_folder.write_json", lambda p, v: written.append(p.name)
    )
    folder.finish(node, world.networks.modules, {})
    assert written == ["s.safetensors", ARTEFACT]


def test_a_damaged_artefact_is_one_sentence(tmp_path: Path) -> None:
    """It is never taken for "not finished"."""
    folder = RunFolder(tmp_path)
    node, _ = stage(a=1)
    (folder.begin(node) / ARTEFACT).write_text('{"hash": ')
    with pytest.raises(UserError, match=r"artefact\.json' cannot be read as JSON"):
        folder.state(node)


def test_the_lock(tmp_path: Path) -> None:
    """One holder at a time; it is free after an error, too."""
    folder = RunFolder(tmp_path / "new" / "run")
    with folder.locked():
        with pytest.raises(UserError, match="another process is running in"), folder.locked():
            pass
        with RunFolder(tmp_path / "other").locked():
            pass
    with pytest.raises(ZeroDivisionError), folder.locked():
        raise ZeroDivisionError
    with folder.locked():
        pass


def test_runs_of_different_seeds_stand_side_by_side() -> None:
    """The folder's name tells them apart."""
    assert default_folder("mfeat_zer", 3) == Path("runs/mfeat_zer-seed3")
