"""Text and pictures for networks by name: a tiny store, and graphs that train on it."""

from __future__ import annotations

from pathlib import Path

import torch
from training_worlds import assert_weights, run

from mstgraph.derive.opening import open_experiment
from mstgraph.distil.cuts import Cut, holds, probe_cut
from mstgraph.distil.probing import output_shapes
from mstgraph.store import load_recipe
from mstgraph.store.build.builder import build

RECIPE = """
from dataclasses import dataclass

import numpy as np

from mstgraph.store.recipe import Labels, Modality, Recipe


@dataclass
class Captions(Recipe):
    title = "captions"
    source = "drawn at random"
    licence = "none"
    synthetic = "synthetic captions"

    def modalities(self):
        return (
            Modality("text", "int32", (6,), integers=True),
            Modality("picture", "uint8", (3, 32, 32)),
            Modality("sketch", "uint8", (1, 32, 32)),
        )

    def labels(self):
        return Labels("classification", ("cat", "dog", "owl"))

    def __len__(self):
        return 40

    def sample(self, index):
        draw, label = np.random.RandomState(index), index % 3
        ids = 5 * label + draw.randint(1, 6, 6)
        ids[3 + index % 4 :] = 0
        return {
            "text": ids.astype(np.int32),
            "picture": (60 * label + draw.randint(0, 99, (3, 32, 32))).astype(np.uint8),
            "sketch": (60 * label + draw.randint(0, 99, (1, 32, 32))).astype(np.uint8),
            "label": np.array(label),
        }
"""
STAGES = """
data.batch_size = 8
graph.gate = @Gate
Member.mutual = 'all'
CI.epochs = 1
CI.learning_rate = 1e-3
STA.epochs = 1
STA.learning_rate = 1e-3
DKD.epochs = 2
DKD.learning_rate = 1e-3
MaskNet.hidden = 3
MaskNet.heads = 1
graph.alone = False
"""


def captions(folder: Path) -> Path:
    """Build the store and return the gin text's file without members."""
    (folder / "captions.py").write_text(RECIPE)
    build(load_recipe(folder / "captions.py"), folder / "store")
    path = folder / "captions.gin"
    data = f"data.recipe = '{folder}/captions.py'\ndata.store = '{folder}/store'\n"
    path.write_text(data + STAGES)
    return path


def trains_alike_without_cache(folder: Path, graph: str) -> None:
    """Run a graph with what is kept and without: the same weights, to rounding.

    In double precision: Adam makes steps of what rounding leaves of a gradient that is zero.
    """
    (folder / "graph.gin").write_text(f"include '{captions(folder)}'\n{graph}")
    for name, cache in (("kept", True), ("anew", False)):
        run(open_experiment([folder / "graph.gin"], [f"engine.cache = {cache}"]), folder / name)
    assert_weights(folder / "kept", folder / "anew", 1e-6)


def roles_are_layers(network: torch.nn.Module, inputs: dict[str, tuple[int, ...]]) -> bool:
    """Check that all roles are layers with shapes; say whether it is cut at its mask points."""
    roles = network.roles
    output_shapes(network, inputs, {point for layers in roles.values() for point in layers})
    network.eval()
    if probe_cut(network, roles["masks"], inputs) is None:
        return False
    assert holds(Cut(network, roles["masks"]), network, roles["masks"], inputs)
    return True
