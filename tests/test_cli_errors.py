"""The command line: exit codes, one sentence per mistake, and what is imported when."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tiny_graphs import ROOT, TWO

from mstgraph import cli
from mstgraph.api import experiment
from mstgraph.cli import main
from mstgraph.derive.experiment import Experiment


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, so that no run folder of somebody else is looked at."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str | Path) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(*arguments: str | Path) -> str:
    """Return the one line on standard error of a command that exits with 2."""
    result = call(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("mstgraph: ")
    assert result.stderr.count("\n") == 1, "one sentence, no traceback"
    return result.stderr.removeprefix("mstgraph: ").rstrip()


MISTAKES = {
    "no such file": (["nothing.gin"], "there is no file 'nothing.gin': looked in the "),
    "syntax": (["-p", "CI.epochs"], "command line '-p CI.epochs': gin cannot read this: "),
    "unknown parameter": (["-p", "CI.epoch = 1"], "command line '-p CI.epoch = 1': 'CI' has no "),
    "unknown name": (["-p", "CII.epochs = 1"], "command line '-p CII.epochs = 1': unknown name "),
    "scope": (["-p", "dept/MLP.hidden = (3,)"], "command line '-p dept/MLP.hidden = (3,)': nobody"),
    "type": (
        ["-p", "CI.epochs = 'ten'"],
        "command line '-p CI.epochs = 'ten'': CI.epochs is 'ten'",
    ),
    "target": (
        ["-p", "graph.target = 'x'"],
        "command line '-p graph.target = 'x'': the target 'x'",
    ),
    "mask": (
        ["-p", "depth/Member.masks = 'x'"],
        "command line '-p depth/Member.masks = 'x'': member 'depth': MLP has no layer 'x'",
    ),
    "k": (["-p", "DKD.k = 9"], "command line '-p DKD.k = 9': DKD.k is 9, expected 1 to N = 4"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("command", ["show", "run"])
def test_a_mistake_is_one_sentence_and_exit_code_2(
    folder: Path, write_gin: Callable[..., Path], command: str, mistake: str
) -> None:
    """For every command that takes gin files; nothing is written."""
    path = write_gin(TWO)
    arguments, sentence = MISTAKES[mistake]
    assert refused(command, path, *arguments).startswith(sentence)
    assert not (folder / "runs").exists()


def test_debug_shows_the_traceback(folder: Path, write_gin: Callable[..., Path]) -> None:
    """And the sentence after it; the exit code stays."""
    result = call("show", write_gin(TWO), "-p", "DKD.k = 9", "--debug")
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.rstrip().splitlines()[-1].startswith("mstgraph: command line '-p DKD.k")


def test_wrong_usage_is_exit_code_2(folder: Path) -> None:
    """What click refuses itself."""
    assert call("show").exit_code == 2
    assert call("shwo", "x.gin").exit_code == 2
    assert call("show", "x.gin", "--colour").exit_code == 2


@pytest.mark.parametrize("form", ["--json", "--dot", "--mermaid"])
def test_machine_readable_forms_stand_alone_on_standard_output(
    folder: Path, write_gin: Callable[..., Path], form: str
) -> None:
    """Nothing but the form itself, with --seed taken over."""
    result = call("show", write_gin(TWO), form, "--seed", "3")
    assert result.exit_code == 0
    assert result.stderr == ""
    start = {"--json": "{", "--dot": "digraph", "--mermaid": "flowchart"}[form]
    assert result.stdout.startswith(start)
    if form == "--json":
        assert json.loads(result.stdout)["seed"] == 3


def test_short_options_are_bindings(
    folder: Path, write_gin: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """--precision and --no-cache bind the engine and win over -p; without them nothing is bound."""
    path, given = write_gin(TWO), []
    opened = experiment.open_experiment

    def remembered(files: Sequence[str], bindings: Sequence[str], **options: Any) -> Experiment:
        given.append(opened(files, bindings, **options).engine)
        return opened(files, bindings, **options)

    monkeypatch.setattr(experiment, "open_experiment", remembered)
    assert call("show", path).exit_code == 0
    options = ("-p", "engine.cache = True", "--precision", "bf16", "--no-cache")
    assert call("show", path, *options).exit_code == 0
    assert [(engine.precision, engine.cache) for engine in given] == [
        ("fp32", True),
        ("bf16", False),
    ]
    assert "'fp32', 'tf32', 'bf16'" in call("show", path, "--precision", "fp16").stderr


def test_show_works_without_any_data(folder: Path) -> None:
    """A graph whose data is missing is shown as its demonstration; the notice is one line."""
    for name in ("gin", "datasets"):
        (folder / name).symlink_to(ROOT / name)
    result = call("show", "gin/nyudepth_rgb.gin")
    assert result.exit_code == 0
    assert result.stderr.startswith("mstgraph: the store 'stores/nyudepth' is not prepared: ")
    assert result.stderr.count("\n") == 1
    assert "store not prepared yet" in result.stdout
    assert "dkd-rgb" in result.stdout
    assert {path.name for path in folder.iterdir()} == {"gin", "datasets"}, "nothing is written"


@pytest.mark.parametrize("arguments", [["--help"], ["show", "--help"], ["--version"]])
def test_help_does_not_import_torch(arguments: list[str]) -> None:
    """So that it comes at once; gin and rich are not needed either."""
    code = (
        "import sys\nfrom mstgraph.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "assert not {'torch', 'gin', 'rich', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import sys\nsys.exit(0)\n", "cannot be imported: it ends the program (sys.exit)"),
        ("raise KeyError('x')\n", "cannot be imported: KeyError: 'x' (ending.py:1)"),
    ],
)
def test_a_module_that_ends_the_program_is_no_success(
    source: str, message: str, folder: Path
) -> None:
    """Exit code 0 with nothing done would be taken for a run."""
    Path("ending.py").write_text(source)
    Path("ending.gin").write_text("import ending\n")
    assert message in refused("show", "ending.gin")


def test_an_exception_of_the_users_code_is_one_sentence(folder: Path) -> None:
    """Also where nobody expected it, with their line; the traceback is there for who asks."""
    Path("failing.py").write_text(
        "import gin\nfrom mstgraph.methods.kl import KL\n\n\n@gin.configurable\n"
        "class Odd(KL):\n    def problem(self):\n        return 1 / 0\n"
    )
    Path("failing.gin").write_text(
        f"include '{ROOT}/gin/mfeat_zer.gin'\nimport failing\nMember.loss = @Odd()\n"
    )
    said = refused("show", "failing.gin")
    assert said == "ZeroDivisionError: division by zero (failing.py:8)"
    result = call("show", "failing.gin", "--debug")
    assert "Traceback" in result.stderr
    assert result.exit_code == 2


@pytest.mark.parametrize("command", ["store info", "store verify", "eval", "prepare"])
def test_an_empty_path_is_none(command: str, folder: Path) -> None:
    """It would be the working directory."""
    assert refused(*command.split(), "").endswith("is an empty text; expected a path")


def test_a_name_that_no_disk_takes_is_refused(folder: Path) -> None:
    """Of a store, of a gin file, and of a member, whose name becomes a folder's."""
    gin = ROOT / "gin/mfeat_zer.gin"
    long = "x" * 300
    assert "File name too long" in refused("show", gin, "-p", f"data.store = '{long}'")
    assert "File name too long" in refused("show", f"{long}.gin")
    member = ("-p", f"graph.{long} = @{long}/Member()", "-p", f"{long}/Member.inputs = 'kar'")
    assert "letters, expected at most 200" in refused("show", gin, *member)


@pytest.mark.parametrize("command", ["run", "tune", "bench"])
def test_an_address_that_is_empty_trains_nothing_here(command: str, folder: Path) -> None:
    """It is that of a variable that nobody set."""
    said = refused(command, "gin/mfeat_zer.gin", "--ray", "")
    assert said == "--ray is an empty text; expected host:port, auto or local"


@pytest.mark.parametrize(
    "words", [["show", "nothing.gin"], ["show"], ["nothing"], ["runs", "nowhere"]]
)
def test_who_comes_second_of_several_processes_ends_without_a_word(
    words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the exit code that it would have had."""
    spoken = call(*words)
    monkeypatch.setattr(cli, "speaks", lambda: False)
    silent = call(*words)
    assert (silent.exit_code, silent.output) == (spoken.exit_code, "")
    assert (spoken.exit_code, bool(spoken.output)) == (2, True)
