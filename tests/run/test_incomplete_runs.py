"""Runs over samples that lack modalities: what they leave, say, keep and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import training_worlds as small
from rich.console import Console
from tiny_graphs import DATA, SHORT, TINY_RECIPE, TWO, Make, changed

from mstgraph.derive.experiment import Experiment
from mstgraph.derive.opening import open_experiment
from mstgraph.report.evaluate_run import evaluate_run
from mstgraph.report.evaluation import print_evaluation
from mstgraph.report.store_info import print_store
from mstgraph.report.summary import print_summary
from mstgraph.run.artefacts.student import load_student
from mstgraph.store import load_recipe
from mstgraph.store.build.builder import build
from mstgraph.store.reader import Store
from mstgraph.support.errors import UserError
from mstgraph.support.interrupt import Interrupted

pytest_plugins = ("training_fixtures",)

FEW = (
    "depth/Member.masks = ('hidden1',)",
    "fused/Member.masks = ('fusion',)",
    "STA.epochs = 1",
    "DKD.epochs = 1",
    "data.batch_size = 10",
)
PARTLY = TINY_RECIPE.replace(
    'Modality(name, "float32", (width,))', 'Modality(name, "float32", (width,), optional=True)'
).replace(
    'return {**sample, "label"',
    """for name, every in (("depth", 5), ("rgb", 7)):
            if index % every == self.seed:
                sample[name] = None
        return {**sample, "label\"""",
)


@pytest.fixture(scope="module")
def partly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store in which every fifth sample lacks depth, and every seventh rgb."""
    folder = tmp_path_factory.mktemp("partly")
    (folder / "partly.py").write_text(PARTLY)
    build(load_recipe(folder / "partly.py", None, {"length": 70}), folder / "store")
    return folder / "store"


def opened(store: Path, *bindings: str, text: str = TWO) -> Experiment:
    """The graph of two modalities and a fused member over a store."""
    path = store.parent / "graph.gin"
    path.write_text(DATA.format(recipe=store.parent / "partly.py", store=store) + text)
    return open_experiment([path], [*SHORT, *FEW, *bindings])


def artefacts(folder: Path, experiment: Experiment) -> dict[str, dict]:
    """Stage → its artefact."""
    path = folder / "stages"
    names = experiment.plan.stages
    return {name: json.loads((path / name / "artefact.json").read_text()) for name in names}


def test_a_run_measures_each_pattern_of_presence(partly: Path, tmp_path: Path) -> None:
    """Its samples add up, its evaluation says the same, and tables show it."""
    experiment = opened(partly)
    summary = small.run(experiment, tmp_path / "run")
    store = Store(partly)
    counts = store.metadata["presence"]["splits"]["0"]["test"]
    found = summary["patterns"]["dkd-rgb"]["rgb"]
    rgb = {name: count for name, count in counts.items() if "rgb" in name.split(" + ")}
    assert {name: values["samples"] for name, values in found.items()} == rgb
    correct = sum(values["OA"] * values["samples"] for values in found.values())
    overall = summary["students"]["rgb"]["distilled"]["OA"]
    assert correct / sum(rgb.values()) == pytest.approx(overall)
    fused = [name.split(" + ") for name in summary["patterns"]["ci"]["fused"]]
    assert all({"rgb", "depth"} <= set(names) for names in fused)
    again = evaluate_run(tmp_path / "run", None, "test", torch.device("cpu"))
    for stage, artefact in artefacts(tmp_path / "run", experiment).items():
        assert again["metrics"][stage] == artefact["test"]["metrics"]
        assert again["patterns"][stage] == artefact["test"]["patterns"]
    console = Console(record=True, width=200)
    print_summary(summary, console)
    print_evaluation(again, console)
    print_store(store.describe(), console)
    text = console.export_text()
    assert text.count("By the modalities that samples have") == 2
    assert "depth + audio" in text


def test_what_is_kept_is_what_would_be_computed(partly: Path, tmp_path: Path) -> None:
    """With the cache and without it the same weights, to rounding."""
    for cache in (True, False):
        experiment = opened(partly, f"engine.cache = {cache}", "graph.alone = False")
        small.run(experiment, tmp_path / f"run-{cache}")
    small.assert_weights(tmp_path / "run-True", tmp_path / "run-False", 1e-6)


def test_modality_dropout_goes_on_where_it_was_stopped(partly: Path, tmp_path: Path) -> None:
    """Stopped in the middle of an epoch, a run comes to the same bits as without a stop."""
    dropout = ("fused/Member.modality_dropout = 0.5", "fused/Member.absent = 'zeros'")
    settings = (*dropout, "graph.alone = False", "graph.points = 'none'")
    small.run(opened(partly, *settings), tmp_path / "whole")
    stopped = small.quiet(opened(partly, *settings), tmp_path / "stopped")
    told = stopped.reporter.batch_done

    def batch_done(node: object, epoch: int, batch: int, sums: object) -> None:
        stopped.interrupt.requested |= (node.name, epoch, batch) == ("ci", 2, 3)
        told(node, epoch, batch, sums)

    stopped.reporter.batch_done = batch_done
    with pytest.raises(Interrupted):
        stopped.run()
    small.run(opened(partly, *settings), tmp_path / "stopped")
    small.assert_weights(tmp_path / "whole", tmp_path / "stopped")


CHANGES = {
    "data.absent = {'depth': 0.2}": {"ci", "alone-rgb", "dkd-rgb"},
    "fused/Member.absent = 'zeros'": {"ci", "dkd-rgb"},
    "fused/Member.modality_dropout = 0.1": {"ci", "dkd-rgb"},
}


@pytest.mark.parametrize("binding", CHANGES)
def test_who_takes_part_counts_in_the_hash(experiment: Make, binding: str) -> None:
    """Of every stage that it can change."""
    found = changed(experiment(TWO), experiment(TWO, binding))
    assert CHANGES[binding] <= found
    assert ("alone-rgb" in found) == binding.startswith("data")


def test_the_default_is_in_no_hash(experiment: Make) -> None:
    """Said or not, and whatever the parts are named where nothing is lost."""
    bindings = ("data.absent = {}", "data.absent_in = ('test',)", "Member.absent = 'out'")
    assert not changed(experiment(TWO), experiment(TWO, *bindings))


@pytest.mark.parametrize(
    ("binding", "message"),
    [
        ("data.absent = {'dept': 0.2}", "data.absent names the modality 'dept'.*'depth'"),
        ("data.absent = {'depth': 20}", "data.absent of 'depth' is 20, expected a share between"),
        ("data.absent_in = ('training',)", "names the part 'training'.*'train'"),
        (
            "fused/Member.absent = 'zero'",
            "fused/Member.absent is 'zero', expected 'out' or 'zeros'",
        ),
        ("fused/Member.modality_dropout = 1.5", "modality_dropout = 1.5, expected 0 to less"),
        ("rgb/Member.modality_dropout = 0.5", "member 'rgb' has .* one input"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    experiment: Make, binding: str, message: str
) -> None:
    """In one sentence with file and line."""
    with pytest.raises(UserError, match=message):
        experiment(TWO, binding)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            'sample["depth"] = None if index % 3 == 1 else sample["depth"]',
            "member 'fused' sees 'depth', which no training sample of the class 'dog' has",
        ),
        (
            'sample["rgb"] = None if index >= 16 else sample["rgb"]',
            "member 'fused' sees rgb and depth, which no test sample of split 'late' has",
        ),
    ],
)
def test_what_nobody_can_learn_or_measure_is_refused(
    tmp_path: Path, rule: str, message: str
) -> None:
    """A modality that a class never has in training, or a target in a part of the split."""
    text = PARTLY.replace("for name, every in", f"{rule}\n        for name, every in")
    text = text.replace("index % every == self.seed", "False") + (
        "\n    def official_splits(self):\n"
        "        return {'late': {'train': range(12), 'validation': range(12, 16),"
        " 'test': range(16, 20)}}\n"
    )
    (tmp_path / "partly.py").write_text(text)
    build(load_recipe(tmp_path / "partly.py"), tmp_path / "store")
    with pytest.raises(UserError, match=message):
        opened(tmp_path / "store")


UNEVEN = """
import numpy as np
from mstgraph.store.recipe import Labels, Modality, Recipe


