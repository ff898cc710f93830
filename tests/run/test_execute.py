"""Reuse of what is finished, and what a run says and leaves."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import training_worlds as small
from click.testing import CliRunner
from tiny_graphs import SHORT

from mstgraph.cli import main
from mstgraph.derive.opening import open_experiment
from mstgraph.report.progress import ConsoleReporter
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.run.execute import Execution
from mstgraph.stages.ci import CI
from mstgraph.support.disk.descriptions import DIGEST, write_description
from mstgraph.support.errors import RunError, UserError
from mstgraph.support.files import read_json
from mstgraph.support.interrupt import Interrupted
from mstgraph.support.numerics import choose_device

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("workspace")

STAS = [f"sta-zer-{p}" for p in ("fused.fusion", "fused.hidden1", "fou.hidden1", "fou.hidden2")]
STAGES = ["ci", *STAS, "dkd-zer", "alone-zer"]


def reused(said: str) -> list[str]:
    """Names of stages that were reused."""
    return [line.split(":")[0] for line in said.splitlines() if line.endswith("· reused")]


def again(said: str) -> dict[str, str]:
    """Stage → why it is trained again."""
    marker = " is trained again: "
    lines = [line for line in said.splitlines() if marker in line]
    return {line.split(marker)[0]: line.split(marker)[1] for line in lines}


def test_a_second_run_reuses_everything_and_a_changed_one_what_it_can(
    digits_run: Execution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DKD.epochs concerns the last stage and its counterpart alone, and the run says so.

    The plan is written at first, and again when stages were trained.
    """
    written: list[str] = []

    def noted(path: Path, content: Any) -> None:
        written.append(path.name)
        write_description(path, content)

    monkeypatch.setattr("mstgraph.run.execute.write_description", noted)
    summary = read_json(Path("run/summary.json"))
    del summary[DIGEST]
    assert reused(small.told(digits_run)) == []
    second = small.quiet(small.mfeat(), "run")
    assert second.run() == summary
    assert written.count("plan.json") == 1
    assert reused(small.told(second)) == STAGES
    third = small.quiet(small.mfeat("DKD.epochs = 3"), "run")
    third.run()
    assert written.count("plan.json") == 1 + 3
    assert reused(small.told(third)) == STAGES[:-2]
    assert again(small.told(third)) == {
        "dkd-zer": "settings.epochs was 2, is 3",
        "alone-zer": "settings.epochs was 4, is 5",
    }


@pytest.mark.usefixtures("digits_run")
def test_a_folder_without_an_artefact_is_not_finished() -> None:
    """Whatever else lies there; stages that depend on it are reused, for it comes out the same."""
    Path("run/stages/ci/artefact.json").unlink()
    before = small.weights_of("run")
    execution = small.quiet(small.mfeat(), "run")
    execution.run()
    assert reused(small.told(execution)) == STAGES[1:]
    after = small.weights_of("run")
    for path, states in before.items():
        for name, tensor in states.items():
            assert torch.equal(tensor, after[path][name])


@pytest.mark.usefixtures("digits_run")
def test_what_a_run_leaves() -> None:
    """The files that the head of `run_folder` promises, and nothing half written."""
    found = {str(p.relative_to("run")) for p in Path("run").rglob("*") if p.is_file()}
    assert {"config.gin", "plan.json", "summary.json", "student-zer.safetensors"} <= found
    for stage in STAGES:
        own = {name.rsplit("/", 1)[1] for name in found if name.startswith(f"stages/{stage}/")}
        assert {"artefact.json", "metrics.jsonl"} <= own
        assert any(name.startswith("events.out.tfevents") for name in own)
        assert any(".shown." in name for name in own), "confusions, and what the gate trusts"
        assert any(name.endswith(".safetensors") for name in own)
    assert not [name for name in found if "checkpoint" in name or "partial" in name]


@pytest.mark.usefixtures("digits_run")
def test_the_configuration_that_is_left_gives_the_same_run() -> None:
    """runs/NAME/config.gin as the only gin file: same hashes, everything reused."""
    execution = small.quiet(open_experiment(["run/config.gin"]), "run")
    execution.run()
    assert reused(small.told(execution)) == STAGES


