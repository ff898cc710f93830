"""A task of a user's own is one file and one gin block: ordinal labels, by cumulative logits."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_worlds as benches
import numpy as np
import pytest
import torch
import training_worlds as small
from rich.console import Console
from tiny_graphs import ROLES, ROOT, SHORT, TWO, Make, changed, hashes

from mstgraph.benchmark.report.table_contents import metrics_table
from mstgraph.benchmark.results.statistics import podium
from mstgraph.derive.opening import open_experiment
from mstgraph.methods.kl import KL
from mstgraph.report.evaluate_run import evaluate_run
from mstgraph.report.summary import print_summary
from mstgraph.run.artefacts.student import load_student
from mstgraph.store.recipe import Labels
from mstgraph.support.errors import UserError

pytest_plugins = ("training_fixtures",)

ORDINAL = '''
"""Ordinal labels: P(label > k) for each of the K − 1 thresholds between neighbouring classes."""

from dataclasses import dataclass

import gin
import torch
from torch.nn import functional as F

from mstgraph.tasks.task import Metric, Task


class Errors:
    """How far predictions are from labels."""

    def __init__(self, device):
        self.sums = torch.zeros(3, dtype=torch.int64, device=device)

    def update(self, outputs, labels):
        away = ((outputs > 0).sum(1) - labels).abs()
        self.sums += torch.stack([away.sum(), (away == 0).sum(), (away >= 0).sum()])

    def metrics(self):
        distance, right, count = self.sums.double()
        return {"MAE": float(distance / count), "OA": float(right / count)}


@gin.configurable
@dataclass(frozen=True)
class Ordinal(Task):
    weight: float = 1.0

    kind = "ordinal"
    metrics = (Metric("MAE", "mean error", higher_is_better=False), Metric("OA", "accuracy"))
    primary = metrics[0]

    @property
    def num_outputs(self):
        return len(self.labels.classes) - 1

    def loss(self, outputs, labels):
        above = labels[:, None] > torch.arange(self.num_outputs, device=labels.device)
        losses = F.binary_cross_entropy_with_logits(outputs, above.to(outputs), reduction="none")
        return self.average(self.weight * losses.sum(1), labels)

    def divergence(self, teacher, student, temperature):
        p, q = teacher / temperature, student / temperature
        above = p.sigmoid() * (F.logsigmoid(p) - F.logsigmoid(q))
        below = (-p).sigmoid() * (F.logsigmoid(-p) - F.logsigmoid(-q))
        return (above + below).sum(1)

    def accumulator(self, device="cpu"):
        return Errors(device)

    def contributions(self, outputs, labels):
        away = ((outputs > 0).sum(1) - labels).abs()
        return torch.stack([away, away == 0, away >= 0], dim=1)

    def metrics_of(self, totals):
        distance, right, count = totals.unbind(-1)
        return {"MAE": distance / count, "OA": right / count}
'''

BLOCK = """
import ordinal
data.task = @Ordinal
"""


@pytest.fixture
def ordinal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The task's file in a working directory, where gin files find it."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "ordinal.py"
    path.write_text(ORDINAL)
    return path


def sigmoid(values: np.ndarray) -> np.ndarray:
    """1 / (1 + e⁻ˣ)."""
    return 1 / (1 + np.exp(-values))


@pytest.mark.usefixtures("ordinal")
def test_equations_of_the_task_by_hand(experiment: Make) -> None:
    """Sum of binary cross-entropies; KL of Bernoulli variables, which the loss `KL` asks for."""
    declared = experiment(TWO + BLOCK).task
    assert declared == type(declared)(experiment().source.labels)
    torch.manual_seed(0)
    teacher, student = torch.randn(7, 4), torch.randn(7, 4)
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 4])
    task = type(declared)(Labels("classification", tuple("01234")))
    p, q = sigmoid(teacher.numpy() / 2), sigmoid(student.numpy() / 2)
    divergence = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum(1)
    found = KL(2.0, temperature_squared=True).compare(task, teacher, student)
    np.testing.assert_allclose(found, 4 * divergence, rtol=1e-4)
    above = labels.numpy()[:, None] > np.arange(4)
    chance = sigmoid(student.numpy())
    expected = -np.log(np.where(above, chance, 1 - chance)).sum(1)
    np.testing.assert_allclose(task.loss(student, labels), expected, rtol=1e-4)
    errors = task.accumulator()
    errors.update(student[:3], labels[:3])
    errors.update(student[3:], labels[3:])
    away = np.abs((student.numpy() > 0).sum(1) - labels.numpy())
    assert errors.metrics() == {"MAE": away.mean(), "OA": (away == 0).mean()}


@pytest.mark.usefixtures("ordinal")
def test_a_whole_run_of_a_new_task(experiment: Make, tmp_path: Path) -> None:
    """CI, STA and DKD train on it, the lowest error chooses the epoch, and all of it is shown."""
    short = [binding.replace("= 2", "= 6") for binding in SHORT]
    opened = experiment(TWO + BLOCK, *short, "DKD.select = 'metric'", "DKD.learning_rate = 0.05")
    assert {shapes.output for shapes in opened.parts.members.values()} == {(2,)}
    execution = small.quiet(opened, tmp_path / "run")
    summary = execution.run()
    assert {stage["kind"] for stage in summary["stages"]} >= {"ci", "sta", "dkd"}
    assert "rgb mean error" in small.told(execution)
    lines = (tmp_path / "run/stages/dkd-rgb/metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    errors = [record["validation"]["metrics"]["rgb"]["MAE"] for record in records]
    artefact = json.loads((tmp_path / "run/stages/dkd-rgb/artefact.json").read_text())
    assert errors[artefact["best_epoch"] - 1] == min(errors) < max(errors)
    assert summary["metrics"][0] == {
        "name": "MAE",
        "title": "mean error",
        "higher_is_better": False,
    }
    student = summary["students"]["rgb"]
    assert student["gain"]["MAE"] == student["distilled"]["MAE"] - student["alone"]["MAE"]
    console = Console(file=io.StringIO(), width=160)
    print_summary(summary, console)
    assert "mean error ↓" in console.file.getvalue()
    # Intervals come from what single samples contribute; nothing else of the task is needed.
    certainty = student["certainty"]
    low, high = certainty["intervals"]["MAE"]
    assert low <= student["gain"]["MAE"] <= high
    assert (certainty["metric"], certainty["p"], certainty["told"]) == ("MAE", None, None)
    assert f"rgb: {certainty['sentence']}" in console.file.getvalue()
    found = evaluate_run(tmp_path / "run", None, "test", torch.device("cpu"))["metrics"]
    assert found["dkd-rgb"]["rgb"] == student["distilled"]
    assert load_student(tmp_path / "run")(torch.randn(3, 8)).shape == (3, 2)


@pytest.mark.usefixtures("ordinal")
def test_a_bench_of_a_new_task_marks_the_lowest_error(write_gin: Callable[..., Path]) -> None:
    """As best, whatever the methods came to; a change for the better is one that lowers it."""
    world = benches.World(write_gin)
    write_gin(TWO + BLOCK, name="rgb.gin")
    rates = "DKD.learning_rate = 0.05", "Pretrain.learning_rate = 0.05"
    declared = world.declare(benches.ALONE, benches.MST, benches.KD, bindings=rates)
    results = benches.run(declared)
    (column,) = results.columns()
    assert column.metric == "MAE"
    errors = {row: results.values(row, column)[0] for row in range(3)}
    best, _ = podium(results, column)
    assert best == {row for row, error in errors.items() if error == min(errors.values())}
    assert len(set(errors.values())) > 1
    assert "mean error ↓" in Path("out/table.txt").read_text()
    table = metrics_table(results)
    for row, entries in enumerate(table.rows):
        entry = entries[table.lead]
        assert (entry.emphasis == "best") == (row in best)
        control = results.controls(row, column).get(0, errors[row])
        gained = errors[row] - control
        assert entry.gain == (f"{gained:+.4f}" if gained else "")
        assert entry.better == (gained < 0)


@pytest.mark.parametrize("name", ["mlld", "ofa", "crd", "c2kd"])
@pytest.mark.usefixtures("ordinal")
def test_a_loss_of_exclusive_classes_is_refused(name: str, write_gin: Callable[..., Path]) -> None:
    """In one sentence, with the place of the loss, the task, and what would do."""
    files = [write_gin(TWO + ROLES + BLOCK), ROOT / f"gin/methods/{name}.gin"]
    with pytest.raises(UserError) as caught:
        open_experiment(files)
    assert "\n" not in str(caught.value)
    assert f"{name}.gin:" in str(caught.value)
    assert "the task 'ordinal' has none; expected a loss for any task" in str(caught.value)


@pytest.mark.parametrize("name", ["kd", "dml", "fitnets", "rkd", "mgdfr"])
def test_other_methods_train_on_it(
    name: str, ordinal: Path, write_gin: Callable[..., Path]
) -> None:
    """Those that ask the task, and those that compare features or outputs."""
    files = [write_gin(TWO + ROLES + BLOCK), ROOT / f"gin/methods/{name}.gin"]
    summary = small.run(open_experiment(files, SHORT), ordinal.parent / "run")
    assert set(summary["students"]["rgb"]["distilled"]) == {"MAE", "OA"}


def test_identity_knows_a_task_that_is_named(ordinal: Path, experiment: Make) -> None:
    """Its options and its source count for every stage; without one nothing of it is hashed."""
    plain, named = experiment(), experiment(TWO + BLOCK)
    assert changed(plain, named) == set(hashes(plain))
    for node in plain.plan.stages.values():
        assert "task" not in node.identity
    heavier = experiment(TWO + BLOCK, "Ordinal.weight = 2.0")
    assert changed(named, heavier) == set(hashes(named))
    assert "Ordinal.weight = 2.0" in heavier.gin_text
    ordinal.write_text(ORDINAL + "\n# edited\n")
    assert changed(named, experiment(TWO + BLOCK)) == set(hashes(named))


def test_a_task_that_ends_the_program_is_refused(ordinal: Path, experiment: Make) -> None:
    """As anything that code of the user's raises, in one sentence with their line."""
    text = "import sys\n\nimport gin\n\n\n@gin.configurable\ndef Quits(labels):\n    sys.exit(0)\n"
    ordinal.with_name("quits.py").write_text(text)
    with pytest.raises(UserError, match=r"task Quits cannot be built: it ends .*quits\.py:8\)"):
        experiment(TWO + "import quits\ndata.task = @Quits\n")


WRONG: dict[str, tuple[str, str]] = {
    "a network": ("@MLP", "the task MLP cannot be built"),
    "an instance": ("@Classification()", "expected '@Classification' without parentheses"),
    "a name": ("'Ordinal'", "expected a reference without parentheses, '@Name' or None"),
    "no task": ("@HorizontalFlip", "gives a HorizontalFlip, expected a Task"),
}


@pytest.mark.parametrize(("value", "sentence"), WRONG.values(), ids=WRONG)
def test_what_is_no_task_is_refused(value: str, sentence: str, experiment: Make) -> None:
    """In one sentence with the place."""
    with pytest.raises(UserError) as caught:
        experiment(TWO, f"data.task = {value}")
    assert sentence in str(caught.value)
    assert "-p data.task" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_task_of_the_package_can_be_named(experiment: Make) -> None:
    """It is then the one that the labels ask for anyway."""
    named: Any = experiment(TWO, "data.task = @Classification").task
    assert named == experiment().task
