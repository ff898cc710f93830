"""The tool that stops runs: where it stops them, what it compares, and what it says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
import training_worlds as small
from click.testing import CliRunner, Result
from safetensors.torch import save_file

sys.path.insert(0, str(small.ROOT))

from mstgraph.support.disk.descriptions import write_description
from tools import check_resume

pytest_plugins = ("training_fixtures",)

EPOCHS = ("CI.epochs = 2", "STA.epochs = 2", "DKD.epochs = 3", "graph.alone = False")


def left(folder: Path, stage: str, epochs: int, *, finished: bool = False) -> None:
    """Leave what a stage leaves."""
    path = folder / "stages" / stage
    path.mkdir(parents=True)
    (path / "metrics.jsonl").write_text("{}\n" * epochs)
    if finished:
        (path / "artefact.json").write_text("{}")


def test_where_a_run_was_stopped(tmp_path: Path) -> None:
    """Before, within and between stages; stages of a group count as one place."""
    assert check_resume.place(tmp_path) == "before the first stage"
    left(tmp_path, "ci", 3, finished=True)
    assert check_resume.place(tmp_path) == "between stages"
    left(tmp_path, "sta-a", 2)
    assert check_resume.place(tmp_path) == "sta-a, after epoch 2"
    left(tmp_path, "sta-b", 2)
    assert check_resume.place(tmp_path) == "sta-a and 1 beside it, after epoch 2"


def run_folder(path: Path, weight: float = 1.0, loss: float = 0.5, seconds: float = 1.0) -> Path:
    """Leave what a run leaves, in little."""
    path.mkdir()
    save_file({"weight": torch.tensor([weight])}, path / "a.safetensors")
    (path / "metrics.jsonl").write_text(json.dumps({"loss": loss, "seconds": seconds}) + "\n")
    write_description(path / "summary.json", {"OA": loss, "seconds": seconds})
    return path


def test_what_counts_as_a_difference(tmp_path: Path) -> None:
    """One bit of a weight or of a loss does, time does not."""
    one = run_folder(tmp_path / "one")
    assert list(check_resume.differences(one, run_folder(tmp_path / "later", seconds=2.0))) == []
    other = run_folder(tmp_path / "other", weight=1.0 + 2**-23)
    assert list(check_resume.differences(one, other)) == ["a.safetensors differs"]
    other = run_folder(tmp_path / "loss", loss=0.5 + 2**-53)
    found = list(check_resume.differences(one, other))
    assert found == ["metrics.jsonl differs", "summary.json differs"]
    (other / "a.safetensors").unlink()
    assert "a.safetensors is in one run only" in check_resume.differences(one, other)


def call(*arguments: str) -> Result:
    """Run the tool on digits, small."""
    bindings = [part for b in (*small.MFEAT, *EPOCHS) for part in ("-p", b)]
    return CliRunner().invoke(check_resume.main, ["gin/mfeat_zer.gin", *bindings, *arguments])


@pytest.mark.usefixtures("workspace")
def test_stops_land_and_runs_come_out_the_same() -> None:
    """As many as were asked for are counted, and each run that finished was compared."""
    result = call("--kills", "1", "--seed", "3")
    assert result.exit_code == 0, result.output
    assert "1 landed" in result.output
    assert "all the same, bit by bit" in result.output
    left_over = {path.name for path in Path("runs/check-resume").iterdir()}
    assert left_over == {"whole", "whole.txt"}


@pytest.mark.usefixtures("workspace")
def test_a_run_that_fails_ends_the_check() -> None:
    """With the sentence that it ended with."""
    result = call("-p", "DKD.k = 9")
    assert result.exit_code == 1
    assert "whole failed: mstgraph: " in result.output
    assert "k is 9" in result.output


@pytest.mark.usefixtures("workspace")
def test_a_run_that_comes_out_differently_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """With what differs, and exit code 1."""
    found = ["ci, after epoch 1", "between stages"], ["run 1: a.safetensors differs"]
    monkeypatch.setattr(check_resume, "check", lambda *_: found)
    result = call()
    assert result.exit_code == 1
    assert "2 landed, 1 of them within a stage" in result.output
    assert "run 1: a.safetensors differs" in result.output
    assert "NOT the same" in result.output
