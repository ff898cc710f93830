"""The pages for engineers: their examples do what they say, and what they name is there."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from importlinter.api import read_configuration
from safetensors.numpy import load_file
from tiny_graphs import TYPIST

ROOT = Path(__file__).resolve().parents[1]
PAGES = {name: (ROOT / name).read_text("utf-8") for name in ("ARCHITECTURE.md", "CONTRIBUTING.md")}
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# ([\w/.]+)")
STAGES = ("Pretrain", "Distill", "CI", "STA", "DKD", "Rehearse")
SHORT = [word for stage in STAGES for word in ("-p", f"{stage}.epochs = 2")]
EXAMPLES = re.findall(r"^## (Add .*)$", PAGES["CONTRIBUTING.md"], re.MULTILINE)


def section(heading: str) -> str:
    """Return the text under a heading of CONTRIBUTING.md."""
    return PAGES["CONTRIBUTING.md"].split(f"## {heading}\n")[1].split("\n## ")[0]


def files() -> dict[str, str]:
    """Return path → text of every example."""
    blocks = [text for kind, text in BLOCK.findall(PAGES["CONTRIBUTING.md"]) if kind != "sh"]
    named = {match[1]: text for text in blocks if (match := NAMED.match(text))}
    assert len(named) == len(blocks), "each example begins with its file's name"
    return named


def commands(heading: str) -> list[list[str]]:
    """Return the words of a section's commands, runs with few epochs."""
    shell = "".join(text for kind, text in BLOCK.findall(section(heading)) if kind == "sh")
    words = [shlex.split(line) for line in shell.splitlines()]
    return [[*w, *SHORT] if w[:2] == ["mstgraph", "run"] else w for w in words]


class Clone:
    """A copy of the repository with the examples in their places, and all runs of the page."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("mstgraph", "gin", "datasets", "tools", "pyproject.toml"):
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        for name, text in files().items():
            path = folder / name
            assert not path.exists(), f"{name} is an example, not a file of the repository"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        typed = [words for heading in EXAMPLES for words in commands(heading)]
        own = [words[1:] for words in typed if words[0] == "mstgraph"]
        said = iter(json.loads(self.call("python", "-c", TYPIST, json.dumps(own))))
        self.outputs = {
            heading: [
                next(said) if words[0] == "mstgraph" else self.call(*words)
                for words in commands(heading)
            ]
            for heading in EXAMPLES
        }

    def call(self, program: str, *words: str) -> str:
        """Run a program of this environment and return what it says."""
        program = str(Path(sys.executable).parent / program)
        environment = {**os.environ, "COLUMNS": "120", "PYTHONPATH": str(self.folder)}
        done = subprocess.run(
            [program, *words], cwd=self.folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{program} {shlex.join(words)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def plan(self, run: str) -> dict[str, Any]:
        """Return the stages of a run's plan by name."""
        plan = json.loads((self.folder / f"runs/{run}-seed0/plan.json").read_text())
        return {stage["name"]: stage for stage in plan["stages"]}

    def summary(self, run: str) -> dict[str, Any]:
        """Return a run's summary."""
        summary: dict[str, Any] = json.loads(
            (self.folder / f"runs/{run}-seed0/summary.json").read_text()
        )
        return summary

    def weights(self, run: str, stage: str, part: str) -> dict[str, Any]:
        """Return what a stage left for a part."""
        return load_file(self.folder / f"runs/{run}-seed0/stages/{stage}/{part}.safetensors")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The repository with the examples and their runs."""
    return Clone(tmp_path_factory.mktemp("clone"))


def differ(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Say whether two states of a part are not the same."""
    return one.keys() != other.keys() or any((one[name] != other[name]).any() for name in one)


def test_a_data_set(clone: Clone) -> None:
    """It is prepared, shown and trained on, and its numbers are said to be synthetic."""
    _, shown, ran = clone.outputs["Add a data set"]
    assert "fused.fusion" in shown
    assert "synthetic grades" in ran
    plan = clone.plan("grades_touch")
    assert [*plan] == [
        "ci",
        "sta-touch-fused.fusion",
        "sta-touch-sound.hidden1",
        "dkd-touch",
        "alone-touch",
    ]
    assert plan["dkd-touch"]["epochs"] == 2
    data = clone.summary("grades_touch")["data"]
    assert (data["title"], data["synthetic"]) == ("Grades", "synthetic grades")


def test_a_method(clone: Clone) -> None:
    """The plan has its edge, the student is trained by it, and its own test passes."""
    _, tested = clone.outputs["Add a method"]
    run = "grades_touch-jensen_shannon"
    plan = json.loads((clone.folder / f"runs/{run}-seed0/plan.json").read_text())
    assert {edge["loss"] for edge in plan["edges"]} == {"JensenShannon"}
    alone = clone.weights(run, "alone-touch", "touch")
    assert differ(clone.weights(run, "distill-touch", "touch"), alone)
    assert "[100%]" in tested


