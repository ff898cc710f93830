"""What one part of the package leaves, another one takes: where several settings meet."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import training_worlds as small
from click.testing import CliRunner
from tiny_graphs import DATA

from mstgraph.cli import main
from mstgraph.derive.experiment import Experiment
from mstgraph.derive.opening import open_experiment
from mstgraph.look.opened import Opened
from mstgraph.look.outcomes import routing_by_class
from mstgraph.look.records import Records
from mstgraph.store import load_recipe
from mstgraph.store.build.builder import build

RECIPE = """
import numpy as np
from mstgraph.store.recipe import Labels, Modality, Recipe


class Partly(Recipe):
    title = "partly there"
    source = "drawn at random"
    licence = "none"
    synthetic = "random numbers"

    def modalities(self):
        return (
            Modality("rgb", "float32", (8,), optional=True),
            Modality("depth", "float32", (6,), optional=True),
            Modality("touch", "float32", (3,), optional=True),
            Modality("tokens", "int64", (4,), integers=True),
        )

    def labels(self):
        return Labels("classification", ("cat", "dog", "owl"), unknown=-1)

    def __len__(self):
        return 60

    def sample(self, index):
        draw = np.random.RandomState(index)
        sample = {m.name: draw.standard_normal(m.shape).astype("f") for m in self.modalities()}
        for name, every in (("rgb", 7), ("depth", 5), ("touch", 4)):
            if index % every == 1:
                sample[name] = None
        sample["tokens"] = draw.randint(0, 9, 4)
        return {**sample, "label": np.array(index % 3) if index % 6 else None}
"""
NETWORKS = '''
import gin
import torch
from torch import nn


@gin.configurable(module="words")
class Words(nn.Module):
    """Vectors, token ids, or both."""

    def __init__(self, inputs, num_outputs):
        super().__init__()
        self.integers = [type(shape).__name__ == "Integers" for shape in inputs.values()]
        layers = [
            nn.Embedding(9, 4) if whole else nn.Linear(shape[0], 4)
            for whole, shape in zip(self.integers, inputs.values())
        ]
        self.first = nn.ModuleList(layers)
        self.hidden = nn.Linear(4 * len(layers), 4)
        self.classifier = nn.Linear(4, num_outputs)

    def forward(self, *inputs):
        found = [layer(inputs[i]) for i, layer in enumerate(self.first)]
        means = [v.mean(1) if whole else v for v, whole in zip(found, self.integers)]
        return self.classifier(torch.relu(self.hidden(torch.cat(means, 1))))
'''
KD = """
import words
graph.gate = None
graph.points = 'none'
graph.alone = False
graph.depth = @depth/Member()
Member.network = @Words
Pretrain.epochs = 2
Pretrain.learning_rate = 0.01
Distill.epochs = 3
Distill.learning_rate = 0.01
"""
Open = Callable[..., Experiment]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic samples of which some lack a modality, and some a label; two are token ids."""
    folder = tmp_path_factory.mktemp("crossings")
    (folder / "tiny.py").write_text(RECIPE)
    (folder / "words.py").write_text(NETWORKS)
    build(load_recipe(folder / "tiny.py"), folder / "store")
    return folder


@pytest.fixture
def opened(data: Path) -> Open:
    """Return a function from a graph and bindings to an experiment over them."""

    def make(text: str, *bindings: str) -> Experiment:
        path = data / "graph.gin"
        path.write_text(DATA.format(recipe=data / "tiny.py", store=data / "store") + text)
        return open_experiment([path], [*bindings, "data.batch_size = 12"])

    return make


def test_one_view_is_kept_as_it_is_seen(opened: Open, tmp_path: Path) -> None:
    """A single fixed view is another input than the sample itself, and is kept as one."""
    view = """
graph.target = 'rgb'
graph.rgb = @rgb/Member()
data.augmentation = @augmentation()
augmentation.of = (@Jitter(),)
Jitter.modalities = ('depth',)
augmentation.views = 1
"""
    for cache in (True, False):
        experiment = opened(KD + view, f"engine.cache = {cache}")
        small.run(experiment, tmp_path / f"run-{cache}")
    small.assert_weights(tmp_path / "run-True", tmp_path / "run-False", 1e-6)


def test_answers_of_somebody_else_beside_integers(opened: Open, tmp_path: Path) -> None:
    """A member of answers says nothing of how other modalities are normalised."""
    stored = """
graph.target = 'rgb'
graph.rgb = @rgb/Member()
graph.touch = @touch/Member()
touch/Member.network = @Stored
touch/Member.trained = False
"""
    for cache in (True, False):
        experiment = opened(KD + stored, f"engine.cache = {cache}")
        assert experiment.data.normalisation == {
            "rgb": "standard",
            "depth": "standard",
            "touch": "none",
        }
        small.run(experiment, tmp_path / f"run-{cache}")
    small.assert_weights(tmp_path / "run-True", tmp_path / "run-False", 1e-5)


GATE = """
import words
Member.network = @Words
graph.gate = @Gate
graph.target = 'both'
graph.both = @both/Member()
both/Member.inputs = ('rgb', 'tokens')
graph.depth = @depth/Member()
depth/Member.masks = ('hidden',)
MaskNet.heads = 1
Pretrain.epochs = 1
CI.epochs = 1
STA.epochs = 1
DKD.epochs = 1
"""


def test_what_test_samples_came_to_is_told_of_the_right_ones(opened: Open, tmp_path: Path) -> None:
    """Of samples without a label, a teacher or a modality: routing, looks and the page."""
    folder = tmp_path / "run"
    experiment = opened(GATE)
    summary = small.run(experiment, folder)
    records = Records(folder)
    assert records.classes == ["cat", "dog", "owl"]
    looked = Opened(folder, torch.device("cpu"), experiment)
    labels = looked.labels(range(len(looked.ids())))
    assert (labels >= 0).all()
    assert len(looked.ids()) < len(experiment.source.store.split("0", "test"))
    shared = looked.batch(np.arange(len(labels)), ["both"])
    np.testing.assert_array_equal(shared.labels.numpy(), labels)
    found = records.contributions(("dkd-both", "both"))[:, 3:6]
    there = experiment.source.store.read_lengths(looked.ids())["rgb"] > 0
    np.testing.assert_array_equal(found, np.eye(3)[labels] * there[:, None])
    share = records.folder.statistics("dkd-both")["share"]
    taught = experiment.source.store.read_lengths(looked.ids())["depth"] > 0
    np.testing.assert_array_equal(~np.isnan(share).any(1), there & taught)
    np.testing.assert_allclose(routing_by_class(records, "both")[:, 0], 1)
    mask = records.folder.statistics("sta-both-depth.hidden")["mask_mean"]
    np.testing.assert_array_equal(~np.isnan(mask), taught)
    assert all(value == value for value in summary["students"]["both"]["distilled"].values())
    for words in (["report", str(folder), "--out", str(tmp_path / "page.html")],):
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 0, (result.output, result.exception)
    words = ["export", str(folder), "--format", "torch", "--out", str(tmp_path / "file")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, (result.output, result.exception)
    document = json.loads((tmp_path / "file/export.json").read_text())
    assert [given["name"] for given in document["inputs"]] == ["rgb", "tokens"]
