"""Whatever stops a run, the same command comes to the same bits as one that was left alone."""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import os
import random
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
import training_worlds as small
from tiny_graphs import SHORT
from torch import Tensor

from mstgraph.report.progress import ConsoleReporter
from mstgraph.run import train
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.run.execute import Execution
from mstgraph.stages.stage import StageNode
from mstgraph.support.errors import RunError, UserError
from mstgraph.support.interrupt import Interrupted

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("workspace")

DISK = ("engine.memory_gigabytes = 0", "engine.disk_gigabytes = 1")
EPOCHS = ("CI.epochs = 3", "STA.epochs = 3", "DKD.epochs = 3")


def load_tool() -> ModuleType:
    """Return tools/check_resume.py as a module."""
    path = small.ROOT / "tools/check_resume.py"
    spec = importlib.util.spec_from_file_location("check_resume", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = load_tool()


class Killed(BaseException):
    """Stands for a kill: nobody catches it, nothing is written because of it."""


class Stopping(ConsoleReporter):
    """Does something in the middle of a stage: after a batch of an epoch."""

    def __init__(self, experiment: Any, stage: str, epoch: int, batch: int):
        quiet = small.quiet(experiment, "unused").reporter
        super().__init__(quiet.console, experiment.task, "")
        self.where = (stage, epoch, batch)
        self.act: Callable[[], None] = lambda: None

    def batch_done(
        self, node: StageNode, epoch: int, batch: int, sums: Mapping[str, Tensor]
    ) -> None:
        """Act, if this is the place."""
        if (node.name, epoch, batch) == self.where:
            self.act()


def stop(experiment: Any, folder: str, place: tuple[str, int, int], *, kill: bool) -> None:
    """Run until a place, and stop there: by a kill, or by a request."""
    reporter = Stopping(experiment, *place)
    execution = Execution(experiment, RunFolder(Path(folder)), torch.device("cpu"), reporter)

    def act() -> None:
        if kill:
            raise Killed
        execution.interrupt.requested = True

    reporter.act = act
    with pytest.raises(Killed if kill else Interrupted):
        execution.run()


def same(one: str, other: str) -> bool:
    """Whether two runs are the same, bit by bit; prints what is not."""
    found = list(TOOL.differences(Path(one), Path(other)))
    print(found)
    return not found


PLACES = [
    ("ci", 2, 3),
    ("sta-zer-fused.hidden1", 3, 5),
    ("dkd-zer", 3, 10),
    ("alone-zer", 1, 1),
]


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, stores: Path) -> str:
    """A run that nobody stopped."""
    path = tmp_path_factory.mktemp("whole")
    for target in (small.ROOT / "gin", small.ROOT / "datasets", stores):
        (path / target.name).symlink_to(target)
    before = Path.cwd()
    os.chdir(path)
    small.run(small.mfeat(*EPOCHS), "run")
    os.chdir(before)
    return str(path / "run")


@pytest.mark.parametrize("place", PLACES, ids=lambda place: f"{place[0]}-{place[1]}-{place[2]}")
@pytest.mark.parametrize("kill", [True, False], ids=["killed", "asked"])
def test_a_stopped_run_comes_to_the_same_bits(
    place: tuple[str, int, int], kill: bool, whole: str
) -> None:
    """In each stage, in the middle of an epoch; asked to stop, it goes on at the next batch."""
    stop(small.mfeat(*EPOCHS), "run", place, kill=kill)
    checkpoint = Path("run/stages", place[0], "checkpoint.pt")
    if not kill:
        state = torch.load(checkpoint, weights_only=True)
        assert (state["epoch"], state["batch"]) == place[1:]
    assert not Path("run/stages", place[0], "artefact.json").exists()
    small.run(small.mfeat(*EPOCHS), "run")
    assert same("run", whole)
    assert not list(Path("run").rglob("*checkpoint*"))


