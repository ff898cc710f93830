"""Multi-label and regression from gin to the student: every stage, method, gate, table and mark."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import bench_worlds as benches
import pytest
import torch
import training_worlds as small
from rich.console import Console
from tiny_graphs import ROLES, ROOT, SHORT, TINY_RECIPE, TWO

from mstgraph.advice.advise import learning
from mstgraph.derive.experiment import Experiment
from mstgraph.derive.opening import open_experiment
from mstgraph.report.evaluate_run import evaluate_run
from mstgraph.report.summary import print_summary
from mstgraph.run.artefacts.student import load_student
from mstgraph.store import load_recipe
from mstgraph.store.build.builder import build
from mstgraph.support.errors import UserError

pytest_plugins = ("training_fixtures",)

LABELS = {
    "multilabel": (
        'Labels("multilabel", ("cat", "dog"), unknown=-1)',
        '(sample["rgb"][:2] + sample["depth"][:2] > 0).astype(int)',
    ),
    "regression": (
        'Labels("regression", ("tall", "wide"), unknown=float("nan"))',
        'sample["rgb"][:2] + sample["depth"][:2]',
    ),
}
MEANT = {"camkd", "dml", "ensemble", "fdcmkd", "fitnets", "mgdfr", "rkd"}
ABOUT_CLASSES = {"c2kd", "crd", "decoupled", "dist", "lskd", "mlld", "ofa"}


@pytest.fixture(scope="session")
def recipes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny data with other labels, one of them unknown in part, and their stores beside."""
    found = {}
    for task, (labels, label) in LABELS.items():
        path = tmp_path_factory.mktemp(task) / "tiny.py"
        text = TINY_RECIPE.replace('Labels("classification", ("cat", "dog", "owl"))', labels)
        text = text.replace("np.array(index % 3)", f"{label} if index % 7 else None")
        path.write_text(text.replace("length: int = 20", "length: int = 40"))
        build(load_recipe(path), path.parent / "store")
        found[task] = path
    return found


Open = Callable[..., Experiment]


@pytest.fixture
def opened(recipes: dict[str, Path], write_gin: Callable[..., Path]) -> Open:
    """Return a function from task, further gin files and bindings to an experiment."""

    def make(task: str, *files: str, bindings: tuple[str, ...] = (), text: str = TWO) -> Experiment:
        recipe = recipes[task]
        data = f"data.recipe = '{recipe}'", f"data.store = '{recipe.parent / 'store'}'"
        paths = [write_gin(text + ROLES), *(ROOT / name for name in files)]
        return open_experiment(paths, (*data, *bindings))

    return make


@pytest.mark.parametrize("task", LABELS)
def test_a_whole_run(task: str, opened: Open, tmp_path: Path) -> None:
    """CI, STA, DKD with its gate; the marks of how sure a gain is; eval and student afterwards."""
    rates = tuple(f"{s}.learning_rate = 0.02" for s in ("CI", "STA", "DKD"))
    bindings = (*SHORT, *rates, "DKD.select = 'metric'", "DKD.gate_weight = 0.5")
    experiment = opened(task, bindings=(*bindings, "data.labelled = 0.7"))
    assert experiment.source.labelled(experiment.data)["train"] < 28
    folder = tmp_path / "run"
    summary = small.run(experiment, folder)
    assert {stage["kind"] for stage in summary["stages"]} == {"ci", "sta", "dkd", "alone"}
    student = summary["students"]["rgb"]
    primary = experiment.task.primary
    low, high = student["certainty"]["intervals"][primary.name]
    assert low <= student["gain"][primary.name] <= high
    assert (student["certainty"]["p"] is None) == (task == "regression")
    console = Console(file=io.StringIO(), width=200)
    print_summary(summary, console)
    assert all(metric.heading in console.file.getvalue() for metric in experiment.task.metrics)
    assert student["certainty"]["sentence"] in console.file.getvalue()
    found = evaluate_run(folder, None, "test", torch.device("cpu"))
    assert found["metrics"]["dkd-rgb"]["rgb"] == pytest.approx(student["distilled"])
    loaded = load_student(folder)
    assert (loaded.task, len(loaded.classes)) == (task, 2)
    assert loaded(torch.randn(3, 8)).shape == (3, 2)


