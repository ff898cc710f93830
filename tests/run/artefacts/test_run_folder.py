"""What of a run's folder can be used again, and who may write to it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import training_worlds as small

from mstgraph.run.artefacts.metrics_log import MetricsLog
from mstgraph.run.artefacts.run_folder import ARTEFACT, NEW, PLAN, RunFolder, default_folder
from mstgraph.run.reporter import Silent
from mstgraph.stages.pretrain import Pretrain
from mstgraph.stages.stage import StageNode
from mstgraph.support.errors import UserError

UNLABELLED = {part: {"metrics": {"s": {"OA": math.nan}}} for part in ("validation", "test")}
RESULT = {
    "epochs": 3,
    "best_epoch": 2,
    **UNLABELLED,
    "seconds": 1.5,
    "peak_memory": 10,
    "device": "cpu",
}


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
    folder.finish(node, world.networks.modules, RESULT)
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
    folder.finish(node, world.networks.modules, RESULT)
    written = (folder.stage(node.name) / ARTEFACT).read_text()
    assert "NaN" not in written
    assert json.loads(written)["test"] == {"metrics": {"s": {"OA": None}}}
    assert math.isnan(folder.artefact(node.name)["test"]["metrics"]["s"]["OA"])


def left(folder: RunFolder, **identity: object) -> StageNode:
    """Finish a stage in a folder."""
    node, world = stage(**identity)
    folder.begin(node)
    folder.finish(node, world.networks.modules, RESULT)
    return node


def test_another_hash_is_trained_again_and_says_why(tmp_path: Path) -> None:
    """At most three reasons."""
    folder = RunFolder(tmp_path)
    left(folder, a=1, b=1, c=1, d=1)
    other, _ = stage(a=1, b=2, c=1, d=1)
    assert folder.state(other) == (False, "b was 1, is 2")
    other, _ = stage(a=2, b=2, c=2, d=2)
    assert folder.state(other) == (False, "a was 1, is 2; b was 1, is 2; c was 1, is 2; …")


def test_a_finished_stage_stays_until_another_takes_its_place(tmp_path: Path) -> None:
    """Whoever takes a change back has lost nothing; what is not the stage's own always stays."""
    folder = RunFolder(tmp_path)
    node = left(folder, a=1)
    place = folder.stage(node.name)
    (place / "notes.md").write_text("mine")
    (place / "s.v1.safetensors").write_text("mine")
    before = {path.name: path.read_bytes() for path in place.iterdir()}
    other, world = stage(a=2)
    under_way = folder.begin(other)
    (under_way / "checkpoint.pt").write_bytes(b"x")
    assert folder.state(node) == (True, "")
    assert {n: (place / n).read_bytes() for n in before} == before
    folder.finish(other, world.networks.modules, RESULT)
    assert folder.state(other) == (True, "")
    assert {path.name for path in place.iterdir()} == before.keys()
    assert (place / "notes.md").read_text() == (place / "s.v1.safetensors").read_text() == "mine"


