"""`mstgraph draw`, and the tool that does the same."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import plan_documents as documents
import pytest
from click.testing import CliRunner
from tiny_graphs import ROOT

from mstgraph.cli import main

pytest.importorskip("matplotlib")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run's folder."""
    folder = tmp_path / "runs" / "example"
    folder.mkdir(parents=True)
    plan = documents.two_modalities()
    summary = {"routing": documents.routing(plan, [0.41, 0.08, 0.37, 0.14])}
    (folder / "plan.json").write_text(json.dumps(plan))
    (folder / "summary.json").write_text(json.dumps(summary))
    monkeypatch.chdir(tmp_path)
    return folder


def call(*arguments):
    """Run the command; return its exit code, and its lines on stdout and on stderr."""
    result = CliRunner().invoke(main, ["draw", *map(str, arguments)])
    return result.exit_code, result.stdout.splitlines(), result.stderr.splitlines()


def test_a_run_is_drawn_with_its_routing(run):
    """From a run's folder, SVG and PNG; shares as percentages; named after the folder."""
    code, written, errors = call(run)
    assert (code, written, errors) == (0, ["example-paths.svg", "example-paths.png"], [])
    assert "KL · 41 %" in Path("example-paths.svg").read_text()
    assert Path("example-paths.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_without_a_gate_has_no_routing(run):
    """A run whose summary has no routing is drawn as planned."""
    (run / "summary.json").write_text("{}")
    assert call(run, "--out", "x/plain")[0] == 0
    assert "%" not in Path("x/plain.svg").read_text().partition("</style>")[2]


def test_a_gin_file_is_drawn_before_any_run(tmp_path, monkeypatch):
    """From gin files and bindings, without a store."""
    monkeypatch.chdir(ROOT)
    code, written, _ = call(
        "gin/mfeat_zer.gin",
        "-p",
        "data.store = 'stores/nowhere'",
        "-p",
        "fou/Member.masks = ('hidden2',)",
        "--out",
        tmp_path / "zer",
    )
    assert (code, written) == (0, [f"{tmp_path}/zer.svg", f"{tmp_path}/zer.png"])
    svg = (tmp_path / "zer.svg").read_text()
    assert "for zer: N = 3" in svg
    assert ">Distillation paths of mfeat_zer<" in svg


def test_data_that_stands_in_is_said(tmp_path, monkeypatch):
    """When synthetic rooms stand in for missing data, the picture says so."""
    monkeypatch.chdir(tmp_path)
    code, _, errors = call(ROOT / "gin" / "nyudepth_rgb.gin", "--out", "rooms")
    assert code == 0
    assert len(errors) == 1
    assert ">synthetic rooms<" in Path("rooms.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere.gin"], "nowhere.gin"),
        (["empty"], "has no plan.json"),
        (["runs/example", "-p", "graph.seed = 1"], "give no other source"),
        (["runs/example", "runs/example"], "give no other source"),
        (["runs/example", "--out", "runs/example/plan.json/x"], "cannot be made"),
    ],
)
def test_a_wrong_source_is_one_sentence(run, arguments, sentence):
    """The user's mistakes: one sentence and exit code 2."""
    Path("empty").mkdir()
    code, written, errors = call(*arguments)
    assert (code, written) == (2, [])
    assert len(errors) == 1
    assert sentence in errors[0]


def test_an_unfinished_run_is_refused(run):
    """A run without a summary has no routing to show."""
    (run / "summary.json").unlink()
    code, _, errors = call(run)
    assert code == 2
    assert errors == [
        f"mstgraph: '{run}' has no summary.json; expected the folder of a finished run, or a "
        "gin file"
    ]


def test_a_source_is_asked_for():
    """Without a source, the usage."""
    code, _, errors = call()
    assert code == 2
    assert "Missing argument" in errors[-1]


def test_the_tool_is_the_command(run):
    """`python tools/draw_paths.py` takes what `mstgraph draw` takes."""
    tool = ROOT / "tools" / "draw_paths.py"
    done = subprocess.run([sys.executable, tool, run], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["example-paths.svg", "example-paths.png"]


def test_a_picture_of_another_run_is_not_overwritten(run):
    """Of a folder of one name elsewhere, in any format, unless it is asked for; its own is."""
    other = Path("others") / "example"
    shutil.copytree(run, other)
    formats = [word for ending in ("svg", "png", "pdf") for word in ("--format", ending)]
    assert call(run, *formats)[0] == call(run, *formats)[0] == 0
    before = [Path(f"example-paths.{ending}").read_bytes() for ending in ("svg", "png", "pdf")]
    for ending in ("svg", "png", "pdf"):
        code, _, errors = call(other, "--format", ending)
        assert code == 2
        assert f"'example-paths.{ending}' is there already and shows another run" in errors[0]
    assert before == [Path(f"example-paths.{e}").read_bytes() for e in ("svg", "png", "pdf")]
    assert call(other, "--out", "example-paths")[0] == 0


@pytest.mark.parametrize("ending", ["svg", "png"])
def test_what_somebody_else_drew_is_not_overwritten(run, ending):
    """One sentence, and the picture stays; what mstgraph drew itself is drawn anew."""
    assert call(run, "--out", "mine")[0] == 0
    assert call(run, "--out", "mine")[0] == 0
    other = Path(f"other.{ending}")
    other.write_bytes(b"precious")
    code, _, errors = call(run, "--out", "other")
    assert code == 2
    assert errors == [
        f"mstgraph: 'other.{ending}' is there already and was not drawn by mstgraph; expected "
        "another place with --out, or that you move it"
    ]
    assert other.read_bytes() == b"precious"


@pytest.mark.parametrize("key", ["name", "stages", "members", "edges", "teachers", "gates"])
def test_a_plan_of_another_form_is_one_sentence(run, key):
    """Whatever is missing in it, or is of another type."""
    plan = json.loads((run / "plan.json").read_text())
    for content in ({**plan, key: 3}, {k: v for k, v in plan.items() if k != key}):
        (run / "plan.json").write_text(json.dumps(content))
        code, _, errors = call(run)
        assert (code, len(errors)) == (2, 1)
        assert f"{key} is" in errors[0]


def test_drawing_a_run_runs_none_of_its_code(run):
    """Of a folder that came from somebody else, too."""
    for name in ("sitecustomize", "matplotlib", "net"):
        (run / f"{name}.py").write_text("raise SystemExit('it was run')")
    (run / "config.gin").write_text("import net")
    assert call(run)[0] == 0