@pytest.mark.parametrize("method", sorted(MEANT))
def test_methods_that_have_a_meaning_train(method: str, opened: Open, tmp_path: Path) -> None:
    """On either task in turn, with labels hidden: those that ask the task or compare features."""
    task = sorted(LABELS)[sorted(MEANT).index(method) % 2]
    short = tuple(binding.replace("= 2", "= 1") for binding in SHORT)
    bindings = (*short, "data.labelled = 0.5")
    summary = small.run(
        opened(task, f"gin/methods/{method}.gin", bindings=bindings), tmp_path / "r"
    )
    (student,) = summary["students"].values()
    assert all(value == value for value in student.get("distilled", student["alone"]).values())


@pytest.mark.parametrize("method", sorted(ABOUT_CLASSES))
def test_methods_about_classes_are_refused(method: str, opened: Open) -> None:
    """In one sentence, with the place of the loss, the task, and what would do."""
    with pytest.raises(UserError) as caught:
        opened("regression", f"gin/methods/{method}.gin")
    assert "the task 'regression' has none; expected a loss for any task" in str(caught.value)
    assert "\n" not in str(caught.value)


REFUSED = {
    "Distill.weighting = 'confidence'": "are no probabilities, expected 'mean' or 'correctness'",
    "Distill.label_gate = True": "are no probabilities, expected False",
    "data.sampler = 'balanced'": "labels for regression are not one class of each sample",
    "Regression.error = 'mea'": "is 'mea', expected 'mse', 'mae' or 'huber'; did you mean 'mse'?",
    "Regression.delta = 0.0": "is 0.0, expected more than 0",
    "Distill.select = 'mAP'": "is 'mAP' (valid: MAE, R2, acc2",
}


@pytest.mark.parametrize("binding", REFUSED)
def test_what_has_no_meaning_for_numbers_is_refused(binding: str, opened: Open) -> None:
    """With its place, before anything is trained."""
    with pytest.raises(UserError) as caught:
        opened("regression", "gin/methods/ensemble.gin", bindings=(binding,))
    assert f"{binding.split(' =')[0]} " in str(caught.value)
    assert REFUSED[binding] in str(caught.value)


def test_probabilities_of_single_labels_can_be_asked(opened: Open) -> None:
    """How sure of each label, and how alike."""
    bindings = "Distill.weighting = 'confidence'", "Distill.label_gate = True"
    assert opened("multilabel", "gin/methods/ensemble.gin", bindings=bindings).plan.stages


def test_advice_says_that_it_is_about_classes(opened: Open) -> None:
    """In one sentence."""
    with pytest.raises(UserError, match="the task 'multilabel' has no exclusive classes"):
        learning(opened("multilabel"))


def test_a_bench_of_numbers_marks_the_lowest_error(
    recipes: dict[str, Path],
    write_gin: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And draws intervals of what it measured."""
    monkeypatch.chdir(tmp_path)
    world = benches.World(write_gin)
    recipe = recipes["regression"]
    data = f"data.recipe = '{recipe}'\ndata.store = '{recipe.parent / 'store'}'\n"
    write_gin(TWO + data, name="rgb.gin")
    results = benches.run(world.declare(benches.ALONE, benches.KD))
    (column,) = results.columns()
    assert column.metric == "MAE"
    assert "MAE ↓" in Path("out/table.txt").read_text()


def test_options_of_the_loss_count(opened: Open) -> None:
    """Another loss is another stage."""
    plain, other = (opened("regression", bindings=b) for b in ((), ("Regression.error = 'mae'",)))
    assert all(
        plain.plan.stages[name].hash != node.hash for name, node in other.plan.stages.items()
    )
