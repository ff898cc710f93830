"""`mstgraph runs`: a table of what lies in a folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from mstgraph.cli import main
from mstgraph.report.runs import run_rows
from mstgraph.support.disk.locks import held

PLAN = {
    "data": {"title": "Digits", "synthetic": "made up"},
    "targets": ["a"],
    "alone": {"a": "alone-a"},
    "stages": [
        {"name": "ci", "kind": "ci"},
        {"name": "dkd-a", "kind": "dkd"},
        {"name": "alone-a", "kind": "pretrain"},
    ],
    "edges": [{"kind": "teaches", "loss": "KL"}, {"kind": "mutual", "loss": "CRD"}],
}
SUMMARY = {
    "primary": "OA",
    "students": {
        "a": {
            "alone": {"OA": 0.5},
            "distilled": {"OA": 0.75},
            "gain": {"OA": 0.25},
            "certainty": {"verdict": "gain"},
        }
    },
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run with one finished stage of an hour."""
    folder = tmp_path / "one"
    (folder / "stages" / "ci").mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(PLAN))
    (folder / "stages" / "ci" / "artefact.json").write_text(json.dumps({"seconds": 3661.2}))
    return folder


def test_a_run_is_running_stopped_or_finished(run: Path) -> None:
    """As its lock and its summary say."""
    assert run_rows(run, run.parent)[0][1] == "stopped 1/3"
    (run / ".lock").touch()
    with held(run / ".lock", ""):
        assert run_rows(run, run.parent)[0][1] == "running 1/3"
    assert run_rows(run, run.parent)[0][1] == "stopped 1/3"
    (run / "summary.json").write_text(json.dumps(SUMMARY))
    assert run_rows(run, run.parent) == [
        [
            *("one", "finished", "Digits [made up]", "CI → DKD by KL", "a"),
            *("OA", "0.5000", "0.7500", "+0.2500 gain", "1:01:01"),
        ]
    ]


def test_a_damaged_run_hides_no_other(run: Path) -> None:
    """It is in the table as what it is."""
    (run.parent / "two").mkdir()
    (run.parent / "two" / "plan.json").write_text("{")
    result = CliRunner().invoke(main, ["runs", str(run.parent)])
    assert result.exit_code == 0
    assert "damaged" in result.stdout
    assert "stopped 1/3" in result.stdout


def test_no_run_is_one_sentence(tmp_path: Path) -> None:
    """Exit code 2, of an empty folder and of none."""
    for folder, words in ((tmp_path, "holds no run"), (tmp_path / "x", "is no folder")):
        result = CliRunner().invoke(main, ["runs", str(folder)])
        assert result.exit_code == 2
        assert words in result.stderr


@pytest.mark.parametrize("change", [{"stages": 3}, {"edges": [1]}, {"data": "x"}, {"alone": []}])
def test_a_plan_of_another_form_is_damaged(run: Path, change: dict[str, object]) -> None:
    """It is JSON, but not what a run leaves."""
    (run / "plan.json").write_text(json.dumps({**PLAN, **change}))
    assert run_rows(run, run.parent)[0][1] == "damaged"


def test_what_is_said_of_synthetic_data_is_shown(run: Path) -> None:
    """Brackets are no markup, whatever stands in them, and nothing commands the terminal."""
    data = {"title": "[/red] :smile: \x1b[31mDigits", "synthetic": "random"}
    (run / "plan.json").write_text(json.dumps({**PLAN, "data": data}))
    result = CliRunner().invoke(main, ["runs", str(run.parent)], terminal_width=200)
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    assert "[/red]" in said
    assert ":smile:" in said
    assert "[random]" in said
    assert "\x1b" not in result.stdout
