"""The notebook is what its reader can run, from top to bottom, in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_graphs import ROOT

pytest_plugins = ("training_fixtures",)
NOTEBOOK = json.loads((ROOT / "docs/python.ipynb").read_text(encoding="utf-8"))
CELLS = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_the_cells_run_in_their_order(workspace: Path) -> None:
    """On the real digits; the last one compares the student with the summary."""
    source = "\n".join("".join(cell["source"]) for cell in CELLS)
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    for said in ("Teachers of zer: N = 4", "dkd-zer: best epoch", "zer distilled"):
        assert said in done.stdout
    assert (workspace / "runs/notebook/summary.json").is_file()


def test_it_is_a_notebook_without_outputs() -> None:
    """As the format wants it; what a machine has printed would age."""
    assert (NOTEBOOK["nbformat"], NOTEBOOK["nbformat_minor"]) == (4, 5)
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in CELLS)
    names = [cell["id"] for cell in NOTEBOOK["cells"]]
    assert len(set(names)) == len(names)


def test_it_is_valid() -> None:
    """In the words of the format's own library."""
    pytest.importorskip("nbformat").validate(NOTEBOOK)