METHOD_PLACES = {
    "crd": [("distill-rgb", 2, 2)],  # memories and constants in buffers
    "fitnets": [("hint-rgb", 2, 2), ("distill-rgb", 2, 1)],
    "c2kd": [("distill-rgb", 2, 2)],  # a teacher that trains, and batch normalisation
    "mgdfr": [("sta-rgb-depth.hidden2", 2, 2), ("distill-rgb", 1, 2)],  # no optimiser
}


@pytest.mark.parametrize("name", METHOD_PLACES)
def test_a_method_stopped_in_its_own_stages_comes_to_the_same_bits(name: str, method: Any) -> None:
    """What a loss keeps between batches is in the checkpoint; killed, then asked to stop."""
    # Random draws inside the loss differ if the generator's state is lost.
    bindings = (*SHORT, "Salience.epochs = 2", "CRD.negatives = 3")
    small.run(method(name, *bindings), "whole")
    for place in METHOD_PLACES[name]:
        for kill in (True, False):
            stop(method(name, *bindings), "run", place, kill=kill)
            assert not Path("run/stages", place[0], "artefact.json").exists()
        state = torch.load(Path("run/stages", place[0], "checkpoint.pt"), weights_only=True)
        assert (state["epoch"], state["batch"]) == place[1:]
    small.run(method(name, *bindings), "run")
    assert same("run", "whole")


def test_a_run_with_few_labels_comes_to_the_same_bits() -> None:
    """Stages over labelled samples alone, over a share of them in each batch, over kept values."""
    few = ("data.labelled = 0.1", "data.labelled_per_batch = 0.5", "CI.samples = 'labelled'")
    bindings = (*few, "graph.alone = False", "STA.epochs = 1", "graph.teachers = 'multimodal'")
    small.run(small.mfeat(*bindings), "whole")
    for place in (("ci", 2, 3), ("dkd-zer", 2, 4)):
        stop(small.mfeat(*bindings), "run", place, kill=False)
    small.run(small.mfeat(*bindings), "run")
    assert same("run", "whole")


def test_a_run_stopped_in_every_stage_with_values_on_disk() -> None:
    """Dropout, batch normalisation and maps; values on disk survive each stop."""
    bindings = (*DISK, *small.ONE_MASK, "graph.alone = False")
    small.run(small.rooms(*bindings), "whole")
    places = [("ci", 1, 2), ("sta-rgb-depth.decoder.stage5", 2, 2), ("dkd-rgb", 2, 1)]
    for number, place in enumerate(places):
        stop(small.rooms(*bindings), "run", place, kill=number == 1)
    small.run(small.rooms(*bindings), "run")
    assert same("run", "whole")


def test_stages_of_a_group_that_stand_at_different_places() -> None:
    """A kill between two checkpoints of a group: each goes on from its own."""
    place = ("sta-zer-fou.hidden1", 3, 2)
    stop(small.mfeat(*EPOCHS), "run", place, kill=True)
    checkpoints = sorted(Path("run").rglob("checkpoint.pt"))
    assert len(checkpoints) == 4
    checkpoints[1].unlink()
    small.run(small.mfeat(*EPOCHS), "run")
    small.run(small.mfeat(*EPOCHS), "whole")
    assert same("run", "whole")


def test_a_stage_that_lags_catches_up_with_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those behind go on until all are at one place; from there the data are read once for all."""
    stop(small.mfeat(*EPOCHS), "run", ("sta-zer-fou.hidden1", 3, 2), kill=True)
    checkpoints = sorted(Path("run").rglob("checkpoint.pt"))
    checkpoints[1].unlink()
    passes: list[tuple[int, int]] = []
    epoch = train.train_epoch

    def counted(group: Any) -> None:
        if group[0].node.kind == "sta":
            passes.append((len(group), group[0].state.epoch))
        epoch(group)

    monkeypatch.setattr(train, "train_epoch", counted)
    small.run(small.mfeat(*EPOCHS), "run")
    sizes, epochs = zip(*passes, strict=True)
    assert epochs == (1, 2, 3)  # of the one that lags, and no pass more
    assert (sizes[0], sizes[-1]) == (1, 4)


DRAWING = """
import random

import gin
import numpy as np
from torch import nn


