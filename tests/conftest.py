"""A tiny data set, its store, and gin text to experiment: what the tests of the plan start from."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import gin
import pytest
import torch

from mstgraph.experiment import Experiment, open_experiment
from mstgraph.store import build, load_recipe

ROOT = Path(__file__).parents[1]
torch.set_num_threads(1)

TINY_RECIPE = """
from dataclasses import dataclass

import numpy as np

from mstgraph.store.recipe import Labels, Modality, Recipe


@dataclass
class Tiny(Recipe):
    seed: int = 0
    length: int = 20

    title = "tiny vectors"
    source = "drawn at random"
    licence = "none"
    synthetic = "random numbers"

    def modalities(self):
        widths = {"rgb": 8, "depth": 6, "audio": 5, "normals": 4, "touch": 3, "smell": 7}
        return tuple(Modality(name, "float32", (width,)) for name, width in widths.items())

    def labels(self):
        return Labels("classification", ("cat", "dog", "owl"))

    def __len__(self):
        return self.length

    def sample(self, index):
        draw = np.random.RandomState(1000 * self.seed + index)
        sample = {
            m.name: draw.standard_normal(m.shape).astype(np.float32) for m in self.modalities()
        }
        return {**sample, "label": np.array(index % 3)}
"""

# What most graphs of the tests have in common; {store} and {recipe} are filled in.
DATA = """
data.recipe = '{recipe}'
data.store = '{store}'
data.batch_size = 5
Member.network = @MLP
MLP.hidden = (6, 4)
FusedMLP.branch = (4,)
FusedMLP.hidden = (6, 4)
MaskNet.heads = 2
"""

# The graph of the paper's Figure 2: two modalities, a fused member, two mask points each.
TWO = """
graph.gate = @Gate
graph.target = 'rgb'
Member.mutual = 'all'
graph.rgb = @rgb/Member()
graph.depth = @depth/Member()
depth/Member.masks = ('hidden1', 'hidden2')
graph.fused = @fused/Member()
fused/Member:
  network = @FusedMLP
  inputs = ('rgb', 'depth')
  masks = ('fusion', 'hidden1')
"""


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
