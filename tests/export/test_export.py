"""A student leaves as a file: measured before it counts, and run where nothing of ours is."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import mstgraph
from mstgraph.cli import main
from mstgraph.export.export import FORMATS, Wanted
from mstgraph.run.execute import Execution
from mstgraph.store import Store
from mstgraph.store.recipe import Labels
from mstgraph.support.errors import RunError, UserError
from mstgraph.tasks.choice import task_for

pytest_plugins = ("training_fixtures",)
FILE = "zer.onnx"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the one export of this file is kept."""
    return tmp_path_factory.mktemp("written") / "out"


@pytest.fixture
def exported(digits_run: Execution, written: Path) -> Path:
    """The folder of a student as ONNX, written by the command once; and its run under ``run``."""
    if not written.exists():
        command = ["export", "run", "--format", "onnx", "--out", str(written), "--batch", "300"]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
        assert "ONNX Runtime" in result.stdout
        assert f"everything is in {written}" in result.stdout
    return written


@pytest.fixture
def quick(exported: Path, monkeypatch: pytest.MonkeyPatch) -> mstgraph.Run:
    """The run, whose student need not be traced again."""
    write = lambda self, model, path: shutil.copyfile(exported / FILE, path)  # noqa: E731
    monkeypatch.setattr(type(FORMATS["onnx"]), "write", write)
    return mstgraph.open_run("run")


def numbers(folder: Path) -> Any:
    """What was measured."""
    return json.loads((folder / "export.json").read_text(encoding="utf-8"))


def test_the_file_answers_as_the_student_does(exported: Path) -> None:
    """To raw values of any batch; it gives the metrics of the run's summary."""
    student, values = mstgraph.load_student("run"), Store("stores/mfeat").read("zer", np.arange(7))
    answer = FORMATS["onnx"].answer(exported / FILE, 1)
    for count in (1, 7):
        with torch.no_grad():
            expected = student(torch.from_numpy(values[:count])).numpy()
        np.testing.assert_allclose(answer(values[:count]), expected, rtol=1e-4, atol=1e-4)
    reference, row = numbers(exported)["ways"]
    distilled = mstgraph.open_run("run").summary["students"]["zer"]["distilled"]
    assert reference["metrics"] == row["metrics"] == pytest.approx(distilled)
    assert row["size"] == (exported / FILE).stat().st_size
    assert set(row["milliseconds"]) == {"1", "300"}


def test_the_file_says_what_it_is(exported: Path) -> None:
    """Names, classes and the data's licence; nothing of the machine that it was written on."""
    onnx = importlib.import_module("onnx")
    proto = onnx.load(exported / FILE)
    said = {item.key: item.value for item in proto.metadata_props}
    assert said["classes"].split("\n") == list("0123456789")
    assert said["licence"].startswith("CC BY 4.0")
    assert [item.name for item in proto.graph.input] == ["zer"]
    assert [item.name for item in proto.graph.output] == ["logits"]
    assert str(Path.home()).encode() not in (exported / FILE).read_bytes()
    assert b".py" not in (exported / FILE).read_bytes()