def test_a_network(clone: Clone) -> None:
    """It is student and teacher, with a mask inside and an option in one member's scope."""
    run = "grades_touch_residual"
    assert clone.weights(run, "dkd-touch", "touch")["stem.weight"].shape == (24, 6)
    assert clone.weights(run, "ci", "sound")["stem.weight"].shape == (32, 12)
    assert "sta-touch-sound.blocks.0" in clone.plan(run)


def test_a_stage(clone: Clone) -> None:
    """It stands in place of STA, or between STA and DKD and goes on from the one for the other."""
    mask = "masknet.touch.sound.hidden1"
    alone = clone.plan("grades_touch_rehearse")
    assert not any(name.startswith("sta-") for name in alone)
    assert "rehearse-touch-sound.hidden1" in alone["dkd-touch"]["needs"]
    assert "touch" not in alone["rehearse-touch-sound.hidden1"]["freezes"]
    row = clone.plan("grades_touch_both")
    assert row["rehearse-touch-sound.hidden1"]["needs"][-1] == "sta-touch-sound.hidden1"
    assert "rehearse-touch-sound.hidden1" in row["dkd-touch"]["needs"]
    left = [
        clone.weights("grades_touch_both", f"{stage}-touch-sound.hidden1", mask)
        for stage in ("sta", "rehearse")
    ]
    assert differ(*left), "it has learned"


def test_a_gate(clone: Clone) -> None:
    """It has weights on the layer, and each sample is sent to somebody."""
    run = "grades_touch_looking"
    gate = clone.weights(run, "dkd-touch", "gate.touch")
    assert gate["linear.weight"].shape == (2, 5 + 16)
    shares = [teacher["share"] for teacher in clone.summary(run)["routing"]["touch"]]
    assert sum(shares) == pytest.approx(1)


def test_a_task(clone: Clone) -> None:
    """Its metrics are in the table with their direction; networks have its number of outputs."""
    (said,) = clone.outputs["Add a task"]
    assert "mean error ↓" in said
    summary = clone.summary("grades_touch_ordinal")
    assert set(summary["students"]["touch"]["distilled"]) == {"MAE", "OA"}
    student = clone.weights("grades_touch_ordinal", "dkd-touch", "touch")
    assert student["classifier.weight"].shape == (4, 16)


def test_a_figure(clone: Clone) -> None:
    """It is drawn from the run's folder alone, and names the stages."""
    (said,) = clone.outputs["Add a figure"]
    assert said.split() == ["curves.svg", "curves.png"]
    picture = (clone.folder / "curves.svg").read_text(encoding="utf-8")
    assert "synthetic grades" in picture
    assert "sta-touch-sound.hidden1" in picture


def test_examples_are_written_as_the_package_is(clone: Clone) -> None:
    """The linter and the formatter have nothing to say about them."""
    examples = [name for name in files() if name.endswith(".py")]
    clone.call("ruff", "check", *examples)
    clone.call("ruff", "format", "--check", *examples)


@pytest.mark.parametrize("page", PAGES)
def test_files_and_functions_that_a_page_names_are_there(page: str) -> None:
    """`declare/graph.py::declare` is a function of that file; a path is a file or a folder."""
    examples = files()
    found = re.findall(r"`([\w./-]+/[\w./-]*|[\w/-]+\.py)(?:::(\w+)(?:\.(\w+))?)?`", PAGES[page])
    assert found
    for name, *inside in found:
        if name in examples or re.match(r"(runs|stores|stages)/", name):
            continue
        path = next((p for p in (ROOT / name, ROOT / "mstgraph" / name) if p.exists()), None)
        assert path is not None, f"{page} names {name}"
        body: list[ast.stmt] = ast.parse(path.read_text("utf-8")).body if inside[0] else []
        for wanted in filter(None, inside):
            defined = {node.name: node for node in body if hasattr(node, "name")}
            assert wanted in defined, f"{page} names {name}::{wanted}"
            body = getattr(defined[wanted], "body", [])


def test_the_map_has_the_rooms_of_the_contract() -> None:
    """In its order: what the map says of imports is what the linter of the arrows checks."""
    contract, *_ = read_configuration(str(ROOT / "pyproject.toml"))["contracts_options"]
    rooms = [re.findall(r"\w+", layer) for layer in contract["layers"]]
    (drawn,) = (text for kind, text in BLOCK.findall(PAGES["ARCHITECTURE.md"]) if kind == "text")
    heads = [line.split("  ")[0] for line in drawn.splitlines()]
    assert [re.findall(r"\w+", head) for head in heads] == rooms


def test_the_readme_points_to_the_pages() -> None:
    """Both of them."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert all(f"]({page})" in readme for page in PAGES)
