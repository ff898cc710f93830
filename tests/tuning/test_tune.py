"""A search over tiny vectors: what is shared, what is never read, how it ends and goes on."""

from __future__ import annotations

import csv
import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import mstgraph
from mstgraph.benchmark.execute.workers import InProcess
from mstgraph.cli import main
from mstgraph.derive.opening import open_experiment
from mstgraph.look.records import Records
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.stages.stage import StageNode
from mstgraph.store import Store
from mstgraph.support.errors import RunError, UserError
from mstgraph.support.files import explained
from mstgraph.tuning.results import Tuned
from mstgraph.tuning.study import PRUNED, Study
from mstgraph.tuning.trials import Trials

pytest.importorskip("optuna", reason="Optuna is not installed: pip install 'mstgraph[tune]'")
# Two stages: a teacher, which no temperature of its edge touches, and its student.
KD = """
graph.target = 'rgb'
graph.rgb = @rgb/Member()
graph.fused = @fused/Member()
fused/Member:
  network = @FusedMLP
  inputs = ('rgb', 'depth')
"""
SHORT = "Pretrain.epochs = 2", "Distill.epochs = 2"
TEMPERATURE = "KL.temperature = choice(1.0, 2.0, 4.0)"
WEIGHT = "Distill.distillation_weight = uniform(0, 1)"
RATE = "Distill.learning_rate = choice(1e-3, 2e-3, 1e30)"


@pytest.fixture(autouse=True)
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_gin: Callable[..., Path]) -> None:
    """A directory of its own with a student's gin file, ``rgb.gin``."""
    monkeypatch.chdir(tmp_path)
    write_gin(KD, name="rgb.gin")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the stages that are trained while the test runs, each time they are."""
    names: list[str] = []
    begin = RunFolder.begin

    def noting(self: RunFolder, node: StageNode) -> Path:
        names.append(node.name)
        return begin(self, node)

    monkeypatch.setattr(RunFolder, "begin", noting)
    return names


def tune(*settings: str, out: str = "out", bindings: tuple[str, ...] = (), **more: Any) -> Tuned:
    """Search in a folder, saying nothing."""
    said = more.pop("said", [])
    return mstgraph.tune(
        "rgb.gin",
        *SHORT,
        *bindings,
        settings=settings,
        out=out,
        device="cpu",
        progress=False,
        notice=said.append,
        **more,
    )


def test_what_no_setting_touches_is_trained_once(
    trained: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The winner is the best of them, and as a gin file comes to the same from anywhere."""
    words = ["tune", "rgb.gin", "-s", TEMPERATURE, "--trials", "9", "--seeds", "4"]
    words += ["--out", "out", "--device", "cpu"]
    words += [word for binding in SHORT for word in ("-p", binding)]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert trained == ["pretrain-fused", *["distill-rgb"] * 3]
    assert "there are 3 combinations of values: each is tried once" in result.output
    assert f"  {TEMPERATURE}: changes 1 of 2 stages: distill-rgb\n" in result.output
    assert "3 trials asked for 6 stages; 4 were trained: " in result.output
    assert result.output.rstrip().endswith("mstgraph run out/winner.gin")
    rows = list(csv.DictReader(Path("out/trials.csv").read_text().splitlines()))
    assert sorted(row["KL.temperature"] for row in rows) == ["1.0", "2.0", "4.0"]
    best = max(rows, key=lambda row: (float(row["validation OA"]), -int(row["trial"])))
    assert f"KL.temperature = {best['KL.temperature']}\n" in Path("out/winner.gin").read_text()
    (tmp_path / "away").mkdir()
    monkeypatch.chdir(tmp_path / "away")
    run = mstgraph.load("../out/winner.gin", "graph.seed = 4").run("run", progress=False)
    kept = [row for row in run.history() if row["stage"] == "distill-rgb" and row["best"]][-1]
    assert kept["validation/metrics/rgb/OA"] == float(best["validation OA"])
    hashes = {stage["name"]: stage["hash"] for stage in run.plan["stages"]}
    assert (tmp_path / f"out/artefacts/distill-rgb-{hashes['distill-rgb']}").is_dir()