def test_its_page_of_code_needs_neither_mstgraph_nor_torch(exported: Path, tmp_path: Path) -> None:
    """Where numpy and ONNX Runtime alone can be imported, it gives the student's classes."""
    values = Store("stores/mfeat").read("zer", np.arange(5))
    np.save(tmp_path / "values.npy", values)
    there = tmp_path / "packages"
    there.mkdir()
    for name in ("numpy", "numpy.libs", "onnxruntime"):
        place = Path(importlib.util.find_spec("numpy").origin).parents[1] / name
        if place.exists():
            (there / name).symlink_to(place)
    program = (
        f"import sys, runpy, importlib.util as u; sys.path.insert(0, {str(there)!r})\n"
        "assert u.find_spec('torch') is None and u.find_spec('mstgraph') is None\n"
        "sys.argv.pop(0); runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-I", "-S", "-c", program, exported / "predict.py", exported / FILE]
    done = subprocess.run(
        [*command, tmp_path / "values.npy", "--out", tmp_path / "classes.npy"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        outputs = mstgraph.load_student("run")(torch.from_numpy(values))
    assert np.load(tmp_path / "classes.npy").tolist() == outputs.argmax(1).tolist()
    first = re.match(r"0  (\d) (0\.\d+)", done.stdout)
    assert first is not None
    assert float(first[2]) == pytest.approx(float(outputs.softmax(1)[0].max()), abs=1e-3)


def test_the_model_card_has_the_form_of_model_hubs(exported: Path) -> None:
    """Front matter first; then metrics, the gain with its interval, data, licence, limits."""
    text = (exported / "README.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    said = {k: json.loads(v) for k, v in (line.split(": ", 1) for line in front.splitlines())}
    assert (said["license"], said["license_name"][:9]) == ("other", "CC BY 4.0")
    ((result,),) = (model["results"] for model in said["model-index"])
    student = mstgraph.open_run("run").summary["students"]["zer"]
    assert result["dataset"]["name"] == "Multiple Features"
    assert result["metrics"][0]["value"] == pytest.approx(student["distilled"]["OA"])
    assert f"{student['gain']['OA']:+.4f} OA" in body
    assert student["certainty"]["sentence"] in body
    for heading in ("Use", "Metrics", "Data and licence", "Intended use and limits"):
        assert f"\n## {heading}\n" in body
    assert "[batch, 47] float32" in body


def test_eight_bits_are_calibrated_on_the_training_split(
    quick: mstgraph.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Close to what it was, and shown beside it; only what was asked for is left."""
    chosen, seen = type(FORMATS["onnx"]), []
    quantise = chosen.quantise
    monkeypatch.setattr(
        chosen, "quantise", lambda *given: (seen.extend(given[-1]), quantise(*given))
    )
    left = quick.export("onnx", "small", int8=True, calibration=50, max_loss=1.0)
    store = Store("stores/mfeat")
    (split,) = {quick.summary["data"]["split"]}
    training = store.read("zer", store.split(split, "train"))
    assert len(seen) == 50
    assert all((training == one).all(1).any() for (one,) in seen)
    reference, plain, small = left.document()["ways"]
    assert small["difference"] > 0
    assert plain["difference"] < 1e-3
    assert small["agreement"] > 0.8
    assert reference["difference"] == 0
    onnx = importlib.import_module("onnx")
    weights = onnx.load(left.file).graph.initializer
    assert (
        sum(item.data_type == onnx.TensorProto.INT8 and len(item.dims) == 2 for item in weights)
        == 3
    )
    assert left.file.name == "zer-int8.onnx"
    assert not Path("small", FILE).exists()
    assert "ONNX Runtime int8" in str(left)
    assert "calibrated on 50 training samples" in Path("small/README.md").read_text()


def test_eight_bits_that_lose_too_much_are_refused(quick: mstgraph.Run) -> None:
    """With what they lose; nothing is written."""
    with pytest.raises(UserError, match=r"eight bits lose .* OA .*, more than max-loss -1 allows"):
        quick.export("onnx", "small", int8=True, calibration=5, max_loss=-1)
    assert not Path("small").exists()


def test_a_file_that_says_something_else_is_refused(
    quick: mstgraph.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the reason; nothing is written."""
    chosen = type(FORMATS["onnx"])
    answer = chosen.answer

    def wrong(self: Any, path: Path, threads: int) -> Any:
        right = answer(self, path, threads)
        return lambda values: right(values) + 0.5

    monkeypatch.setattr(chosen, "answer", wrong)
    with pytest.raises(
        RunError, match=r"as torch does: 100\.0% of its outputs differ .* by 0\.5 at most"
    ):
        quick.export("onnx", "wrong")
    assert not Path("wrong").exists()


def test_a_folder_of_somebody_else_is_left_alone(digits_run: Execution) -> None:
    """It is refused before any work; one of an earlier export is replaced."""
    Path("mine").mkdir()
    Path("mine/thesis.txt").touch()
    result = CliRunner().invoke(main, ["export", "run", "--format", "torch", "--out", "mine"])
    assert result.exit_code == 2
    assert "is no export of mstgraph's and not empty" in result.stderr


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted("onx"), "no format 'onx'; did you mean 'onnx'"),
        (Wanted("torch", int8=True), "'torch' has no int8: .* expected onnx, openvino"),
        (Wanted("torch", batch=0), "batch is 0, expected at least 1"),
        (Wanted("torch", threads=10**9), "threads is 1000000000, expected at most 1024"),
        (Wanted("torch", output="logit"), "output is 'logit'; did you mean 'logits'"),  # type: ignore[arg-type]
    ],
)
def test_what_makes_no_sense_is_refused(wanted: Wanted, message: str) -> None:
    """In one sentence with what was expected."""
    with pytest.raises(UserError, match=message):
        wanted.check(task_for(Labels("classification", ("a", "b"))))


def test_probabilities_are_of_exclusive_classes() -> None:
    """Of another task's outputs none follow."""
    task = task_for(Labels("classification", ("a", "b")))
    other = type("Grades", (type(task),), {"exclusive_classes": False})(task.labels)
    with pytest.raises(UserError, match="the task Grades has outputs that are no logits"):
        Wanted("torch", output="probabilities").check(other)
