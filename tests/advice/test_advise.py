"""Advice from the first gin file to the table: what is measured is what the members answer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file
from torch import Tensor, nn
from training_worlds import quiet, rooms

import mstgraph
from mstgraph.advice.answers import PIXELS, answers
from mstgraph.cli import main
from mstgraph.run.execute import Execution
from mstgraph.run.networks import Networks
from mstgraph.stages.node import Part
from mstgraph.store.reader import Store

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("workspace")

FILE = "gin/mfeat_zer.gin"
NARROW = (
    "MLP.hidden = (24, 24)",
    "FusedMLP.hidden = (24, 24)",
    "data.batch_size = 256",
    "data.labelled = 0.1",
)


def advised(out: str = "out") -> mstgraph.Advice:
    """Return the advice on the digits, each member trained for two epochs."""
    experiment = mstgraph.load(FILE, *NARROW)
    return experiment.advise(2, out, device="cpu", progress=False)


def standardised(name: str) -> Tensor:
    """Return a modality of the validation split, by the training split's mean and spread."""
    store = Store(Path("stores/mfeat"))
    train, validation = (
        store.read(name, store.split("official", part)).astype(float)
        for part in ("train", "validation")
    )
    return torch.from_numpy((validation - train.mean(0)) / train.std(0)).float()


def by_hand(folder: str, name: str) -> np.ndarray:
    """Return which validation samples a member gets right, through its layers one by one."""
    weights = load_file(f"{folder}/stages/pretrain-{name}/{name}.safetensors")
    values = standardised(name)
    for layer in ("hidden1", "hidden2", "classifier"):
        values = values.relu() if layer != "hidden1" else values
        values = values @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]
    store = Store(Path("stores/mfeat"))
    return values.argmax(1).numpy() == store.read_labels(store.split("official", "validation"))


def test_an_edge_says_what_the_members_answer_on_validation() -> None:
    """Accuracy and who is right where the other is wrong, from the weights that were left."""
    advice = advised()
    zer, fou = (by_hand("out", name) for name in ("zer", "fou"))
    edge = next(edge for edge in advice.edges if edge.teacher == "fou")
    assert advice.students["zer"].accuracy == pytest.approx(zer.mean())
    assert edge.accuracy == pytest.approx(fou.mean())
    assert edge.told == pytest.approx((fou & ~zer).sum() / (~zer).sum())
    assert edge.untold == pytest.approx((zer & ~fou).sum() / (~fou).sum())
    assert advice.unlabelled == pytest.approx(0.9)
    assert {edge.teacher for edge in advice.edges} == {"fou", "fused", "fused + fou"}
    gains = [edge.gain for edge in advice.edges]
    assert gains == sorted(gains, reverse=True)
    assert "fused + fou → zer" in str(advice)


def test_each_member_trains_alone_once_and_nothing_else_does() -> None:
    """What is there is used again; the run's own folder is left to the run."""
    first = advised()
    stages = sorted(path.name for path in Path("out/stages").iterdir())
    assert stages == ["pretrain-fou", "pretrain-fused", "pretrain-zer"]
    lines = Path("out/stages/pretrain-fou/metrics.jsonl").read_text().splitlines()
    assert len(lines) == 2
    before = {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.safetensors")}
    assert advised().document() == first.document()
    assert {path: path.stat().st_mtime_ns for path in Path("out").rglob("*.safetensors")} == before


def test_a_finished_run_is_asked_about_its_own_members(digits_run: Execution) -> None:
    """The student is the one that trained alone; what it reports there is what is said here."""
    advice = mstgraph.open_run(digits_run.folder.path).advise("cpu")
    alone = digits_run.folder.artefact("alone-zer")
    assert alone is not None
    assert advice.students["zer"].accuracy == pytest.approx(
        alone["validation"]["metrics"]["zer"]["OA"]
    )
    assert advice.unlabelled == 0


def call(*words: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, ["advise", *words])


def test_the_command_prints_the_table_or_all_of_it_as_json() -> None:
    """The same numbers both ways, and members that are there are not trained again."""
    short = [word for binding in NARROW for word in ("-p", binding)]
    words = [FILE, *short, "--epochs", "1", "--device", "cpu"]
    shown = call(*words)
    assert shown.exit_code == 0, shown.output
    assert "fused → zer" in shown.stdout
    assert Path("runs/mfeat_zer-advise-seed0/stages/pretrain-fou/artefact.json").is_file()
    printed = call(*words, "--json")
    document = json.loads(printed.stdout)
    assert {edge["verdict"] for edge in document["edges"]} <= {"keep", "drop"}
    assert f"{document['students']['zer']['accuracy']:.3f}" in shown.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "advise takes gin files, or --run"),
        ([FILE, "--run", "runs"], "advise takes gin files, or --run"),
        ([FILE, "gin/methods/none.gin"], "nobody teaches anybody in this graph"),
        (["--run", "gin"], "'gin' is no run"),
        ([FILE, "--out", ""], "empty text; expected a path"),
        ([FILE, "--out", "gin"], "'gin'"),
        ([FILE, "--epochs", "0"], "Pretrain.epochs is 0, expected at least 1"),
    ],
)
def test_what_cannot_be_advised_on_is_refused_in_one_sentence(
    words: list[str], sentence: str
) -> None:
    """Before anything is trained."""
    result = call(*words)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert not Path("runs").exists()


def test_of_maps_the_same_pixels_are_asked_of_all() -> None:
    """A choice of those with a label, as many of each map; logits are those of that pixel."""
    execution = quiet(rooms(), "out")
    experiment, pool = execution.experiment, execution.pool
    names = [name for name in experiment.plan.graph.members if name in ("rgb", "depth")]
    modules: dict[str, nn.Module] = {
        name: experiment.parts.build(Part("network", name), "cpu").eval() for name in names
    }
    networks = Networks(modules, experiment.inputs_of, frozenset(), {})
    found = answers(experiment, networks, pool, "validation", names)
    feed = pool.feed("validation", names)
    assert 0 < len(found.labels) <= PIXELS + len(feed)
    assert experiment.task.labels.ignored not in found.labels
    (inputs, labels, _), *_ = feed.epoch(1)
    known = labels != experiment.task.labels.ignored
    places = []
    for name in names:
        with torch.no_grad():
            offered = modules[name](inputs[name]).movedim(1, -1)[known].numpy()
        first = found.logits[name][: len(found.labels) // len(feed) // 2]
        distances = np.abs(offered[None] - first[:, None]).max(-1)
        # A batch of one adds up in another order, so that rows agree to rounding.
        assert distances.min(1).max() < 1e-3
        places.append(distances.argmin(1))
    assert (places[0] == places[1]).mean() > 0.9  # pixels that look alike answer alike
    assert all(len(v) == len(found.labels) for v in found.features.values())
