"""Methods as files: each of the project's runs, and one of a user's own is one file and a block."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file
from tiny_graphs import METHODS, ROLES, ROOT, SHORT, TWO

from mstgraph.cli import main
from mstgraph.derive.experiment import Experiment
from mstgraph.derive.opening import open_experiment
from mstgraph.stages.node import Part
from mstgraph.store import load_recipe
from mstgraph.store.build.builder import build
from mstgraph.support.errors import UserError

Method = Callable[..., Experiment]
WriteGin = Callable[..., Path]

DENSE = (
    "c2kd",
    "camkd",
    "decoupled",
    "dist",
    "dml",
    "ensemble",
    "fdcmkd",
    "fitnets",
    "kd",
    "lskd",
    "mgdfr",
    "mst",
    "none",
    "recommended",
)
ONE_LABEL = {"crd": "CRD", "mlld": "MLLD", "ofa": "OFA", "rkd": "RKD"}

MAPS_RECIPE = """
from dataclasses import dataclass

import numpy as np

from mstgraph.store.recipe import Labels, Modality, Recipe


@dataclass
class Maps(Recipe):
    title = "tiny maps"
    source = "drawn at random"
    licence = "none"
    synthetic = "random numbers"

    def modalities(self):
        return Modality("rgb", "float32", (3, 6, 6)), Modality("depth", "float32", (1, 6, 6))

    def labels(self):
        return Labels("segmentation", ("unlabelled", "cat", "dog", "owl"), 0, (6, 6))

    def __len__(self):
        return 20

    def sample(self, index):
        draw = np.random.RandomState(index)
        sample = {m.name: draw.rand(*m.shape).astype(np.float32) for m in self.modalities()}
        return {**sample, "label": draw.randint(0, 4, (6, 6)).astype(np.uint8)}
"""

MAPS_NETWORK = """
import gin
import torch
from torch import nn


@gin.configurable
class Pixelwise(nn.Module):
    def __init__(self, inputs, num_outputs):
        super().__init__()
        channels = sum(shape[0] for shape in inputs.values())
        self.hidden1 = nn.Conv2d(channels, 4, 3, padding=1)
        self.hidden2 = nn.Conv2d(4, 6, 3, padding=1)
        self.fusion = nn.Identity()
        self.classifier = nn.Conv2d(6, num_outputs, 1)

    def forward(self, *inputs):
        joint = inputs[0] if len(inputs) == 1 else torch.cat(inputs, 1)
        hidden = self.hidden2(self.hidden1(joint).relu())
        return self.classifier(self.fusion(hidden.relu()))
"""


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gin file of the graph of two modalities, in which every pixel has a label."""
    folder = tmp_path_factory.mktemp("maps")
    (folder / "maps.py").write_text(MAPS_RECIPE)
    (folder / "maps_network.py").write_text(MAPS_NETWORK)
    build(load_recipe(folder / "maps.py"), folder / "store")
    data = {"recipe": folder / "maps.py", "store": folder / "store"}
    text = "import maps_network\n" + "".join(f"data.{k} = '{v}'\n" for k, v in data.items())
    text += "data.batch_size = 5\nMember.network = @Pixelwise\nMaskNet.heads = 2\n"
    path = folder / "maps.gin"
    path.write_text(text + TWO.replace("@FusedMLP", "@Pixelwise") + ROLES)
    return path


def call(command: str, *arguments: str | Path, bindings: tuple[str, ...] = ()) -> Result:
    """Run a command in this process."""
    given = [str(argument) for argument in arguments]
    options = [part for binding in bindings for part in ("-p", binding)]
    return CliRunner().invoke(main, [command, *given, *options])


def run(*files: Path, out: Path, bindings: tuple[str, ...] = SHORT) -> dict[str, Any]:
    """Run gin files with few epochs by the command line; return the summary."""
    result = call("run", *files, "--device", "cpu", "--out", out, bindings=bindings)
    assert result.exit_code == 0, result.output
    return json.loads((out / "summary.json").read_text())