def test_the_test_split_is_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one sample of it, whatever a stage does with what it has learned."""
    read: set[int] = set()
    reading = Store.read_column

    def noting(self: Store, name: str, indices: Any, out: Any = None) -> np.ndarray:
        read.update(np.asarray(indices).tolist())
        return reading(self, name, indices, out)

    monkeypatch.setattr(Store, "read_column", noting)
    experiment = open_experiment(["rgb.gin"])
    store, split = experiment.source.store, experiment.split
    assert store is not None
    tune(TEMPERATURE, WEIGHT, trials=1)
    parts = {part: set(store.split(split, part).tolist()) for part in ("train", "test")}
    assert parts["train"] <= read
    assert not parts["test"] & read
    mstgraph.load("rgb.gin", *SHORT).run("run", progress=False)
    assert parts["test"] <= read  # or this test would notice nothing


def test_a_search_goes_on_where_it_was_stopped(trained: list[str]) -> None:
    """After Ctrl-C between two trials: the same trials as without, nothing twice; then more."""
    whole = tune(TEMPERATURE, WEIGHT, trials=2, out="whole")
    once = sorted(trained)
    trained.clear()
    before, told = signal.signal(signal.SIGINT, signal.default_int_handler), Study.tell

    def pressed(self: Study, number: int, value: float) -> None:
        told(self, number, value)
        os.kill(os.getpid(), signal.SIGINT)

    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Study, "tell", pressed)
            with pytest.raises(mstgraph.Interrupted) as stopped:
                tune(TEMPERATURE, WEIGHT, trials=2)
    finally:
        signal.signal(signal.SIGINT, before)
    assert str(stopped.value) == "1 of 2 trials"
    assert Path("out/winner.gin").is_file()
    again = tune(TEMPERATURE, WEIGHT, trials=2)
    assert again.trials == whole.trials
    assert sorted(trained) == once
    assert tune(TEMPERATURE, WEIGHT, trials=3).trials[:2] == whole.trials
    with pytest.raises(UserError, match=r"^'out' holds trials of other settings \(-s\); expected"):
        tune(TEMPERATURE, trials=2)
    with Path("rgb.gin").open("a") as stream:
        stream.write("\nMLP.hidden = (5, 5)\n")
    with pytest.raises(UserError, match=r"^'out' holds trials of other gin text, code or data; "):
        tune(TEMPERATURE, WEIGHT, trials=2)


def test_more_trials_of_few_combinations_are_those_that_are_left(trained: list[str]) -> None:
    """Two of three, then all three, though a kill left a trial without values; it is no run."""
    assert [trial.number for trial in tune(TEMPERATURE, trials=2).trials] == [0, 1]
    Study(Path("out/journal.log"), True)._study.ask()
    found = tune(TEMPERATURE, trials=9)
    assert sorted(t.settings["KL.temperature"] for t in found.trials) == ["1.0", "2.0", "4.0"]
    assert trained == ["pretrain-fused", *["distill-rgb"] * 3]
    for opened in (mstgraph.open_run, mstgraph.load_student, lambda out: Records(Path(out))):
        with pytest.raises(UserError, match=r"folder that 'mstgraph run out/winner\.gin' leaves"):
            opened("out")


@pytest.mark.parametrize(("given", "count"), [({}, 2), ({"jobs": 1}, 1)])
def test_as_many_trials_are_under_way_as_workers_can_do(
    given: dict[str, int], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or as many as jobs were asked for; of a Ray cluster, which counts its cores, too."""
    monkeypatch.setattr(InProcess, "slots", 2)
    begin, under_way = Trials.begin, []

    def noting(self: Trials) -> None:
        begin(self)
        under_way.append(len(self.under_way))
        self.interrupt.requested = True

    monkeypatch.setattr(Trials, "begin", noting)
    with pytest.raises(mstgraph.Interrupted):
        tune(TEMPERATURE, trials=3, **given)
    assert under_way == [count]


