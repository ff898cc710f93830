"""A tiny data set, its store, and gin text to experiment: what the tests of the plan start from."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import gin
import pytest
import torch
from tiny_graphs import DATA, ROLES, ROOT, TINY_RECIPE, TWO

from mstgraph.derive.experiment import Experiment
from mstgraph.derive.opening import open_experiment
from mstgraph.store import load_recipe
from mstgraph.store.build.builder import build

torch.set_num_threads(1)
os.fsync = lambda descriptor: None  # no test survives a power cut; a disk's pace is a tenth of them
LONG = (  # these begin first, so that no process waits for another at the end
    *(
        "test_readme",
        "test_wheel",
        "docs/",
        "test_resume",
        "benchmark/test_run",
        "test_contributing",
        "test_gin_files",
    ),
    *("tools/", "run/test_averaging", "declare/test_settings"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long in front, else in the order of the files."""
    long = tuple(f"tests/{name}" for name in LONG)
    items.sort(key=lambda item: not item.nodeid.startswith(long))


@pytest.fixture(scope="session")
def tiny_recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a recipe with six vector modalities and three classes."""
    path = tmp_path_factory.mktemp("recipe") / "tiny.py"
    path.write_text(TINY_RECIPE)
    return path


@pytest.fixture(scope="session")
def tiny_store(tiny_recipe: Path) -> Path:
    """A store built from the tiny recipe."""
    path = tiny_recipe.parent / "tiny"
    build(load_recipe(tiny_recipe), path)
    return path


@pytest.fixture(autouse=True)
def clear_gin() -> Iterator[None]:
    """Leave no gin state to the next test."""
    yield
    gin.clear_config()


@pytest.fixture
def write_gin(tmp_path: Path, tiny_recipe: Path, tiny_store: Path) -> Callable[..., Path]:
    """Return a function from gin text to a file that holds it, the tiny data on top."""

    def write(text: str, name: str = "graph.gin", data: str = DATA) -> Path:
        path = tmp_path / name
        head = data.format(recipe=tiny_recipe, store=tiny_store)
        path.write_text(head + textwrap.dedent(text))
        return path

    return write


@pytest.fixture
def experiment(write_gin: Callable[..., Path]) -> Callable[..., Experiment]:
    """Return a function from gin text and bindings to a checked experiment over the tiny store."""

    def make(text: str = TWO, *bindings: str, data: str = DATA) -> Experiment:
        return open_experiment([write_gin(text, data=data)], bindings)

    return make


@pytest.fixture
def method(write_gin: Callable[..., Path]) -> Callable[..., Experiment]:
    """Return a function from a method's name to its file on top of a graph with roles."""

    def make(name: str, *bindings: str, text: str = TWO + ROLES) -> Experiment:
        return open_experiment([write_gin(text), ROOT / f"gin/methods/{name}.gin"], bindings)

    return make