def file_of(name: str) -> Path:
    """The gin file of a method."""
    return ROOT / f"gin/methods/{name}.gin"


def check_summary(summary: dict[str, Any], name: str, plan: Any) -> None:
    """A run has all stages, its student, and each teacher with metrics of its own."""
    assert [stage["name"] for stage in summary["stages"]] == list(plan.stages)
    student = summary["students"]["rgb"]
    alone = {"stage", "alone", "epochs"}
    assert set(student) == (alone if name == "none" else {*alone, "distilled", "gain", "certainty"})
    assert student["stage"] == plan.last["rgb"]
    for row in summary["teachers"]:
        assert all(np.isfinite(value) for value in row["metrics"].values())
    specialised = [teacher.name for teacher in plan.teachers.get("rgb", ()) if teacher.point]
    assert [row["name"] for row in summary["teachers"] if "j" in row] == specialised


@pytest.mark.parametrize("name", METHODS)
def test_every_method_is_shown_and_runs(name: str, write_gin: WriteGin, tmp_path: Path) -> None:
    """By its file on top of a student's: text, data and pictures of the plan, then a run."""
    files = (write_gin(TWO + ROLES), file_of(name))
    plan = open_experiment(files, SHORT).plan
    shown = {
        option: call("show", *files, *filter(None, [option]), bindings=SHORT).stdout
        for option in ("", "--json", "--dot", "--mermaid")
    }
    document = json.loads(shown["--json"])
    assert [stage["name"] for stage in document["stages"]] == list(plan.stages)
    assert all(stage in shown[""] for stage in plan.stages)
    for text in shown.values():
        assert all(member in text for member in plan.graph.members)
    check_summary(run(*files, out=tmp_path / "run"), name, plan)
    assert (tmp_path / "run/student-rgb.safetensors").exists()


def test_every_method_is_tried_on_maps() -> None:
    """A new file has to say which of the two it is."""
    assert sorted((*DENSE, *ONE_LABEL)) == list(METHODS)


@pytest.mark.parametrize("name", DENSE)
def test_methods_for_labels_per_pixel_run(name: str, maps: Path, tmp_path: Path) -> None:
    """On maps, some pixels of which are not labelled."""
    summary = run(maps, file_of(name), out=tmp_path / "run")
    check_summary(summary, name, open_experiment((maps, file_of(name)), SHORT).plan)
    assert summary["primary"] == "mIoU"


@pytest.mark.parametrize("name", ONE_LABEL)
def test_methods_for_labels_per_sample_refuse_maps_in_a_sentence(name: str, maps: Path) -> None:
    """With the line of the loss, before anything runs."""
    file = file_of(name)
    lines = file.read_text().splitlines()
    line = lines.index(f"Member.loss = @{ONE_LABEL[name]}()") + 1
    with pytest.raises(UserError) as caught:
        open_experiment((maps, file))
    assert str(caught.value) == (
        f"{file}:{line}: the loss {ONE_LABEL[name]} of member 'fused' compares samples that have "
        "one label each, but here every pixel has one; expected a loss for dense prediction, such "
        "as KL, FitNets or C2KD"
    )


# A method of a user's own: this one file, and the block under it.
OWN_LOSS = """
from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import gin
from torch import Tensor, nn

from mstgraph.methods.loss import Edge, EdgeLoss, EdgeShapes


@gin.configurable
@dataclass(frozen=True)
class {name}(EdgeLoss):
    reads: ClassVar[tuple[str, ...]] = ("penultimate",)
    hinted: ClassVar[bool] = {hinted}
    trains_teacher: ClassVar[bool] = {trains_teacher}

    weight: float = 1.0

    def adapter(self, shapes: EdgeShapes) -> nn.Module:
        (student,), (teacher,) = shapes.student["penultimate"], shapes.teacher["penultimate"]
        return nn.Sequential(nn.Linear(student[0], teacher[0]), nn.BatchNorm1d(teacher[0]))

    def edge(self, edge: Edge) -> Tensor:
        if self.hinted:
            return (edge.student.logits - edge.teacher.logits).square().mean(1)
        return self.hint(edge)

    def hint(self, edge: Edge) -> Tensor:
        guided = edge.adapter(edge.student.penultimate)
        return self.weight * (guided - edge.teacher.penultimate).square().mean(1)
"""
OWN_BLOCK = """
import {module}

graph.points = 'none'
graph.gate = None
Member.mutual = ()
Member.loss = @{name}()
{name}.weight = 2.0
"""
KINDS = {"Guided": (False, False), "Hinted": (True, False), "Together": (False, True)}


