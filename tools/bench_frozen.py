"""Measure what a frozen backbone saves in a CI stage: frozen ÷ trained, and kept ÷ not.

python tools/bench_frozen.py [GIN_FILE …] [--frozen trunk] [--epochs 10] [--rounds 3]

Of given gin files the stage ``ci`` is measured, all of whose members have a backbone of that name.
Without any, two members of pictures are aligned, each with a backbone of convolutions, of random
weights, and a head; the pictures are random numbers. Three ways take turns: the backbones train,
they are frozen and their features kept, and they are frozen with ``engine.cache = False``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from mstgraph.derive.opening import open_experiment
from mstgraph.report.preparation import prepare_declared
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.run.execute import Execution
from mstgraph.run.reporter import Silent

RECIPE = """
from dataclasses import dataclass

import numpy as np

from mstgraph.store.recipe import Labels, Modality, Recipe


@dataclass
class Noise(Recipe):
    samples: int = 256

    title = "noise"
    source = "drawn at random"
    licence = "none"
    synthetic = "random numbers"

    def modalities(self):
        return tuple(Modality(name, "uint8", (3, 32, 32)) for name in ("left", "right"))

    def labels(self):
        return Labels("classification", ("a", "b"))

    def __len__(self):
        return self.samples

    def sample(self, index):
        draw = np.random.default_rng(index)
        pictures = {m.name: draw.integers(0, 256, m.shape, np.uint8) for m in self.modalities()}
        return {**pictures, "label": np.array(index % 2)}
"""
NETWORK = """
import gin
from torch import nn


@gin.configurable
class Pictures(nn.Module):
    def __init__(self, inputs, num_outputs):
        super().__init__()
        ((channels, *_),) = inputs.values()
        widths, layers = (channels, 32, 64, 128), []
        for one, two in zip(widths, widths[1:]):
            layers += [nn.Conv2d(one, two, 3, 2, 1), nn.BatchNorm2d(two), nn.ReLU()]
        self.trunk = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, num_outputs))

    def forward(self, x):
        return self.head(self.trunk(x))
"""
GRAPH = """
import pictures
data.recipe = '{folder}/noise.py'
data.store = '{folder}/store'
data.options = {{'samples': {samples}}}
Member.network = @Pictures
Member.mutual = 'all'
graph.target = 'left'
graph.left = @left/Member()
graph.right = @right/Member()
"""
WAYS = {
    "trained": (),
    "frozen, features kept": ("Member.frozen = ('{frozen}',)",),
    "frozen, nothing kept": ("Member.frozen = ('{frozen}',)", "engine.cache = False"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="GIN_FILE")
    parser.add_argument("--frozen", default="trunk", help="path of the backbone")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--samples", type=int, default=256, help="random pictures")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = given.files or [_random_pictures(folder, given.samples)]
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        for turn in range(given.rounds):
            for way, lines in WAYS.items():
                bindings = [line.format(frozen=given.frozen) for line in lines]
                bindings.append(f"CI.epochs = {given.epochs}")
                seconds[way].append(_seconds(files, bindings, folder / f"{turn} {way}"))
    data = ", ".join(map(str, given.files)) or "random numbers"
    _print(f"CI of {given.epochs} epochs, {data}", seconds)


def _random_pictures(folder: Path, samples: int) -> Path:
    """Write a graph whose data are random numbers."""
    (folder / "noise.py").write_text(RECIPE)
    (folder / "pictures.py").write_text(NETWORK)
    (folder / "graph.gin").write_text(GRAPH.format(folder=folder, samples=samples))
    return folder / "graph.gin"


def _seconds(files: Sequence[Path], bindings: Sequence[str], out: Path) -> float:
    """Return the processor's seconds of the CI stage, with all that belongs to it."""
    experiment = open_experiment(files, bindings, prepare=prepare_declared(False))
    execution = Execution(experiment, RunFolder(out), torch.device("cpu"), Silent())
    started = time.process_time()
    execution.run_group(["ci"])
    return time.process_time() - started


def _print(what: str, seconds: dict[str, list[float]]) -> None:
    print(f"{what}, cpu, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for way, found in seconds.items():
        print(f"{way}: {statistics.median(found):.2f} s ({min(found):.2f} to {max(found):.2f})")
    for way, than in (
        ("frozen, features kept", "trained"),
        ("frozen, features kept", "frozen, nothing kept"),
    ):
        shares = [a / b for a, b in zip(seconds[way], seconds[than], strict=True)]
        print(f"{way} ÷ {than}: {statistics.median(shares):.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
