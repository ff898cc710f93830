"""summary.json and the table at the end of a run."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import training_worlds as small
from rich.console import Console

from mstgraph.report.summary import print_summary

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
    assert json.loads(Path("run/summary.json").read_text()) == summary
    student = summary["students"]["zer"]
    assert student["gain"] == {
        name: value - student["alone"][name] for name, value in student["distilled"].items()
    }
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
    summary = small.run(small.rooms(*plain), "run")
    assert summary["data"]["synthetic"] == "synthetic rooms"
    assert summary["routing"] == {}
    assert set(summary["students"]["rgb"]) == {"stage", "distilled"}
    text = table(summary)
    assert "synthetic rooms" in text
    assert "gain" not in text
