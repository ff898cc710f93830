"""The figures of runs: each drawn, named by its file, refused in one sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_graphs import ROOT

from mstgraph.cli import main

pytest.importorskip("matplotlib")

from mstgraph.viz import figures
from mstgraph.viz.canvas import as_svg
from mstgraph.viz.wanted import Wanted

TOOLS = {"compare": "compare_runs"}


@pytest.mark.parametrize("name", ["paths", "routing", "features", "masks", "transfer"])
def test_a_run_is_drawn(name: str, tiny_run: Path) -> None:
    """One picture, which says that its data is synthetic."""
    svg = as_svg(figures.figure(name)(Wanted((tiny_run,), samples=12)))
    assert ">random numbers<" in svg


def test_runs_are_compared_with_what_they_differ_in(tiny_run: Path) -> None:
    """A run differs in nothing from itself."""
    svg = as_svg(figures.figure("compare")(Wanted((tiny_run, tiny_run))))
    assert "no setting differs" in svg


@pytest.mark.parametrize("name", figures.names())
def test_every_figure_has_its_tool_and_says_what_it_shows(name: str) -> None:
    """A new figure is one file there and one here."""
    tool = ROOT / "tools" / f"{TOOLS.get(name, f'draw_{name}')}.py"
    assert f'main(["draw", "{name}"' in tool.read_text()
    assert re.fullmatch(r"[A-Z].{20,}\.", figures.meaning(name))


def call(*arguments: object) -> tuple[int, str, str]:
    """Run the command."""
    result = CliRunner().invoke(main, ["draw", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_a_format_is_chosen(tiny_run: Path, tmp_path: Path) -> None:
    """Only that one is written, again over itself, and nothing of others."""
    stem = tmp_path / "out"
    for _ in range(2):
        code, stdout, stderr = call("routing", tiny_run, "--out", stem, "--format", "pdf")
        assert (code, stdout, stderr) == (0, f"{stem}.pdf\n", "")
    assert (tmp_path / "out.pdf").read_bytes().startswith(b"%PDF")
    assert len([*tmp_path.iterdir()]) == 1
    (tmp_path / "theirs.pdf").write_bytes(b"%PDF precious")
    assert call("routing", tiny_run, "--out", tmp_path / "theirs", "--format", "pdf")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["saliency", "{run}"], "no places to look at"),
        (["features", "{run}", "--method", "pcaa"], "'pcaa'"),
        (["masks", "{run}", "--student", "rgp"], "no student 'rgp'; did you mean 'rgb'"),
        (["routing"], "expected the folder of one after it"),
        (["rooting", "{run}"], "no figure and no file 'rooting'; did you mean 'routing'"),
        (["compare", "{run}"], "needs two folders"),
        (["masks", "{run}", "{run}"], "shows one run, not 2"),
        (["masks", "{stopped}"], "has no summary.json"),
        (["routing", "nowhere.gin"], "is no folder"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str],
    sentence: str,
    tiny_run: Path,
    stopped_run: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Exit code 2, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    words = [a.format(run=tiny_run, stopped=stopped_run) for a in arguments]
    code, stdout, stderr = call(*words)
    assert (code, stdout) == (2, "")
    assert sentence in stderr
    assert len(stderr.splitlines()) == 1


def test_a_stopped_run_shows_how_far_it_came(stopped_run: Path) -> None:
    """The gate's epochs are there before the run is finished."""
    assert "epoch" in as_svg(figures.figure("routing")(Wanted((stopped_run,))))
