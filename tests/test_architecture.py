"""The shape of the house: which way arrows run, how deep they go, how much a folder holds."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import grimp
import networkx as nx
import pytest

ROOT = Path(__file__).parents[1]
LONGEST = 12  # files in a row of imports: lower it as it falls, never raise it
MOST_FILES = 11
ROOMIER = {
    "mstgraph/methods": math.inf,  # a method is one file, and there is no end of methods
    "mstgraph/networks": math.inf,  # nor of networks
    "mstgraph/stages": math.inf,  # nor of stages
    "mstgraph/tasks": math.inf,  # nor of tasks
    "mstgraph/cli": math.inf,  # a command is one file
    "mstgraph/report": math.inf,  # and so is what a command prints
    "mstgraph/store": 13,  # small ones on the way from a recipe to a batch
}


@pytest.fixture(scope="module")
def imports() -> nx.DiGraph:
    """Who imports whom, also for annotations alone."""
    found = grimp.build_graph("mstgraph", exclude_type_checking_imports=False, cache_dir=None)
    return nx.DiGraph(
        (module, imported)
        for module in found.modules
        for imported in found.find_modules_directly_imported_by(module)
    )


def test_arrows_run_one_way() -> None:
    """The contracts of ``[tool.importlinter]`` in ``pyproject.toml`` are kept."""
    # A process of its own: the linter switches off every logger that it finds.
    linter = "import sys; from importlinter.cli import lint_imports as lint; "
    command = [sys.executable, "-c", linter + "sys.exit(lint(no_cache=True))"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_no_circle_of_files(imports: nx.DiGraph) -> None:
    """Whatever rooms they are in."""
    assert [*nx.simple_cycles(imports)] == []


def test_no_row_of_imports_is_longer_than_it_was(imports: nx.DiGraph) -> None:
    """Who follows a thought from file to file comes to its end."""
    row = nx.dag_longest_path(imports)
    print(f"{len(row)} files in a row: {' → '.join(row)}")
    assert len(row) <= LONGEST, " → ".join(row)


@pytest.mark.parametrize(
    "folder",
    sorted({str(file.parent.relative_to(ROOT)) for file in ROOT.glob("mstgraph/**/*.py")}),
)
def test_a_folder_can_be_taken_in_at_a_glance(folder: str) -> None:
    """More files want a folder of their own, unless there is a reason."""
    files = [file for file in (ROOT / folder).glob("*.py") if file.name != "__init__.py"]
    assert len(files) <= ROOMIER.get(folder, MOST_FILES)
