"""Runs whose members bring something: weights, frozen modules, answers; students of two inputs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import training_worlds as small
from safetensors.torch import load_file
from tiny_graphs import Make
from torch import Tensor, nn

from mstgraph.data.feed import Pool
from mstgraph.derive.experiment import Experiment
from mstgraph.distil.cuts import PROBE_BATCH
from mstgraph.networks.mlp import MLP
from mstgraph.report.evaluate_run import evaluate_run
from mstgraph.run.artefacts.student import load_student
from mstgraph.stages.node import Part
from mstgraph.support.errors import UserError

CPU = torch.device("cpu")
SHORT = """
Pretrain.epochs = 2
Distill.epochs = 2
CI.epochs = 3
"""
PAIR = (
    SHORT
    + """
graph.target = 'rgb'
graph.rgb = @rgb/Member()
graph.depth = @depth/Member()
"""
)
ALIGNED = PAIR + "Member.mutual = 'all'\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a directory of one's own."""
    monkeypatch.chdir(tmp_path)


def left(stage: str, part: str, run: str = "run") -> dict[str, Tensor]:
    """Return the weights that a stage left."""
    return load_file(f"{run}/stages/{stage}/{part}.safetensors")


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Say whether two states are the same, bit for bit."""
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


# --- weights -------------------------------------------------------------------------------------


def test_a_teacher_of_another_run_is_taken_as_it_is(experiment: Make) -> None:
    """It is measured, teaches, and the run needs nothing of the other one when it is finished."""
    small.run(experiment(PAIR), "first")
    taken = "depth/Member.weights = 'first'\ndepth/Member.trained = False\n"
    execution = small.quiet(experiment(PAIR + taken), "run")
    summary = execution.run()
    assert equal(left("given-depth", "depth"), left("pretrain-depth", "depth", "first"))
    assert equal(left("distill-rgb", "rgb"), left("distill-rgb", "rgb", "first"))
    measured = json.loads(Path("first/summary.json").read_text())["teachers"][0]["metrics"]
    assert summary["teachers"][0]["metrics"] == measured
    assert summary["teachers"][0]["epochs"] == 0
    assert "depth: MLP, all 6 tensors from 'first'" in small.told(execution)
    assert "given-depth [random numbers]: as it is · validation depth OA" in small.told(execution)
    recorded = json.loads(Path("run/plan.json").read_text())["members"]
    assert recorded[1]["weights"]["taken"]["classifier.bias"] == "classifier.bias"

    dept = "graph.dept = @dept/Member()\ndept/Member.inputs = 'depth'\n"
    with pytest.raises(UserError, match=r"'first' has no member 'dept'; did you mean 'depth'\?"):
        experiment(PAIR + dept + "dept/Member.weights = 'first'\n")

    shutil.rmtree("first")
    found = evaluate_run(Path("run"), None, "test", CPU)
    assert found["metrics"]["given-depth"]["depth"] == measured
    assert load_student("run")(torch.zeros(2, 8)).shape == (2, 3)
    with pytest.raises(UserError, match="there are no weights 'first'"):
        experiment(PAIR + taken)


def test_a_twin_of_a_target_that_starts_from_a_run_starts_there_too(experiment: Make) -> None:
    """The target's are the twin's; its own are those of its own name, or the target's."""
    small.run(experiment(PAIR), "first")
    twin = PAIR + "graph.again = @again/Member()\nagain/Member.inputs = 'target'\n"
    student = Path("first/student-rgb.safetensors")
    for lines in ("rgb/Member.weights = 'first'\n", "again/Member.weights = 'first'\n"):
        made = experiment(twin + lines)
        assert made.parts.weights["again"].path == student
    small.run(made, "second")
    made = experiment(twin + lines.replace("first", "second"))
    assert made.parts.weights["again"].path == Path(
        "second/stages/pretrain-again/again.safetensors"
    )


def test_a_student_and_its_control_start_from_the_same_weights(experiment: Make) -> None:
    """Of a file of the backbone: the head is that of the seed, in both."""
    made = experiment(PAIR)
    seeded = made.parts.build(Part("network", "rgb"), "cpu").state_dict()
    backbone = {f"module.{n}": torch.randn(v.shape) for n, v in seeded.items() if "hidden" in n}
    torch.save(backbone, "backbone.pt")
    lines = "rgb/Member.weights = 'backbone.pt'\n{}.learning_rate = 1e-30\n"
    small.run(
        experiment(PAIR + lines.format("Distill") + "Pretrain.learning_rate = 1e-30\n"), "run"
    )
    for stage in ("distill-rgb", "alone-rgb"):
        for name, value in left(stage, "rgb").items():
            expected = backbone.get(f"module.{name}", seeded[name])
            torch.testing.assert_close(value, expected, rtol=0, atol=1e-20)


