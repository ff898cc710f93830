"""The check of all students: one data set, narrow networks, from random values to its table."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[2]))

from tools import check_students
from tools.student_check import runs
from tools.student_check.runs import STUDENTS, chosen

NARROW = (
    "MLP.hidden = (8, 6)",
    "FusedMLP.branch = (8,)",
    "FusedMLP.hidden = (8, 6)",
    "MaskNet.factor = 1",
)


def call(*arguments, bindings=NARROW):
    """Run the tool; return its exit code and what it prints."""
    words = [*map(str, arguments)]
    for binding in bindings:
        words += ["-p", binding]
    result = CliRunner().invoke(check_students.main, words)
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder that the runs share, so that raw files and store are written once."""
    return tmp_path_factory.mktemp("students")


def test_a_student_runs_to_its_table(folder):
    """Parameters, teachers, memory and time of a whole run; that the values are random is said."""
    figures = folder / "figures.json"
    code, shown = call(
        "--only", "crisismmd_text", "--epochs", 1, "--folder", folder, "--json", figures
    )
    assert code == 0, shown
    assert "on random values in true formats; their OA means nothing" in shown
    content = json.loads(figures.read_text())
    assert "random" in content["values"]
    (found,) = content["students"]
    text = 768 * 8 + 8 + 8 * 6 + 6 + 6 * 8 + 8  # weights and biases of 768 → 8 → 6 → 8
    assert found["networks"]["text"] == text
    assert [delta for _, delta, _, _ in found["teachers"]] == [0, 0, 1, 1]
    hidden1 = 6 * 8 * 9 + 4 * 6 * 7 + 7  # 8 tokens of width 6: projector, attention, linear
    assert found["masknets"]["image.hidden1"] == hidden1
    assert found["memory"] > 0
    assert found["seconds"] > 0
    assert 0 <= found["accuracy"] <= 1
    assert found["error"] == ""
    assert not list(folder.glob("run*"))  # deleted
    assert "random values" in (folder / "logs" / "crisismmd_text.txt").read_text()


def test_a_method_trains_adapters(folder):
    """A method's file goes on top: plain teachers, no MaskNets, and what its loss trains."""
    figures = folder / "figures.json"
    method = runs.ROOT / "gin" / "methods" / "c2kd.gin"
    options = ("--epochs", 1, "--folder", folder, "--json", figures, "--method", method)
    code, shown = call("--only", "crisismmd_image", *options, bindings=NARROW[:3])
    assert code == 0, shown
    (found,) = json.loads(figures.read_text())["students"]
    assert found["masknets"] == {}
    proxy = 6 * 6 + 6 + 2 * 6 + 6 * 8 + 8  # linear, batch normalisation, linear
    assert found["adapters"] == {"text": 2 * proxy}


def test_what_fails_is_in_the_table(folder):
    """A run that ends early is reported; exit code 1."""
    options = ("--epochs", 1, "--folder", folder, "--only", "crisismmd_text")
    figures = folder / "figures.json"
    code, shown = call(*options, "--device", "nowhere", "--json", figures)
    assert code == 1, shown
    (found,) = json.loads(figures.read_text())["students"]
    assert found["error"].startswith("exit code 2: mstgraph: device 'nowhere'")
    assert found["networks"]["text"] > 0


def test_students_are_chosen_by_name():
    """All without a name; a data set's name stands for two; an unknown one is refused."""
    assert chosen(()) == STUDENTS
    assert len(STUDENTS) == 10
    assert chosen(("nyudepth", "avmnist_audio")) == (
        "nyudepth_rgb",
        "nyudepth_depth",
        "avmnist_audio",
    )
    code, shown = call("--only", "imagenet")
    assert code == 2
    assert "--only imagenet names no student" in shown


def test_help_says_what_is_shown_and_what_is_not():
    """Before an hour goes by."""
    code, shown = call("--help", bindings=())
    assert code == 0
    assert "What it does not show: any accuracy" in " ".join(shown.split())
