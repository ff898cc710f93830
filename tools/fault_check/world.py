"""A small world to damage: random values, a recipe of two files, a graph of three networks."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import mstgraph
from mstgraph.run.reporter import Silent
from mstgraph.stages.stage import StageNode
from mstgraph.store import Store
from tools.check_resume import differences

HELPER = """
import numpy as np

def values(index, gain):
    random = np.random.default_rng(index)
    return (index % 3 * gain + random.normal(size=(2, 8))).astype("float32")
"""
RECIPE = """
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import fault_helper
from mstgraph.store import Labels, Modality, Recipe


@dataclass
class Pairs(Recipe):
    title = "Random pairs"
    source = "made by tools/check_faults.py"
    licence = "none"
    synthetic = "random values"
    requires = "a file with a number"
    raw: Path
    samples: int = 120

    def modalities(self):
        return (Modality("left", "float32", (8,), 0.5), Modality("right", "float32", (8,)))

    def labels(self):
        return Labels("classification", ("zero", "one", "two"), ignored=None)

    def __len__(self):
        return self.samples

    def raw_files(self):
        return (self.raw,)

    def sample(self, index):
        left, right = fault_helper.values(index, float(Path(self.raw).read_text()))
        return {"left": left, "right": right, "label": index % 3}
"""
GIN = """
include 'gin/base/mst.gin'

data.recipe = 'pairs.py'
data.store = 'stores/pairs'
data.raw = 'raw.txt'
data.batch_size = 32

Member.network = @MLP
MLP.hidden = (8,)
graph.target = 'left'
graph.left = @left/Member()
graph.right = @right/Member()
right/Member.masks = ('hidden1',)

student_epochs = 2
CI.epochs = 2
STA.epochs = 2
DKD.epochs = 3
engine.memory_gigabytes = 0
engine.disk_gigabytes = 1
"""
BENCH = """
bench.title = 'Random pairs'
bench.students = (('left', 'pairs.gin'),)
bench.rows = (('KD', 'CM', 'gin/methods/kd.gin'), ('MST-Distill', 'CM', 'gin/methods/mst.gin'))
bench.seeds = (0,)
bench.baseline = ''
"""


class Killed(BaseException):
    """Stands for a kill: nothing is written because of it."""


class KilledAt(Silent):
    """Kills a run at a place."""

    def __init__(self, stage: str, epoch: int):
        self.place = (stage, epoch, 1)

    def batch_done(
        self, node: StageNode, epoch: int, batch: int, sums: Mapping[str, torch.Tensor]
    ) -> None:
        """Kill it, if this is the place."""
        if (node.name, epoch, batch) == self.place:
            raise Killed


@dataclass(frozen=True)
class World:
    """Where everything lies; the working directory while trials are made.

    Attributes:
        folder: the directory.
    """

    folder: Path

    def make(self, root: Path) -> None:
        """Write the recipe and the gin files.

        Args:
            root: of the repository, with the gin files of methods.
        """
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        shutil.copytree(root / "gin", self.folder / "gin")
        os.chdir(self.folder)
        for name, text in (
            ("fault_helper.py", HELPER),
            ("pairs.py", RECIPE),
            ("pairs.gin", GIN),
            ("bench.gin", BENCH),
            ("raw.txt", "1.5"),
        ):
            Path(name).write_text(text, encoding="utf-8")

    def prepare(self, out: str = "stores/pairs") -> str:
        """Prepare the store; return a digest of all that it holds."""
        store = mstgraph.prepare("pairs.py", out, raw="raw.txt", progress=False)
        return read_all(store)

    def run(self, out: str, bindings: Sequence[str] = ()) -> str:
        """Run the graph."""
        mstgraph.load("pairs.gin", *bindings).run(out, device="cpu", progress=False)
        return ""

    def run_until_killed(self, out: str, stage: str, epoch: int) -> str:
        """Run it to the middle of a stage."""
        reporter = KilledAt(stage, epoch)
        try:
            mstgraph.load("pairs.gin").run(out, device="cpu", progress=reporter)
        except Killed:
            return "killed"
        raise AssertionError(f"{stage} did not come as far as epoch {epoch}")

    def bench(self, out: str) -> str:
        """Run the benchmark."""
        mstgraph.bench("bench.gin", out=out, device="cpu", progress=False)
        return ""

    def answers(self, run: str) -> str:
        """Return a digest of what a run's student answers and of all that its folder says."""
        opened = mstgraph.open_run(run)
        student = opened.student(code=True)
        values = torch.linspace(-2, 2, 40).reshape(5, 8)
        with torch.no_grad():
            logits = student(values)
        said = json.dumps([opened.plan, student.classes, student.modality], sort_keys=True)
        return hashlib.sha256(logits.numpy().tobytes() + said.encode()).hexdigest()


def read_all(store: Store) -> str:
    """Return a digest of everything that a run reads of a store."""
    total = hashlib.sha256()
    everybody = range(len(store))
    for name, modality in store.modalities.items():
        total.update(repr((modality, store.read(name, everybody).tobytes())).encode())
    total.update(store.read_labels(everybody).tobytes())
    total.update(repr(store.labels_spec).encode())
    for split in store.metadata["splits"]:
        for part in ("train", "validation", "test"):
            total.update(store.split(split, part).tobytes())
        for name in store.modalities:
            total.update(store.statistics(name, split).packed().tobytes())
    return total.hexdigest()


def same_runs(one: str, other: str) -> str:
    """Return what two finished runs do not have in common; empty for the same bits."""
    return "; ".join(differences(Path(one), Path(other)))


def same_benches(one: str, other: str) -> str:
    """Return what two benchmarks do not have in common; empty for the same numbers."""
    found = [_numbers(Path(folder)) for folder in (one, other)]
    return "" if found[0] == found[1] else "results differ"


def _numbers(folder: Path) -> list[Any]:
    results = json.loads((folder / "results.json").read_text())
    weights = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.safetensors"))
    }
    cells = [[cell["metrics"], cell["error"], cell["control"]] for cell in results["cells"]]
    return [cells, weights]
