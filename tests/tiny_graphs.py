"""Text that tests start from: a recipe of tiny vectors, and graphs over it in gin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mstgraph.derive.experiment import Experiment

Make = Callable[..., Experiment]

ROOT = Path(__file__).parents[1]

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
student_epochs = 100
student_rate = 1e-4
Distill.epochs = %student_epochs
Distill.learning_rate = %student_rate
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

# The layers that play a role for losses which read features; for graphs of `MLP` and `FusedMLP`.
ROLES = """
Member.hints = ('hidden1', 'hidden2')
Member.penultimate = 'hidden2'
"""

METHODS = tuple(sorted(path.stem for path in (ROOT / "gin/methods").glob("*.gin")))
SHORT = tuple(f"{s}.epochs = 2" for s in ("CI", "STA", "DKD", "Distill", "Hint", "Pretrain"))


def hashes(experiment: Experiment) -> dict[str, str]:
    """Return stage → hash."""
    return {name: node.hash for name, node in experiment.plan.stages.items()}


def changed(before: Experiment, after: Experiment) -> set[str]:
    """Return the stages whose hash is another one."""
    old, new = hashes(before), hashes(after)
    assert old.keys() == new.keys()
    return {name for name in old if old[name] != new[name]}


# One process: importing torch takes longer than most of the commands.
TYPIST = """
import json, sys
from click.testing import CliRunner
from mstgraph.cli import main
said = []
for words in json.loads(sys.argv[1]):
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, (words, result.output, result.exception)
    said.append(result.output)
print(json.dumps(said))
"""
