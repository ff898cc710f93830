"""The installed wheel, built from the source distribution, in an empty folder far from both."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_graphs import ROOT

pytest.importorskip("matplotlib")
pytest.importorskip("setuptools")

FOLDERS = ("mstgraph", "gin", "datasets", "tools", "tests", "docs")
FILES = ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
SHORT = [
    word
    for stage in ("Pretrain", "CI", "STA", "DKD", "Distill")
    for word in ("-p", f"{stage}.epochs = 1")
]


def python(*arguments: str | Path, cwd: Path) -> None:
    """Run Python, offline."""
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that the source distribution gives; building leaves no trace in the repository."""
    work = tmp_path_factory.mktemp("build")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, work / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, work)
    python("-c", "from setuptools import build_meta; build_meta.build_sdist('dist')", cwd=work)
    (source,) = (work / "dist").glob("*.tar.gz")
    python(
        *("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", "dist", source), cwd=work
    )
    (built,) = (work / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    python("-m", "pip", "install", "--no-deps", "--target", folder, wheel, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def mstgraph(
    installed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs a command of the installed package in an empty folder."""
    folder = tmp_path_factory.mktemp("empty")
    environment = {**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, installed / "bin" / "mstgraph", *arguments]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )

    return run


def files(folder: Path, *patterns: str) -> set[str]:
    """Return the files below a folder, relative to it."""
    found = (path for pattern in patterns for path in folder.rglob(pattern) if path.is_file())
    return {str(path.relative_to(folder)) for path in found}


def test_the_wheel_holds_the_package_and_what_it_ships(wheel: Path) -> None:
    """Modules, page template, gin files, recipes, data sets; no tests, no development tools."""
    names = set(zipfile.ZipFile(wheel).namelist())
    kinds = ("*.py", "*.pyi", "py.typed", "page/template/*")
    modules = {f"mstgraph/{name}" for name in files(ROOT / "mstgraph", *kinds)}
    shipped = {
        f"mstgraph/shipped/{folder}/{name}"
        for folder in ("gin", "datasets")
        for name in files(ROOT / folder, "*.gin", "*.py", "*.npz", "*.csv")
    }
    assert {name for name in names if ".dist-info/" not in name} == modules | shipped


def test_every_command_works_in_an_empty_folder(
    mstgraph: Callable[..., subprocess.CompletedProcess[str]], installed: Path
) -> None:
    """Gin files and recipes are found; what is written lies in that folder alone."""
    before = files(installed, "*.gin", "*.npz", "*.mdb", "*.json")
    row = "bench.rows = (('w/o KD', '', 'gin/methods/none.gin'),)"
    for command in (
        ["prepare", "datasets/mfeat.py"],
        ["store", "info", "stores/mfeat"],
        ["show", "gin/mfeat_zer.gin"],
        ["run", "gin/mfeat_zer.gin", *SHORT],
        ["draw", "runs/mfeat_zer-seed0", "--out", "paths"],
        ["bench", "gin/bench/quick.gin", "--seeds", "0", *SHORT[:2], "-p", row],
    ):
        done = mstgraph(*command)
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    assert files(installed, "*.gin", "*.npz", "*.mdb", "*.json") == before


def test_an_error_says_where_it_looked(
    mstgraph: Callable[..., subprocess.CompletedProcess[str]], installed: Path
) -> None:
    """The working directory, and the installed package's own files."""
    done = mstgraph("show", "gin/mfeat_zr.gin")
    assert done.returncode == 2
    assert done.stderr.startswith(
        "mstgraph: there is no file 'gin/mfeat_zr.gin': looked in the working directory, and in "
        f"'{installed / 'mstgraph' / 'shipped'}'; did you mean 'gin/mfeat_zer.gin'? "
    )
