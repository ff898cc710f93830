"""Every gin file of the project loads, is shown, and trains."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import training_worlds as small
from click.testing import CliRunner

from mstgraph.cli import main
from mstgraph.derive.opening import open_experiment
from mstgraph.derive.plan import Plan
from mstgraph.store.build.builder import build
from mstgraph.store.recipe import Labels, Modality, Recipe

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("workspace")

FILES = sorted(path.name for path in (small.ROOT / "gin").glob("*.gin"))
SHORT = tuple(f"{stage}.epochs = 1" for stage in ("CI", "STA", "DKD", "Distill", "Pretrain"))
MAPS = (
    "data.options = {'samples': 20, 'size': (32, 32)}",
    "data.batch_size = 6",  # two batches
    "FuseNet.width = 0.03125",
    "FuseNetBranch.width = 0.03125",
    "MaskNet.heads = 2",
    *SHORT,
)
GESTURES = (
    "data.batch_size = 150",  # two batches
    "Sequence1d.channels = (4, 4, 4)",
    "Sequence1d.hidden = 12",
    "FusedSequence1d.channels = (4, 4, 4)",
    "FusedSequence1d.branch = 4",
    "FusedSequence1d.hidden = 12",
    *SHORT,
)
VECTORS = (
    "data.batch_size = 600",  # two batches
    "MLP.hidden = (12, 12)",
    "FusedMLP.branch = (12,)",
    "FusedMLP.hidden = (12, 12)",
    *SHORT,
)


@dataclass
class StandIn(Recipe):
    """Random numbers in the shapes of a data set whose raw data is not here."""

    shapes: dict[str, tuple[int, ...]]
    classes: int

    title = "stand-in"
    source = "drawn at random"
    licence = "none"
    synthetic = "random numbers"

    def modalities(self) -> tuple[Modality, ...]:
        """Return the modalities, as float32."""
        return tuple(Modality(name, "float32", shape) for name, shape in self.shapes.items())

    def labels(self) -> Labels:
        """Return one label per sample."""
        return Labels("classification", tuple(f"class {c}" for c in range(self.classes)))

    def __len__(self) -> int:
        """Return enough for two batches of twelve."""
        return 40

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        """Return a sample that depends on its index alone."""
        draw = np.random.RandomState(index)
        values = {n: draw.rand(*s).astype(np.float32) for n, s in self.shapes.items()}
        return {**values, "label": np.array(index % self.classes)}


STAND_INS = {
    "avmnist": StandIn({"image": (1, 28, 28), "audio": (1, 112, 112)}, 10),
    "crisismmd": StandIn({"image": (2048,), "text": (768,)}, 8),
    "ravdess": StandIn({"visual": (3, 8, 32, 32), "audio": (15, 156)}, 8),
    "vggsound": StandIn({"visual": (32, 10, 7, 7), "audio": (10, 128)}, 8),
}
STOOD_IN = (
    "data.store = 'stood-in'",
    "data.recipe = 'stand_in.py'",
    "data.batch_size = 12",
    "MaskNet.factor = 21",
    *SHORT,
)
AVDIGITS = (
    "data.raw = 'random_values.npz'",
    "data.batch_size = 12",
    "data.store = 'prepared'",
    "MaskNet.factor = 21",
    *SHORT,
)


def write_avdigits(path: Path) -> None:
    """Write a tiny file in AV-Digits' true format: random values, labelled so by its name alone."""
    draw = np.random.RandomState(0)
    sides = {"image": 28, "audio": 56}
    maps = {n: draw.randint(0, 256, (40, 1, s, s)).astype(np.uint8) for n, s in sides.items()}
    np.savez(path, **maps, label=np.arange(40) % 10, split=np.repeat([0, 1, 2], [24, 8, 8]))


def shrunk(name: str) -> tuple[str, ...]:
    """Return bindings that make a file's run a matter of a second; build its data if need be."""
    data = name.split("_")[0]
    if data == "nyudepth":
        return MAPS
    if data == "mfeat":
        return VECTORS
    if data == "imu":
        return GESTURES
    if data == "avdigits":
        write_avdigits(Path("random_values.npz"))
        return AVDIGITS
    assert data in STAND_INS, f"add shapes that stand in for the data set '{data}'"
    build(STAND_INS[data], Path("stood-in"))
    return (*STOOD_IN, *VECTORS[1:4], "MaskNet.factor = 2") if data == "crisismmd" else STOOD_IN


def synthetic_of(name: str) -> str:
    """Return what must be said of the data that a file's run sees here."""
    known = {"nyudepth": "synthetic rooms", "mfeat": "", "imu": "", "avdigits": ""}
    return known.get(name.split("_")[0], StandIn.synthetic)


@pytest.mark.parametrize("name", FILES)
def test_every_gin_file_is_shown_and_runs(name: str) -> None:
    """`show` and `run` of the command line; NYU-Depth-V2's files run on the demonstration."""
    runner = CliRunner()
    bindings = [part for binding in shrunk(name) for part in ("-p", binding)]
    shown = runner.invoke(main, ["show", f"gin/{name}", *bindings, "--json"])
    assert shown.exit_code == 0, shown.output
    stages = [stage["name"] for stage in json.loads(shown.stdout)["stages"]]
    ran = runner.invoke(main, ["run", f"gin/{name}", *bindings, "--device", "cpu", "--out", "run"])
    assert ran.exit_code == 0, ran.output
    summary = json.loads(Path("run/summary.json").read_text())
    assert [stage["name"] for stage in summary["stages"]] == stages
    synthetic = synthetic_of(name)
    assert summary["data"]["synthetic"] == synthetic
    assert synthetic in ran.output
    for student in summary["students"].values():
        assert {"stage", "distilled", "alone", "gain", "certainty", "epochs"} == set(student)


def test_all_gin_files_are_found() -> None:
    """The test above must not pass for want of files."""
    assert {"mfeat_zer.gin", "nyudepth_rgb.gin", "nyudepth_rgb_normals.gin"} <= set(FILES)


def plan_of(student: str, method: str) -> Plan:
    """The plan of a student's file and a method's."""
    files = [small.ROOT / "gin" / student, small.ROOT / "gin" / "methods" / method]
    return open_experiment(files, shrunk(student)).plan


def test_mutual_learning_trains_as_the_last_stage_of_other_methods() -> None:
    """Its only stage takes the data set's rate for students, not that of an initialisation."""
    build(STAND_INS["crisismmd"], Path("stood-in"))
    for method, stage in (("dml.gin", "ci"), ("kd.gin", "distill-image"), ("mst.gin", "dkd-image")):
        assert plan_of("crisismmd_image.gin", method).stages[stage].settings.learning_rate == 5e-3
    assert plan_of("crisismmd_image.gin", "mst.gin").stages["ci"].settings.learning_rate == 1e-4


def test_features_are_selected_where_the_reference_does_on_maps() -> None:
    """At the end of the encoder on NYU-Depth-V2, where C²KD's proxies sit near the end."""
    (teacher,) = plan_of("nyudepth_rgb.gin", "mgdfr.gin").teachers["rgb"]
    assert (teacher.member, teacher.point) == ("depth", "encoder.stage5")