# --- frozen modules ------------------------------------------------------------------------------

FROZEN = ALIGNED + "rgb/Member.frozen = ('hidden1',)\n"


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count the samples that go through the first layer of networks over rgb."""
    seen: list[int] = []
    plain = nn.Linear.forward

    def counted(layer: nn.Linear, values: Tensor) -> Tensor:
        if (layer.in_features, layer.out_features) == (8, 6):
            seen.append(len(values))
        return plain(layer, values)

    monkeypatch.setattr(nn.Linear, "forward", counted)
    return seen


def test_a_frozen_backbone_costs_one_pass_over_the_data(experiment: Make, rows: list[int]) -> None:
    """Of a stage of three epochs: training and validation once each, the test at its end."""
    made = experiment(FROZEN)
    parts = made.source.samples(made.split)
    execution = small.quiet(made, "run")
    rows.clear()
    execution.run_group(["ci"])
    passes = [count for count in rows if count != PROBE_BATCH]  # which try whether the cut holds
    assert sum(passes) == parts["train"] + parts["validation"] + parts["test"]
    said = small.told(execution)
    assert "computed once for ci: features of rgb behind its frozen hidden1" in said
    assert made.parts.members["rgb"].initialisation == "standard initialisation; frozen: hidden1"


def test_keeping_what_frozen_modules_give_changes_nothing(experiment: Make) -> None:
    """With the cache and without: the same weights; the frozen ones as they were at first."""
    made = experiment(FROZEN)
    first = made.parts.build(Part("network", "rgb"), "cpu").state_dict()
    small.run(made, "run")
    small.run(experiment(FROZEN, "engine.cache = False"), "whole")
    small.assert_weights("run", "whole", 1e-5)
    for stage in ("ci", "distill-rgb", "alone-rgb"):
        found = left(stage, "rgb")
        assert torch.equal(found["hidden1.weight"], first["hidden1.weight"])
        assert not torch.equal(found["hidden2.weight"], first["hidden2.weight"])


def test_what_is_frozen_is_part_of_the_hash_where_it_trains(experiment: Make) -> None:
    """And of what follows from it."""
    plain, frozen = experiment(ALIGNED), experiment(FROZEN)
    pairs = {n: (plain.plan.stages[n], node) for n, node in frozen.plan.stages.items()}
    assert all(one.hash != other.hash for one, other in pairs.values())
    assert pairs["ci"][1].identity["frozen"] == {"rgb": ["hidden1"]}
    assert "frozen" not in pairs["ci"][0].identity


# --- answers -------------------------------------------------------------------------------------


def answers_of(made: Experiment, member: str, stage: str) -> np.ndarray:
    """Return what a member of a run answers, in the store's order; in blocks as it was trained."""
    network = MLP({member: (6,)}, 3, hidden=(6, 4))
    network.load_state_dict(left(stage, member, "first"))
    store = made.source.store
    assert store is not None
    pool = Pool(store, made.split, CPU, "standard", 0)
    found = np.full((len(store), 3), np.nan, np.float32)
    with torch.no_grad():
        for part in ("train", "validation", "test"):
            for inputs, _, places in pool.feed(part, [member]).epoch(made.data.batch_size):
                found[store.split(made.split, part)[places]] = network(inputs[member]).numpy()
    return found


def stored(given: str) -> str:
    """Return the graph whose teacher is a file of answers."""
    return PAIR + f"depth/Member.network = @Stored\ndepth/Member.weights = '{given}'\n"


def test_a_teacher_that_is_only_answers_gives_the_same_student(experiment: Make) -> None:
    """As the teacher that the answers came from, bit for bit."""
    made = experiment(PAIR)
    first = small.run(made, "first")
    np.save("answers.npy", answers_of(made, "depth", "pretrain-depth"))
    summary = small.run(experiment(stored("answers.npy")), "run")
    assert equal(left("distill-rgb", "rgb"), left("distill-rgb", "rgb", "first"))
    assert summary["students"] == first["students"]
    assert summary["teachers"][0]["metrics"] == first["teachers"][0]["metrics"]
    assert evaluate_run(Path("run"), None, "test", CPU)["metrics"]["given-depth"]


def test_a_modality_of_the_store_can_be_answers(experiment: Make) -> None:
    """It is never normalised, and what others see is."""
    text = PAIR + "depth/Member.network = @Stored\ndepth/Member.inputs = 'touch'\n"
    made = experiment(text)
    assert made.data.normalisation["touch"] == "none"
    assert made.data.normalisation["rgb"] == "standard"
    small.run(made, "run")
    store = made.source.store
    assert store is not None
    ids = store.split(made.split, "test")
    accuracy = (store.read("touch", ids).argmax(1) == store.read_labels(ids)).mean()
    found = evaluate_run(Path("run"), None, "test", CPU)["metrics"]["given-depth"]["depth"]
    assert found["OA"] == pytest.approx(accuracy)