@gin.configurable
class Drawing(nn.Module):
    def __init__(self, inputs, num_outputs):
        super().__init__()
        (features,) = next(iter(inputs.values()))
        self.hidden1 = nn.Linear(features, 8)
        self.scale = random.uniform(1, 2) + np.random.uniform()
        self.classifier = nn.Linear(8, num_outputs)

    def forward(self, values):
        hidden = self.hidden1(values).relu()
        if self.training:
            hidden = hidden * (random.random() > 0.5) + np.random.normal(0, self.scale)
        return self.classifier(hidden)
"""


def drawing(*bindings: str) -> Any:
    """Return the experiment over digits with networks that draw from Python and numpy."""
    Path("drawing.py").write_text(DRAWING)
    Path("drawing.gin").write_text(
        "import drawing\nzer/Member.network = @Drawing\nfou/Member.network = @Drawing\n"
        "fou/Member.masks = ('hidden1',)\n"
    )
    return small.open_experiment(
        ["gin/mfeat_zer.gin", "drawing.gin"], [*small.MFEAT, "CI.epochs = 3", *bindings]
    )


def test_what_is_random_in_python_and_numpy_comes_to_the_same_bits() -> None:
    """As torch's own generator: whatever the process drew before, and wherever it was stopped."""
    small.run(drawing(), "whole")
    random.seed(1)
    np.random.seed(1)
    stop(drawing(), "run", ("ci", 2, 3), kill=False)
    stop(drawing(), "run", ("dkd-zer", 2, 1), kill=True)
    small.run(drawing(), "run")
    assert same("run", "whole")


@pytest.mark.parametrize("damage", ["cut", "bit"])
def test_a_damaged_checkpoint_starts_its_stage_over(
    damage: str, whole: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With a note, and to the same bits; never with half a state or a turned bit."""
    stop(small.mfeat(*EPOCHS), "run", ("dkd-zer", 2, 2), kill=False)
    path = Path("run/stages/dkd-zer/checkpoint.pt")
    content = bytearray(path.read_bytes())
    if damage == "bit":
        content[len(content) // 2] ^= 1
    path.write_bytes(content[: len(content) // 2] if damage == "cut" else content)
    small.run(small.mfeat(*EPOCHS), "run")
    assert "checkpoint.pt' is damaged; its stage starts over" in caplog.text
    assert same("run", whole)


@pytest.mark.parametrize("damage", ["bit", "gone"])
def test_damaged_weights_are_refused(damage: str) -> None:
    """By the stage that needs them, in one sentence that names the file and the way out."""
    stop(small.mfeat(), "run", ("sta-zer-fou.hidden1", 1, 1), kill=True)
    path = Path("run/stages/ci/fou.safetensors")
    content = bytearray(path.read_bytes())
    content[-5] ^= 64
    path.write_bytes(content)
    if damage == "gone":
        path.unlink()
    with pytest.raises(UserError, match=r"run/stages/ci/fou.safetensors' cannot be used .*remove"):
        small.run(small.mfeat(), "run")


# --- real processes ----------------------------------------------------------------------------

LONG = ("CI.epochs = 10", "STA.epochs = 6", "DKD.epochs = 12")


def child(arguments: list[str], file_size: int | None) -> None:
    """Be `mstgraph`, with everything it says in the file ``said``."""
    said = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    sys.stdout = sys.stderr = open(1, "w", closefd=False)  # noqa: SIM115
    torch.set_num_threads(1)
    if file_size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    from mstgraph.cli import main

    sys.argv = ["mstgraph", *arguments]
    main()


def begin(out: str, *bindings: str, file_size: int | None = None) -> Any:
    """Start ``mstgraph run`` in a process of its own, forked from one that has imported torch."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mstgraph.run.execute", "mstgraph.cli", "training_worlds"])
    arguments = ["run", "gin/mfeat_zer.gin", "--device", "cpu", "--out", out]
    for binding in (*small.MFEAT, *bindings):
        arguments += ["-p", binding]
    process = context.Process(target=child, args=(arguments, file_size))
    process.start()
    return process


