"""What opens a folder that somebody sent, and what of it is run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import training_worlds as small
from click.testing import CliRunner
from tiny_graphs import DATA, TWO

from mstgraph.cli import main
from mstgraph.derive.opening import open_experiment

NETWORK = """
import gin
from mstgraph.networks.mlp import MLP

@gin.configurable
class Sent(MLP):
    pass
"""
TRAP = "open('it was run', 'w').close()\nraise SystemExit('it was run')\n"


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Path, tiny_store: Path) -> Path:
    """A folder with a run of a network of one's own and its store; then all its code is a trap."""
    folder = tmp_path_factory.mktemp("sent")
    shutil.copy(tiny_recipe, folder / "tiny.py")
    shutil.copytree(tiny_store, folder / "store")
    (folder / "sent_network.py").write_text(NETWORK)
    data = DATA.format(recipe="tiny.py", store="store").replace("@MLP", "@Sent")
    (folder / "sent.gin").write_text(
        f"import sent_network\ninclude '{small.ROOT}/gin/base/mst.gin'\n{data}{TWO}"
    )
    before = Path.cwd()
    os.chdir(folder)
    short = [f"{stage}.epochs = 1" for stage in ("CI", "STA", "DKD")]
    small.run(open_experiment(["sent.gin"], [*short, "student_epochs = 1"]), "run")
    os.chdir(before)
    for code in [path for path in folder.rglob("*.py") if not path.is_symlink()]:
        code.write_text(TRAP + code.read_text())
    return folder


@pytest.fixture
def call(sent: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str]]:
    """Return a function from a command to its exit code and what it says; no trap has sprung."""

    def run(*words: str) -> tuple[int, str]:
        monkeypatch.chdir(sent)
        result = CliRunner().invoke(main, words)
        assert not (sent / "it was run").exists(), words
        return result.exit_code, result.output

    return run


@pytest.mark.parametrize(
    "words",
    [
        ("store", "info", "store"),
        ("store", "verify", "store"),
        ("runs", "."),
        ("draw", "paths", "run", "--out", "paths.svg"),
        ("draw", "routing", "run", "--out", "routing.svg"),
    ],
    ids=" ".join,
)
def test_what_is_data_is_looked_at_without_running_anything(
    call: Callable[..., tuple[int, str]], words: tuple[str, ...]
) -> None:
    """A store, a table of runs, figures of what a run recorded."""
    code, said = call(*words)
    assert code == 0, said


@pytest.mark.parametrize("command", ["eval", "predict", "export", "advise"])
def test_code_is_refused_where_it_was_forbidden(
    call: Callable[..., tuple[int, str]], command: str
) -> None:
    """In one sentence that says so, before a line of it has run."""
    more = {"predict": ("x.npy",), "export": ("--format", "torch")}.get(command, ())
    code, said = call(command, "run", *more, "--no-code")
    assert code == 2, said
    assert said.startswith("mstgraph: ")
    assert len(said.splitlines()) == 1, said


def test_the_traps_are_set(sent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that is allowed to run the code does so, and ends in a sentence."""
    monkeypatch.chdir(sent)
    result = CliRunner().invoke(main, ["show", "sent.gin"])
    assert (sent / "it was run").exists()
    (sent / "it was run").unlink()
    assert result.exit_code == 2, result.output
    assert "sent_network' cannot be imported" in result.output