@pytest.mark.parametrize("moves", range(4))
def test_a_kill_while_a_stage_takes_anothers_place(
    moves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever file it comes before: the next command does the rest."""
    folder = RunFolder(tmp_path)
    left(folder, a=1)
    other, world = stage(a=2)
    folder.begin(other)
    replace_file, done = os.replace, []

    def killed(source: Path, target: Path) -> None:
        if Path(source).parent.name == NEW and Path(target).parent.name != NEW:
            if len(done) == moves:
                raise KeyboardInterrupt
            done.append(source)
        replace_file(source, target)

    monkeypatch.setattr("mstgraph.run.artefacts.run_folder.os.replace", killed)
    with contextlib.suppress(KeyboardInterrupt):
        folder.finish(other, world.networks.modules, RESULT)
    monkeypatch.undo()
    folder.settle(other.name)
    assert folder.state(other) == (True, "")
    folder.load(other.name, "s", world.networks.modules["s"])
    assert not (folder.stage(other.name) / NEW).exists()


def test_weights_copied_over_another_stages_are_refused(tmp_path: Path) -> None:
    """They are sound and fit the network, but are not what the stage left."""
    one, two = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "two")
    node = left(one, a=1)
    other, world = stage(a=1)
    torch.nn.init.zeros_(world.networks.modules["s"].hidden.weight)
    two.begin(other)
    two.finish(other, world.networks.modules, RESULT)
    module = world.networks.modules["s"]
    file = one.stage(node.name) / "s.safetensors"
    shutil.copy(two.stage(node.name) / "s.safetensors", file)
    with pytest.raises(UserError, match=r"not those that were left here\); remove '"):
        one.load(node.name, "s", module)


@pytest.mark.parametrize("spoil", ["bit", "key", "type", "deep", "list"])
def test_a_description_that_is_not_as_it_was_written_is_refused(spoil: str, tmp_path: Path) -> None:
    """One sentence that names the file and asks for no more than that to be removed."""
    folder = RunFolder(tmp_path)
    node = left(folder, a=1)
    path = folder.stage(node.name) / ARTEFACT
    text = path.read_text()
    content = json.loads(text)
    if spoil == "bit":
        text = text.replace('"seconds": 1.5', '"seconds": 3.5')
    elif spoil == "deep":
        text = "[" * 100_000
    else:
        content = {
            "key": {key: value for key, value in content.items() if key != "seconds"},
            "type": {**content, "epochs": "3"},
            "list": [content],
        }[spoil]
        text = json.dumps(content)
    path.write_text(text)
    with pytest.raises(UserError, match=rf"artefact\.json'.*; remove '{path}' to have its stage"):
        folder.state(node)
    (tmp_path / PLAN).write_text(json.dumps({"stages": [{"name": node.name, "artefact": "0"}]}))
    with pytest.raises(UserError, match=r"artefact\.json'"):
        folder.refuse_replaced([node.name])


def test_a_run_of_an_earlier_version_is_used_again(tmp_path: Path) -> None:
    """Its descriptions have no digests."""
    folder = RunFolder(tmp_path)
    node = left(folder, a=1)
    path = folder.stage(node.name) / ARTEFACT
    content = json.loads(path.read_text())
    for key in ("sha256", "weights", "samples", "files", "format"):
        content.pop(key, None)
    path.write_text(json.dumps(content))
    assert folder.state(node) == (True, "")
    folder.load(node.name, "s", stage(a=1)[1].networks.modules["s"])


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
    there: list[set[str]] = []
    monkeypatch.setattr(
        "mstgraph.run.artefacts.run_folder.write_description",
        lambda path, value: there.append({file.name for file in path.parent.iterdir()}),
    )
    folder.finish(node, world.networks.modules, RESULT)
    assert there == [{"s.safetensors", "samples.npz"}]


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


LINKS = (".lock", "stages", "stages/pretrain", "stages/pretrain/metrics.jsonl")


@pytest.mark.parametrize("name", LINKS)
def test_nothing_is_written_through_links(name: str, tmp_path: Path) -> None:
    """A folder that came from somebody else may point anywhere."""
    outside = tmp_path / "outside"
    outside.mkdir()
    victim = outside / "victim" if name == ".lock" or "." in name else outside
    if victim != outside:
        victim.write_text("precious")
    folder = RunFolder(tmp_path / "run")
    node, _ = stage(a=1)
    with folder.locked():
        pass
    if name == ".lock":
        (folder.path / name).unlink()
    (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
    (folder.path / name).symlink_to(victim)
    with contextlib.suppress(UserError), folder.locked():
        MetricsLog(folder.begin(node), Silent()).close()
    assert [path.name for path in outside.rglob("*")] == ([] if victim == outside else ["victim"])
    assert victim == outside or victim.read_text() == "precious"