def finish(process: Any) -> tuple[int, str]:
    """Wait for the end; return the exit code and what was said."""
    process.join(60)
    return process.exitcode, Path("said").read_text()


def wait_for_epochs(stage: str, count: int, process: Any) -> None:
    """Return as soon as a stage has finished some epochs."""
    path = Path("run/stages", stage, "metrics.jsonl")
    while process.is_alive():
        with suppress(FileNotFoundError):  # not yet, or about to be written anew
            if path.read_text().count("\n") >= count:
                return
        time.sleep(0.001)
    pytest.fail(f"stage {stage} was over before it could be stopped: {Path('said').read_text()}")


def test_a_process_killed_in_every_stage_comes_to_the_same_bits() -> None:
    """Kill -9, four times, each in the middle of another stage."""
    small.run(small.mfeat(*LONG), "whole")
    for stage in ("ci", "sta-zer-fou.hidden2", "dkd-zer", "alone-zer"):
        process = begin("run", *LONG)
        wait_for_epochs(stage, 3, process)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        assert not Path("run/stages", stage, "artefact.json").exists()
        assert Path("run/stages", stage, "checkpoint.pt").exists()
    code, said = finish(begin("run", *LONG))
    assert code == 0, said
    assert same("run", "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_with_one_sentence_and_exit_code_130(number: int) -> None:
    """And the same command continues in the stage that is named."""
    process = begin("run", *LONG)
    wait_for_epochs("ci", 3, process)
    os.kill(process.pid, number)
    code, said = finish(process)
    assert code == 130
    assert (
        said.splitlines()[-1] == "mstgraph: stopped in stage ci; the same command continues there"
    )
    assert "Traceback" not in said
    epochs = Path("run/stages/ci/metrics.jsonl").read_text().count("\n")
    process = begin("run", *LONG)
    wait_for_epochs("ci", epochs + 1, process)
    second = json.loads(Path("run/stages/ci/metrics.jsonl").read_text().splitlines()[0])
    assert second["epoch"] == 1
    assert finish(process)[0] == 0


@pytest.mark.parametrize("size", [30_000, 200_000])
def test_a_full_disk_is_one_sentence_and_the_same_command_completes(size: int) -> None:
    """Whatever is being written: weights or a checkpoint."""
    code, said = finish(begin("run", *EPOCHS, *DISK, file_size=size))
    assert code == 2, said
    last = said.splitlines()[-1]
    assert last.startswith("mstgraph: no space is left to write 'run"), said
    assert "Traceback" not in said
    assert not list(Path("run").rglob("*.partial"))
    code, said = finish(begin("run", *EPOCHS, *DISK))
    assert code == 0, said


def test_two_processes_never_run_in_one_folder() -> None:
    """The second one is refused in a sentence and changes nothing."""
    process = begin("run", *LONG)
    wait_for_epochs("ci", 1, process)
    with pytest.raises(UserError, match="another process is running in 'run'; wait for it"):
        small.run(small.mfeat(*LONG), "run")
    process.kill()
    process.join()


def test_a_loss_that_is_no_number_names_stage_and_epoch() -> None:
    """A failed run, not a fault of the input; nothing of it is taken for finished."""
    experiment = small.mfeat("CI.learning_rate = 1e30")
    with pytest.raises(RunError, match=r"stage ci: .* in epoch \d; try a smaller CI.learning_rate"):
        small.run(experiment, "run")
    assert not Path("run/stages/ci/artefact.json").exists()
    code, said = finish(begin("run", "CI.learning_rate = 1e30"))
    assert code == 1
    assert said.splitlines()[-1].startswith("mstgraph: stage ci: the ")


def test_the_tool_finds_a_single_bit(whole: str) -> None:
    """What checks the others must not be blind."""
    small.run(small.mfeat(*EPOCHS), "run")
    assert same("run", whole)
    path = Path("run/stages/dkd-zer/zer.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert not same("run", whole)
    assert TOOL.place(Path("run")) == "between stages"