@pytest.mark.usefixtures("digits_run")
def test_only_a_maskNet_changes_in_sta() -> None:  # noqa: N802
    """Student and backbone are frozen: STA leaves a MaskNet and nothing else."""
    for stage in STAS:
        left = [path.stem for path in Path("run/stages", stage).glob("*.safetensors")]
        assert left == [f"masknet.zer.{stage.removeprefix('sta-zer-')}"]


def test_the_best_epoch_is_what_is_left() -> None:
    """Its validation in the artefact is that of the record with the lowest loss."""
    rate = "DKD.learning_rate = 1.0", "DKD.schedule = @ConstantRate()"
    bindings = "DKD.epochs = 6", "DKD.select = 'loss'", *rate
    small.run(small.mfeat(*bindings), "run")
    lines = Path("run/stages/dkd-zer/metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["validation"]["loss"] for line in lines]
    artefact = json.loads(Path("run/stages/dkd-zer/artefact.json").read_text())
    best = losses.index(min(losses))
    assert artefact["best_epoch"] == best + 1
    assert artefact["validation"]["loss"] == losses[best]
    assert best + 1 < 6, "a test of the last epoch would pass anyway"
    finished = small.quiet(small.mfeat(*bindings), "run")
    from mstgraph.report.evaluate_run import evaluate_run

    values = evaluate_run(Path("run"), None, "validation", finished.device)
    assert values["metrics"]["dkd-zer"] == artefact["validation"]["metrics"]


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_is_one_sentence(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for root, who may write everywhere else."""

    def refuse(self: Path, *arguments: Any, **options: Any) -> None:
        raise OSError(code, "no")

    bindings = [part for binding in small.MFEAT for part in ("-p", binding)]
    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", refuse)
        result = CliRunner().invoke(
            main, ["run", "gin/mfeat_zer.gin", *bindings, "--device", "cpu", "--out", "sealed"]
        )
    assert result.exit_code == 2, result.output
    sentence = "mstgraph: 'sealed' cannot be written (no); choose another place with --out"
    assert result.stderr.splitlines() == [sentence]


def test_a_file_in_the_place_of_the_folder_is_one_sentence() -> None:
    """It is not overwritten."""
    Path("run").write_text("mine")
    with pytest.raises(UserError, match="'run' cannot be written"):
        small.run(small.mfeat(), "run")
    assert Path("run").read_text() == "mine"


def test_devices() -> None:
    """A device that is not there is refused in a sentence."""
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda")
    for name in ("cuda:99", "gpu", "tpu0", "meta"):
        with pytest.raises(UserError, match=f"device '{name}' is not to be had here"):
            choose_device(name)


def test_data_and_values_share_one_budget() -> None:
    """What stages took is given back; the data stays."""
    experiment = small.mfeat("engine.memory_gigabytes = 0.01")
    execution = small.quiet(experiment, "run")
    execution.run()
    resident = sum(
        tensor.numel() * tensor.element_size() for tensor in execution.pool._resident.values()
    )
    assert execution.pool.remaining == 10_000_000 - resident


def test_an_old_student_does_not_stand_beside_a_new_configuration() -> None:
    """Once a stage is to be trained again, summary and students go, with those of other targets."""
    two = "graph.target = ('zer', 'fou')"
    small.run(small.mfeat(*SHORT, two), "run")
    small.run(small.mfeat(*SHORT, two), "run")
    left = {path.name for path in Path("run").iterdir()}
    assert {"summary.json", "student-zer.json", "student-fou.safetensors"} <= left
    changed = small.quiet(small.mfeat(*SHORT, "DKD.learning_rate = 0.5"), "run")
    changed.interrupt.requested = True
    with pytest.raises(Interrupted):
        changed.run()
    left = {path.name for path in Path("run").iterdir()}
    assert "config.gin" in left
    assert not {name for name in left if name.startswith(("student", "summary"))}


def test_an_artefact_of_nobody_is_not_used() -> None:
    """A file without a hash is not that of a finished stage."""
    small.run(small.mfeat(*SHORT), "run")
    Path("run/stages/ci/artefact.json").write_text("{}")
    with pytest.raises(UserError, match=r"hash is missing; remove 'run/stages/ci/artefact\.json'"):
        RunFolder(Path("run")).state(small.mfeat(*SHORT).plan.stages["ci"])


LATE = """
import gin
from torch import nn


class Layer(nn.Linear):
    def forward(self, values):
        if self.training and values.device.type == "cpu" and values.shape[0] > 2:
            raise ValueError("too many")
        return super().forward(values)


@gin.configurable
class Late(nn.Module):
    def __init__(self, inputs, num_outputs):
        super().__init__()
        (features,) = next(iter(inputs.values()))
        self.layers = nn.Sequential(Layer(features, num_outputs))

    def forward(self, values):
        return self.layers(values)
"""


def test_what_the_users_code_raises_in_training_is_one_sentence() -> None:
    """With stage, member, layer, and the line of their code."""
    Path("late.py").write_text(LATE)
    Path("late.gin").write_text("import late\nzer/Member.network = @Late\n")
    experiment = open_experiment(["gin/mfeat_zer.gin", "late.gin"], small.MFEAT)
    with pytest.raises(UserError) as caught:
        small.run(experiment, "run")
    assert str(caught.value) == (
        "stage ci: part 'zer', layer 'layers.0': ValueError: too many (late.py:9)"
    )


@pytest.mark.parametrize(
    ("error", "kind", "told"),
    [
        (MemoryError(), RunError, "there is not memory enough (MemoryError"),
        (RuntimeError("can't allocate memory: 8 TB"), RunError, "there is not memory enough"),
        (OverflowError("Result too large"), UserError, "a setting is larger than numbers can be"),
    ],
)
def test_what_a_machine_cannot_do_is_one_sentence(
    error: Exception, kind: type[Exception], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever's code asked for it."""

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(CI, "losses", fails)
    with pytest.raises(kind) as caught:
        small.run(small.mfeat(*SHORT), "run")
    assert str(caught.value).startswith("stage ci: ")
    assert told in str(caught.value)


def test_a_folder_that_is_no_run_is_refused_and_stays() -> None:
    """Before the store is prepared, whatever it holds and whatever that is called."""
    Path("mine/kept").mkdir(parents=True)
    for name in ("config.gin", "student-list.csv", "kept/notes"):
        Path("mine", name).write_text("precious")
    arguments = ["run", "gin/mfeat_zer.gin", "-p", "data.store = 'stores/new'", "--out"]
    for out in ("mine", "", "."):
        result = CliRunner().invoke(main, [*arguments, out])
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), result.output
    assert not Path("stores/new").exists()
    assert all(path.read_text() == "precious" for path in Path("mine").rglob("*") if path.is_file())


def test_a_rerun_removes_nothing_but_what_it_made() -> None:
    """Copies of a student and notes beside it stay, also when the run has changed."""
    small.run(small.mfeat(*SHORT), "run")
    notes = [Path("run", name) for name in ("student-zer.v1.safetensors", "student-notes.md")]
    for path in notes:
        path.write_text("mine")
    small.run(small.mfeat(*SHORT), "run")
    small.run(small.mfeat(*SHORT, "DKD.k = 2"), "run")
    assert all(path.read_text() == "mine" for path in notes)


def test_a_folder_that_is_removed_under_a_run_is_one_sentence() -> None:
    """Whatever was to be written next."""
    execution = small.quiet(small.mfeat(*SHORT), "run")
    execution.reporter = Removing(execution.reporter.console, execution.experiment.task, "")
    with pytest.raises(UserError, match="was removed while mstgraph was at work; give the same"):
        execution.run()


class Removing(ConsoleReporter):
    """Removes the stages as soon as one of them has an epoch."""

    def epoch_done(self, node: Any, record: Any) -> None:
        """Remove them."""
        shutil.rmtree("run/stages", ignore_errors=True)


def test_a_stage_that_was_replaced_is_refused() -> None:
    """By one that is sound and of the same configuration: the plan names the one that was left."""
    small.run(small.mfeat(*SHORT), "run")
    path = Path("run/stages/ci/artefact.json")
    content = json.loads(path.read_text())
    content.pop("sha256")
    write_description(path, {**content, "seconds": 12.5})
    with pytest.raises(
        UserError, match=r"artefact\.json' is not the one that 'run/plan\.json' names"
    ):
        small.run(small.mfeat(*SHORT), "run")
    path.unlink()
    small.run(small.mfeat(*SHORT), "run")