def test_a_hopeless_trial_ends_early_and_a_broken_one_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither has a value; the others go on, and other seeds follow those that survived."""
    noting = Study.is_hopeless

    def second(self: Study, number: int, epoch: int, value: float) -> bool:
        noting(self, number, epoch, 1.0)  # the best of all, had it been trained to its end
        return bool(self.trial(number).params["Distill.learning_rate"] == "2e-3")

    monkeypatch.setattr(Study, "is_hopeless", second)
    tuned = tune(RATE, trials=3, seeds="0-1", bindings=("Adam.eps = 1e-30",))
    states = {trial.settings["Distill.learning_rate"]: trial for trial in tuned.trials}
    done, pruned, failed = (states[rate] for rate in ("1e-3", "2e-3", "1e30"))
    assert (pruned.state, pruned.value, pruned.why) == ("pruned", None, f"{PRUNED}1 of 2")
    assert failed.state == "failed"
    assert failed.why.startswith("stage distill-rgb: ")
    assert done.state == "done"
    assert done.value == pytest.approx(np.mean(done.values))
    assert [len(trial.values) for trial in (done, pruned, failed)] == [2, 0, 0]
    assert [len(trial.stages) for trial in (done, pruned, failed)] == [4, 2, 2]
    (stage,) = (name for name in pruned.stages if name.startswith("distill"))
    left = {path.name for path in (tuned.folder / "artefacts" / stage).iterdir()}
    assert "metrics.jsonl" in left
    assert not {"artefact.json", "checkpoint.pt"} & left
    assert tuned.best is done


def test_a_full_disk_fails_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search ends with its sentence, and goes on with the same trial once there is space."""

    def full(self: RunFolder, node: StageNode) -> Path:
        with explained(self.path):
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "begin", full)
        with pytest.raises(UserError, match=r"^no space is left to write"):
            tune(TEMPERATURE, trials=2)
    assert [trial.state for trial in tune(TEMPERATURE, trials=2).trials] == ["done", "done"]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (
            ["KL.temperatur = 1..4"],
            r"command line '-s KL\.temperatur = 1\.\.4': 'KL' has no parameter 'temperatur'; "
            "did you mean 'temperature'",
        ),
        ([WEIGHT, "KLL.temperature = 1..3"], r"'-s KLL\.temperature = 1\.\.3': unknown name 'KLL'"),
        (["Distill.epochs = uniform(1, 2)"], "fixes Distill.epochs; expected one of the two"),
        (["Distill.accumulate = uniform(1, 2)"], r"'-s .* uniform\(1, 2\)': Distill\.accumulate "),
        (["Distill.accumulate = 0..2"], r"'-s .* 0\.\.2': Distill\.accumulate is 0, expected at"),
        (["DKD.k = 1..3"], r"nothing that 'rgb' learns from depends on DKD\.k; expected a setting"),
        (["data.split = choice(0, 1)"], r"with another data\.split a trial would be judged by"),
        (["graph.seed = 1..3"], r"tune sets graph\.seed itself; expected --seeds"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_trained(
    settings: list[str], sentence: str, trained: list[str]
) -> None:
    """One sentence, at the place where it was written."""
    with pytest.raises(UserError, match=sentence):
        tune(*settings)
    assert not trained


def test_a_search_in_which_nothing_comes_to_a_value_says_why() -> None:
    """The reason of the first trial."""
    rates = "Distill.learning_rate = choice(1e30, 1e31)"
    with pytest.raises(RunError, match=r"^none of 2 trials came to a value: stage distill-rgb: "):
        tune(rates, trials=2, bindings=("Adam.eps = 1e-30",))