def written(folder: Path, name: str) -> Path:
    """Write a user's method; return its gin file."""
    hinted, trains_teacher = KINDS[name]
    text = OWN_LOSS.format(name=name, hinted=hinted, trains_teacher=trains_teacher)
    (folder / f"own_{name.lower()}.py").write_text(text)
    path = folder / "own.gin"
    path.write_text(OWN_BLOCK.format(module=f"own_{name.lower()}", name=name))
    return path


@pytest.mark.parametrize("name", KINDS)
def test_a_method_is_one_file_and_one_block(
    name: str, write_gin: WriteGin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss that reads features and trains something runs, in the stages that it asks for."""
    hinted, trains_teacher = KINDS[name]
    files = (write_gin(TWO + ROLES), written(tmp_path, name))
    out = tmp_path / "run"
    summary = run(*files, out=out)
    own = "hint-rgb" if hinted else "distill-rgb"
    middle = ["hint-rgb", "distill-rgb"] if hinted else ["distill-rgb"]
    expected = ["pretrain-fused", "pretrain-depth", *middle, "alone-rgb"]
    assert [stage["name"] for stage in summary["stages"]] == expected

    experiment = open_experiment(files, SHORT)
    for member in ("fused", "depth"):
        adapter = f"adapter.rgb.{member}"
        trained = load_file(out / f"stages/{own}/{adapter}.safetensors")
        initial = experiment.parts.build(Part("adapter", member, "", "rgb"), "cpu").state_dict()
        assert not torch.equal(trained["0.weight"], initial["0.weight"]), "parameters learn"
        assert not torch.equal(trained["1.running_mean"], initial["1.running_mean"]), "buffers too"
        assert (out / f"stages/distill-rgb/{member}.safetensors").exists() == trains_teacher
    records = (out / f"stages/{own}/metrics.jsonl").read_text().splitlines()
    terms = json.loads(records[0])["training"]
    assert set(terms) == ({"hint"} if hinted else {"task", "distill"})
    assert all(np.isfinite(term["value"]) for term in terms.values())

    # What it left stands for itself: nothing is trained again, from wherever it is run.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    run(out / "config.gin", out=out, bindings=())
    stages = {p: t for p, t in before.items() if p.parent != out}
    assert {path: path.stat().st_mtime_ns for path in stages} == stages


def test_a_users_method_is_refused_like_any_other(write_gin: WriteGin, tmp_path: Path) -> None:
    """Layers that are missing, a gate in its way and a misspelt option are named with a line."""
    own = written(tmp_path, "Guided")
    line = own.read_text().splitlines().index("Member.loss = @Guided()") + 1
    cases = {
        (TWO, ()): "member 'fused' names no layer for the role 'penultimate'; write "
        "'fused/Member.penultimate = 'layer'', which the loss Guided of member 'fused' reads",
        (TWO + ROLES, ("graph.gate = @Gate",)): f"{own}:{line}: the loss Guided of member 'fused' "
        "is not made of logits of single samples, so no gate can route it",
        (TWO + ROLES, ("Guided.wieght = 3.0",)): "'Guided' has no parameter 'wieght'; did you mean "
        "'weight'?",
    }
    for (text, bindings), sentence in cases.items():
        with pytest.raises(UserError) as caught:
            open_experiment((write_gin(text), own), bindings)
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)
