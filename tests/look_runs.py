"""A tiny run to look at: vectors drawn at random, a gate over four specialised teachers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import training_worlds as small
from tiny_graphs import DATA, SHORT, TINY_RECIPE, TWO

from mstgraph.derive.opening import open_experiment
from mstgraph.store import load_recipe
from mstgraph.store.build.builder import build


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, once for all tests."""
    folder = tmp_path_factory.mktemp("look")
    recipe, gin_file = folder / "tiny.py", folder / "graph.gin"
    recipe.write_text(TINY_RECIPE.replace("length: int = 20", "length: int = 60"))
    build(load_recipe(recipe), folder / "store")
    mst = "include 'gin/base/mst.gin'\n"
    gin_file.write_text(mst + DATA.format(recipe=recipe, store=folder / "store") + TWO)
    small.run(open_experiment([gin_file], [b for b in SHORT if "Hint" not in b]), folder / "run")
    return folder / "run"


@pytest.fixture
def stopped_run(tiny_run: Path, tmp_path: Path) -> Path:
    """The same as if it had been stopped in its last stage but one."""
    folder = tmp_path / "stopped"
    shutil.copytree(tiny_run, folder)
    for path in (folder / "summary.json", *folder.glob("student-*")):
        path.unlink()
    (folder / "stages" / "dkd-rgb" / "artefact.json").unlink()
    return folder