def test_other_answers_are_another_run(experiment: Make) -> None:
    """They are hashed by content, and the student's control does not ask for them."""
    hashes = []
    for seed in range(2):
        np.save("a.npy", np.random.default_rng(seed).normal(size=(20, 3)))
        stages = experiment(stored("a.npy")).plan.stages
        hashes.append([stages[name].hash for name in ("given-depth", "distill-rgb", "alone-rgb")])
    assert [one != other for one, other in zip(*hashes, strict=True)] == [True, True, False]


WRONG: dict[str, tuple[Any, str]] = {
    "too few": (np.zeros((19, 3)), "are 19×3, expected a row for each of the 20 samples of the"),
    "other classes": (
        np.zeros((20, 4)),
        "have 4 for each sample, expected 3 (outputs of the task)",
    ),
    "no numbers": (np.full((20, 3), "a"), "are of the type <U1, expected numbers"),
    "code": (np.full((20, 3), None), "cannot be read (Array can't be memory-mapped: Python"),
}


@pytest.mark.parametrize("name", WRONG)
def test_answers_that_do_not_fit_are_refused(name: str, experiment: Make) -> None:
    """One sentence with file and line."""
    np.save("a.npy", WRONG[name][0], allow_pickle=True)
    with pytest.raises(UserError) as caught:
        experiment(stored("a.npy"))
    assert f"member 'depth': the answers 'a.npy' {WRONG[name][1]}" in str(caught.value)


def test_answers_by_name_come_in_any_order(experiment: Make) -> None:
    """They are read in the store's."""
    answers, order = np.random.rand(20, 3), np.random.permutation(20)
    np.savez("a.npz", answers=answers[order], names=order.astype(str))
    store = experiment(stored("a.npz")).source.store
    assert store is not None
    found = store.read("answers of depth", np.array([7, 3]))
    assert np.array_equal(found, answers[[7, 3]].astype(np.float32))


def test_answers_by_name_lack_none(experiment: Make) -> None:
    """And no name is there twice."""
    names = np.arange(20).astype(str)
    np.savez("a.npz", answers=np.zeros((20, 3)), names=np.where(names == "7", "70", names))
    with pytest.raises(UserError, match=r"'a.npz' lack the sample '7' \(1 in all\)"):
        experiment(stored("a.npz"))
    np.savez("a.npz", answers=np.zeros((20, 3)), names=np.where(names == "7", "8", names))
    with pytest.raises(UserError, match="20 rows and 19 names, expected one name each"):
        experiment(stored("a.npz"))


# --- several modalities --------------------------------------------------------------------------

CAR = (
    SHORT
    + """
graph.target = 'car'
graph.car = @car/Member()
car/Member.network = @FusedMLP
car/Member.inputs = ('rgb', 'depth')
graph.audio = @audio/Member()
graph.rgb = @rgb/Member()
graph.all = @all/Member()
all/Member.network = @FusedMLP
all/Member.inputs = ('rgb', 'depth', 'audio')
"""
)


@pytest.mark.parametrize(
    ("teachers", "staying"),
    [
        ("all", ["all", "car", "rgb", "audio"]),
        ("multimodal", ["all", "car"]),
        ("cross-modal", ["car", "audio"]),  # rgb sees nothing else than the student
        ("none", ["car"]),
    ],
)
def test_teachers_of_a_student_of_two_modalities(
    teachers: str, staying: list[str], experiment: Make
) -> None:
    """Cross-modal are those that see what it does not."""
    made = experiment(CAR, f"graph.teachers = '{teachers}'")
    assert list(made.plan.graph.members) == staying


def test_a_student_of_two_modalities_is_deployed(experiment: Make) -> None:
    """It takes both as the store holds them, in its own order, and gives the run's numbers."""
    made = experiment(CAR, "graph.teachers = 'cross-modal'")
    summary = small.run(made, "run")
    student = load_student("run")
    assert student.modalities == ("rgb", "depth")
    store = made.source.store
    assert store is not None
    ids = store.split(made.split, "test")
    rgb, depth = (torch.from_numpy(store.read(name, ids)) for name in student.modalities)
    right = student(rgb, depth).argmax(1).numpy() == store.read_labels(ids)
    assert right.mean() == pytest.approx(summary["students"]["car"]["distilled"]["OA"])
    assert evaluate_run(Path("run"), None, "test", CPU)["students"] == summary["students"]
    with pytest.raises(UserError, match=r"sees rgb \+ depth: expected a tensor of each in that"):
        student(rgb)
