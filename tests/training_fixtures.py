"""Fixtures for tests that train; loaded by name, beside the helpers in ``training_worlds``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from training_worlds import ROOT, mfeat, quiet

from mstgraph.run.execute import Execution
from mstgraph.store import load_recipe
from mstgraph.store.build.builder import build


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Sums in one order, and a machine that others use too."""
    torch.set_num_threads(1)


@pytest.fixture
def float64() -> Iterator[None]:
    """Compute in double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="session")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stores of the digits and of twenty rooms of 32×32 pixels."""
    path = tmp_path_factory.mktemp("training") / "stores"
    build(load_recipe(ROOT / "datasets/mfeat.py"), path / "mfeat")
    options = {"samples": 20, "size": (32, 32)}
    build(load_recipe(ROOT / "datasets/rooms.py", None, options), path / "rooms")
    return path


@pytest.fixture
def workspace(tmp_path: Path, stores: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory as a user has it, with the gin files, the recipes and the stores."""
    for name, target in {
        "gin": ROOT / "gin",
        "datasets": ROOT / "datasets",
        "stores": stores,
    }.items():
        (tmp_path / name).symlink_to(target)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Execution]:
    """Return a function that runs the digits with all defaults in single precision, once.

    It is called in a workspace; whoever changes what is left changes a copy, `digits_run`.
    """

    @cache
    def run() -> Execution:
        execution = quiet(mfeat(), tmp_path_factory.mktemp("plain") / "run")
        execution.run()
        return execution

    return run


@pytest.fixture
def digits_run(workspace: Path, plain: Callable[[], Execution]) -> Execution:
    """What `plain` has left, copied to ``run``; its execution tells what was said."""
    shutil.copytree(plain().folder.path, workspace / "run")
    return plain()
