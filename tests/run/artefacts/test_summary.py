"""summary.json and the table at the end of a run."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import torch
import training_worlds as small
from rich.console import Console

from mstgraph.report.summary import print_summary
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.run.execute import Execution
from mstgraph.support.disk.descriptions import DIGEST

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("workspace")


def table(summary: dict) -> str:
    """The table as text."""
    console = Console(file=io.StringIO(), width=160)
    print_summary(summary, console)
    return console.file.getvalue()


def test_a_summary_holds_what_the_stages_came_to() -> None:
    """Students, teachers, routing, time and memory, versions; the same on disk."""
    summary = small.run(small.mfeat(), "run")
    written = json.loads(Path("run/summary.json").read_text())
    assert {key: value for key, value in written.items() if key != DIGEST} == summary
    student = summary["students"]["zer"]
    assert student["gain"] == {
        name: value - student["alone"][name] for name, value in student["distilled"].items()
    }
    # CI and DKD train the student, CI alone its teachers, STA a MaskNet on top of them.
    epochs = {stage["name"]: stage["epochs"] for stage in summary["stages"]}
    both = epochs["ci"] + epochs["dkd-zer"]
    assert student["epochs"] == {"distilled": both, "alone": epochs["alone-zer"]}
    assert epochs["alone-zer"] == both
    assert {t["epochs"] for t in summary["teachers"] if "j" not in t} == {epochs["ci"]}
    masked_epochs = epochs["ci"] + epochs["sta-zer-fou.hidden1"]
    assert {t["epochs"] for t in summary["teachers"] if "j" in t} == {masked_epochs}
    artefact = json.loads(Path("run/stages/dkd-zer/artefact.json").read_text())
    assert student["distilled"] == artefact["test"]["metrics"]["zer"]
    names = [teacher["name"] for teacher in summary["teachers"]]
    masked = ["fused.fusion", "fused.hidden1", "fou.hidden1", "fou.hidden2"]
    assert names == ["fused", "fou", *masked]
    assert [t.get("j") for t in summary["teachers"]] == [None, None, 1, 2, 3, 4]
    routing = summary["routing"]["zer"]
    assert [row["name"] for row in routing] == masked
    assert sum(row["share"] for row in routing) == pytest.approx(1)
    assert sum(row["confidence"] for row in routing) == pytest.approx(1, abs=1e-5)
    assert {"torch", "numpy", "python", "mstgraph"} <= set(summary["versions"])
    for stage in summary["stages"]:
        assert stage["seconds"] > 0
        assert stage["peak_memory"] > 10**7
        assert 1 <= stage["best_epoch"] <= stage["epochs"]
    text = table(summary)
    for words in ("zer alone", "teacher 3: fou.hidden1", "zer distilled", "gain", "seed 0"):
        assert words in text
    assert f"{routing[0]['share']:.1%}" in text


def test_a_summary_of_synthetic_data_says_so_and_has_no_routing_without_a_gate() -> None:
    """Numbers on drawn rooms must never be taken for real ones."""
    plain = ("graph.gate = None", "Distill.epochs = 1", "graph.alone = False", "STA.epochs = 1")
    summary = small.run(small.rooms(*plain, *small.ONE_MASK), "run")
    assert summary["data"]["synthetic"] == "synthetic rooms"
    assert summary["routing"] == {}
    assert set(summary["students"]["rgb"]) == {"stage", "distilled", "epochs"}
    text = table(summary)
    assert "synthetic rooms" in text
    assert "gain" not in text


def test_a_summary_says_how_sure_the_gain_is(digits_run: Execution) -> None:
    """Interval, test, sentence, and what teachers know that the student alone does not."""
    experiment, summary = digits_run.experiment, json.loads(Path("run/summary.json").read_text())
    student = summary["students"]["zer"]
    found, folder = student["certainty"], RunFolder(Path("run"))
    assert found["samples"] == 400
    for name, (low, high) in found["intervals"].items():
        assert low <= student["gain"][name] <= high
    alone, fused = (
        experiment.task.right(torch.from_numpy(folder.samples(stage)[name])).numpy()
        for stage, name in (("alone-zer", "zer"), ("ci", "fused"))
    )
    assert alone.mean() == pytest.approx(student["alone"]["OA"])
    teacher = next(t for t in summary["teachers"] if t["name"] == "fused")
    assert teacher["right_where_alone_errs"] == pytest.approx((fused > alone).mean())
    assert 0 <= teacher["agrees_with_alone"] <= 1
    low, high = found["intervals"]["OA"]
    verdict = "gains" if low > 0 else "loses" if high < 0 else "within noise"
    assert found["verdict"] == verdict
    text = table(summary)
    assert f"zer: {found['sentence']}" in text
    for words in ("epochs", "95 % interval", found["verdict"]):
        assert words in text


def test_without_samples_on_disk_a_summary_has_no_interval() -> None:
    """As of stages that an earlier version trained: a sentence says so, the gain stands."""
    experiment = small.mfeat("STA.epochs = 1")
    small.run(experiment, "run")
    Path("run/stages/alone-zer/samples.npz").unlink()
    summary = small.run(experiment, "run")
    assert "gain" in summary["students"]["zer"]
    assert summary["students"]["zer"]["certainty"] == {
        "verdict": None,
        "sentence": "nobody knows how sure the gain is: stage alone-zer left nothing of single "
        "test samples",
    }
    assert "95 % interval" not in table(summary)
