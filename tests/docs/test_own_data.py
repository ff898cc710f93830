"""The guide to data of one's own: its commands and its code, as a reader would type them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from own_data import CLASSES, write_own_data

import mstgraph
from mstgraph.cli import main

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own-data.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_from_raw_files_to_a_student(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A (synthetic) table of JPEG, WAV and NPY files becomes a student that answers."""
    monkeypatch.chdir(tmp_path)
    write_own_data(tmp_path / "raw")
    said = []
    for kind, text in BLOCK.findall(PAGE.read_text("utf-8")):
        for line in text.splitlines() if kind == "sh" else ():
            done = CliRunner().invoke(main, shlex.split(line)[1:], catch_exceptions=False)
            assert done.exit_code == 0, done.output
            said.append(done.output)
        if kind == "python":
            capsys.readouterr()
            exec(compile(text, "own-data.md", "exec"), {})
            assert capsys.readouterr().out.strip() in CLASSES
    assert sorted(path.name for path in Path("mine").iterdir()) == [
        *("README.md", "mine.gin", "recipe.py", "store")
    ]
    assert "recipe.py" in said[0]
    assert "synthetic tones" in said[2]  # beside the numbers of an evaluation
    assert set(mstgraph.open_run("runs/try").summary["students"]) == {"photo"}
