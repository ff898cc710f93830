"""The student of a finished run, and its evaluation, give the numbers of the summary."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import training_worlds as small
from click.testing import CliRunner

from mstgraph.api.run import open_run
from mstgraph.cli import main
from mstgraph.derive.opening import open_experiment
from mstgraph.report.evaluate_run import evaluate_run
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.run.artefacts.student import load_student
from mstgraph.store import Store
from mstgraph.support.errors import UserError
from mstgraph.tasks.choice import task_for

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("workspace")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, stores: Path) -> Path:
    """A directory with a finished run over vectors and one over maps with two students."""
    path = tmp_path_factory.mktemp("finished")
    for target in (small.ROOT / "gin", small.ROOT / "datasets", stores):
        (path / target.name).symlink_to(target)
    before = Path.cwd()
    os.chdir(path)
    small.run(small.mfeat("data.normalisation = 'minmax'"), "vectors")
    one = ("STA.epochs = 1", "DKD.epochs = 1", "graph.target = ('rgb', 'depth')")
    masks = (*small.ONE_MASK, "rgb/Member.masks = ('encoder.stage5',)")
    small.run(small.rooms(*one, *masks), "maps")
    os.chdir(before)
    return path


def summary(run: Path) -> Any:
    """What the run came to."""
    return json.loads((run / "summary.json").read_text())


@pytest.mark.parametrize(
    ("name", "store", "target"),
    [("vectors", "mfeat", "zer"), ("maps", "rooms", "rgb"), ("maps", "rooms", "depth")],
)
def test_the_student_gives_the_metrics_of_the_summary(
    finished: Path, stores: Path, name: str, store: str, target: str
) -> None:
    """Fed with raw values of the store; it brings its own normalisation and needs no store."""
    student = load_student(finished / name, target)
    data = Store(stores / store)
    ids = data.split("0", "test")
    matrix = task_for(data.labels_spec).accumulator()
    raw = torch.from_numpy(data.read(target, ids))
    with torch.no_grad():
        for some, own in zip(
            raw.split(5), torch.from_numpy(data.read_labels(ids)).split(5), strict=True
        ):
            matrix.update(student(some), own.long())
    assert matrix.metrics() == summary(finished / name)["students"][target]["distilled"]
    assert student.classes == data.labels_spec.classes
    assert student.modality == target
    assert not student.training


def test_a_run_with_several_students_asks_which_one(finished: Path) -> None:
    """And knows a name that is nearly right."""
    with pytest.raises(UserError, match="has no student 'dept'; did you mean 'depth'"):
        load_student(finished / "maps", "dept")
    with pytest.raises(
        UserError, match=r"has the students 'depth' and 'rgb'; expected one.*--member"
    ):
        load_student(finished / "maps")


def test_a_folder_without_a_student_is_refused(tmp_path: Path) -> None:
    """In one sentence."""
    with pytest.raises(UserError, match="holds no student, as that of a finished run does;"):
        load_student(tmp_path)


def test_a_damaged_student_is_refused(finished: Path, tmp_path: Path) -> None:
    """A turned bit is found."""
    shutil.copytree(finished / "vectors", tmp_path / "copy")
    path = tmp_path / "copy/student-zer.safetensors"
    content = bytearray(path.read_bytes())
    content[-2] ^= 4
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"student-zer\.safetensors' cannot be used"):
        load_student(tmp_path / "copy")


@pytest.mark.parametrize("name", ["vectors", "maps"])
def test_eval_gives_the_metrics_of_the_summary(finished: Path, name: str) -> None:
    """Of every student, alone and distilled, and of every teacher; as sure of the gain."""
    evaluation = evaluate_run(finished / name, None, "test", CPU)
    found, expected = evaluation["metrics"], summary(finished / name)
    assert evaluation["students"] == expected["students"]
    for student in expected["students"].values():
        assert 0 <= student["certainty"]["told"] <= 1  # of pixels, too
    for target, student in expected["students"].items():
        assert found[student["stage"]][target] == student["distilled"]
        assert found[f"alone-{target}"][target] == student["alone"]
    masked = [teacher for teacher in expected["teachers"] if "j" in teacher]
    assert masked
    for teacher in masked:
        stage = f"sta-{teacher['student']}-{teacher['name']}"
        assert found[stage][teacher["name"]] == teacher["metrics"]


def test_eval_of_another_part_and_split(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The validation part is what the artefact holds; another split is marked as seen."""
    monkeypatch.chdir(finished)
    artefact = json.loads(Path("vectors/stages/dkd-zer/artefact.json").read_text())
    found = evaluate_run(Path("vectors"), None, "validation", CPU)
    assert found["metrics"]["dkd-zer"] == artefact["validation"]["metrics"]
    runner = CliRunner()
    other = runner.invoke(main, ["eval", "vectors", "--split", "3", "--part", "train"])
    assert other.exit_code == 0, other.output
    assert "train part of split 3" in other.output
    assert "trained on split 0: some of these samples were seen in training" in other.output
    assert "95 % interval from" in other.output
    assert "the same network trained as long alone" in other.output
    wrong = runner.invoke(main, ["eval", "vectors", "--split", "7"])
    assert wrong.exit_code == 2
    assert "7" in wrong.stderr
    assert len(wrong.stderr.splitlines()) == 1


def test_eval_from_another_directory(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is found from above the run, the recipe is not asked for; refused without store."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stores").unlink()
    (tmp_path / "datasets").unlink()
    found = evaluate_run(finished / "vectors", None, "test", CPU)["metrics"]
    assert found["dkd-zer"]["zer"] == summary(finished / "vectors")["students"]["zer"]["distilled"]
    shutil.copytree(finished / "vectors", tmp_path / "copy")
    with pytest.raises(UserError, match="the store 'stores/mfeat' of this run is not there any"):
        evaluate_run(tmp_path / "copy", None, "test", CPU)


