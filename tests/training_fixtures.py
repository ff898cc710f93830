"""Fixtures for tests that train; loaded by name, beside the helpers in ``training_worlds``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from training_worlds import ROOT

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