class Uneven(Recipe):
    title = "uneven sequences"
    source = "drawn at random"
    licence = "none"
    synthetic = "random numbers"

    def modalities(self):
        return (Modality("sound", "float32", (2, 9), varying=True),)

    def labels(self):
        return Labels("classification", ("a", "b"))

    def __len__(self):
        return 30

    def sample(self, index):
        draw = np.random.default_rng(index)
        sound = draw.normal(size=(2, 3 + index % 7)) + 5
        return {"sound": sound.astype(np.float32), "label": np.array(index % 2)}
"""


def test_a_student_of_uneven_sequences_does_not_hear_padding(tmp_path: Path) -> None:
    """From store to student: a padded sequence is answered as the sequence alone."""
    (tmp_path / "uneven.py").write_text(UNEVEN)
    store = build(load_recipe(tmp_path / "uneven.py"), tmp_path / "store")
    (tmp_path / "graph.gin").write_text(
        f"data.recipe = '{tmp_path}/uneven.py'\ndata.store = '{tmp_path}/store'\n"
        "Member.network = @MeanSequence1d\nMeanSequence1d.channels = (4,)\n"
        "graph.target = 'sound'\ngraph.sound = @sound/Member()\ngraph.teachers = 'none'\n"
        "Pretrain.epochs = 1\nDistill.epochs = 1\n"
    )
    experiment = open_experiment([tmp_path / "graph.gin"])
    summary = small.run(experiment, tmp_path / "run")
    assert "patterns" not in summary
    student = load_student(tmp_path / "run", code=False)
    ids = store.split("0", "test")
    values = torch.from_numpy(store.read("sound", ids))
    lengths = torch.from_numpy(store.read_lengths(ids)["sound"])
    answer = student(values, lengths=lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = student(values[row : row + 1, :, :length])
        torch.testing.assert_close(answer[row : row + 1], alone)
    assert not torch.allclose(student(values), answer)
    correct = (answer.argmax(1).numpy() == store.read_labels(ids)).mean()
    assert correct == pytest.approx(summary["students"]["sound"]["alone"]["OA"])