def test_eval_of_an_unfinished_run_is_refused(finished: Path, tmp_path: Path) -> None:
    """Naming the stage that is missing."""
    shutil.copytree(finished / "vectors", tmp_path / "copy")
    (tmp_path / "copy/stages/dkd-zer/artefact.json").unlink()
    with pytest.raises(UserError, match=r"is not finished: stage dkd-zer is to be trained"):
        evaluate_run(tmp_path / "copy", None, "test", CPU)
    with pytest.raises(UserError, match=r"is no run: it has no config\.gin"):
        evaluate_run(tmp_path, None, "test", CPU)


LINEAR = """
import gin
from torch import nn

import student_helper


@gin.configurable
class Linear(nn.Module):
    def __init__(self, inputs, num_outputs):
        super().__init__()
        (features,) = next(iter(inputs.values()))
        self.layer = nn.Linear(features, num_outputs)
        self.factor = student_helper.FACTOR

    def forward(self, values):
        return self.factor * self.layer(values)
"""


@pytest.fixture
def own(workspace: Path) -> Path:
    """A directory with a finished run of a user's network, which is edited afterwards."""
    (workspace / "student_linear.py").write_text(LINEAR)
    (workspace / "student_helper.py").write_text("FACTOR = 1\n")
    (workspace / "own.gin").write_text(
        "import student_linear\ninclude 'gin/mfeat_zer.gin'\ninclude 'gin/methods/none.gin'\n"
        "graph.fou = None\ngraph.fused = None\nzer/Member.network = @Linear\n"
    )
    bindings = ["Pretrain.epochs = 1", "Distill.epochs = 1", "data.split = 0"]
    small.run(open_experiment(["own.gin"], bindings), "own")
    (workspace / "student_helper.py").write_text("FACTOR = 2\n")
    return workspace


def test_a_student_is_made_of_the_code_of_its_run(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of the edited one in the working directory, which the program has imported."""
    monkeypatch.syspath_prepend(own)
    monkeypatch.setitem(sys.modules, "student_helper", importlib.import_module("student_helper"))
    assert load_student("own").network.factor == 1


def test_the_code_of_a_run_is_told_or_refused(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever got the run from somebody else decides, in Python and on the command line."""
    with pytest.warns(UserWarning, match="a run's folder is code: 'own' .*student_linear"):
        load_student("own")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_student("own", code=True)
    result = CliRunner().invoke(main, ["eval", "own", "--device", "cpu"])
    assert result.exit_code == 0
    assert "a run's folder is code: the networks of 'own' come from student_help" in result.stderr
    trap = Path("own/student_linear.py")
    trap.write_text("raise SystemExit('it was run')\n" + trap.read_text())
    sentence = "the module 'student_linear' would be run, which was forbidden"
    with pytest.raises(UserError, match="not what the student was written with"):
        load_student("own", code=False)
    monkeypatch.setattr("mstgraph.run.artefacts.student._check_files", lambda *given: None)
    with pytest.raises(UserError, match=sentence):
        load_student("own", code=False)
    result = CliRunner().invoke(main, ["eval", "own", "--no-code"])
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)
    assert sentence in result.stderr


def test_weights_go_into_a_network_of_ones_own(own: Path) -> None:
    """Neither code nor configuration of the run is read."""
    Path("own/config.gin").write_text("this is no gin {")
    Path("own/student_linear.py").write_text("raise SystemExit('it was run')")

    class Mine(torch.nn.Module):
        def __init__(self, inputs: Any, num_outputs: int):
            super().__init__()
            (features,) = inputs["zer"]
            self.layer = torch.nn.Linear(features, num_outputs)

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            return self.layer(values)

    values = torch.randn(4, 47)
    student = load_student("own", network=Mine)
    assert torch.equal(student(values), load_student("own", network=student.network)(values))
    assert len(student.classes) == 10
    with pytest.raises(UserError, match=r"student-zer\.safetensors' cannot be used"):
        load_student("own", network=torch.nn.Linear(3, 2))


def test_reading_a_run_runs_none_of_its_code(own: Path) -> None:
    """What it came to, its plan and its history are data."""
    for name in ("student_linear", "student_helper"):
        Path(f"own/{name}.py").write_text("raise SystemExit('it was run')")
    opened = open_run("own")
    assert opened.summary["students"]
    assert opened.plan["stages"]
    assert opened.history()
    assert "zer" in str(opened)


@pytest.mark.parametrize("name", ["student-zer.json", "config.gin", "student-zer.safetensors"])
def test_what_a_student_is_made_of_is_as_it_was_written(
    name: str, finished: Path, tmp_path: Path
) -> None:
    """A turned bit, or a file of another run: found before it answers."""
    shutil.copytree(finished / "vectors", tmp_path / "copy")
    path = tmp_path / "copy" / name
    content = bytearray(path.read_bytes())
    place = content.index(b"0.0") if name.endswith(".json") else len(content) - 9
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=name.replace(".", r"\.")):
        load_student(tmp_path / "copy")


def test_a_run_brings_all_of_its_code(
    own: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its configuration runs, and it is evaluated, from another directory."""
    expected = summary(Path("own"))["students"]["zer"]["alone"]
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    again = open_experiment([own / "own/config.gin"], [f"data.store = '{own}/stores/mfeat'"])
    folder = RunFolder(own / "own")
    assert all(folder.state(node) == (True, "") for node in again.plan.stages.values())
    found = evaluate_run(own / "own", None, "test", CPU)["metrics"]
    assert expected in [metrics["zer"] for metrics in found.values()]
