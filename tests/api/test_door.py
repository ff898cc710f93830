"""What the command line does, from Python: every promise of the door."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gin
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file
from tiny_graphs import ROOT

import mstgraph
from mstgraph.cli import main

pytest_plugins = ("training_fixtures",)
pytestmark = pytest.mark.usefixtures("workspace")

SHORT = (
    "data.batch_size = 128",
    "MLP.hidden = (16, 16)",
    "CI.epochs = 1",
    "STA.epochs = 1",
    "DKD.epochs = 2",
    "graph.fused = None",
    "graph.alone = False",
)
FILE = "gin/mfeat_zer.gin"


class Stopper(mstgraph.Silent):
    """Presses Ctrl-C once, in the middle of the second epoch of the last stage."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.pressed = False

    def batch_done(self, node: Any, epoch: int, batch: int, sums: Mapping[str, Any]) -> None:
        """Send the signal that Ctrl-C sends."""
        if not self.pressed and (node.name, epoch, batch) == ("dkd-zer", 2, 1):
            self.pressed = True
            os.kill(os.getpid(), signal.SIGINT)

    def stage_line(self, name: str, artefact: Mapping[str, Any], reused: bool) -> None:
        """Note who was told of."""
        self.lines.append(name)


def test_the_whole_way(capsys: pytest.CaptureFixture[str]) -> None:
    """Load, look, run, summary, history, student, open again; silently."""
    before = dict(gin.config._REGISTRY.items())
    experiment = mstgraph.load(FILE, *SHORT, "DKD.k = 2", "graph.seed = 1")
    assert list(experiment.plan.stages)[-1] == "dkd-zer"
    assert experiment.plan.stages["dkd-zer"].settings.k == 2
    assert experiment.folder == Path("runs/mfeat_zer-seed1")
    run = experiment.run("out", device="cpu", progress=False)
    assert capsys.readouterr().out == ""
    assert dict(gin.config._REGISTRY.items()) == before
    assert run.finished
    assert 0 <= run.summary["students"]["zer"]["distilled"]["OA"] <= 1

    rows = run.history()
    epochs = {name: node.settings.epochs for name, node in experiment.plan.stages.items()}
    assert [(row["stage"], row["epoch"]) for row in rows] == [
        (name, epoch) for name, count in epochs.items() for epoch in range(1, count + 1)
    ]
    assert {"best", "seconds", "training/task/value", "validation/loss"} <= rows[-1].keys()
    assert all(isinstance(value, (str, int, float)) for row in rows for value in row.values())
    assert all(math.isfinite(row["validation/loss"]) for row in rows)

    student = run.student("zer")
    logits = student(torch.zeros(5, 47, dtype=torch.uint8))
    assert logits.shape == (5, len(student.classes))
    again = mstgraph.open_run("out")
    assert torch.equal(again.student()(torch.zeros(5, 47)), logits)
    assert again.summary == run.summary
    assert (
        again.evaluate(device="cpu")["metrics"]["dkd-zer"]["zer"]
        == (run.summary["students"]["zer"]["distilled"])
    )
    assert "zer distilled" in str(run)

    summary = Path("out/summary.json")
    summary.write_text(summary.read_text().replace('"epochs": 2', '"epochs": 3', 1))
    with pytest.raises(mstgraph.UserError, match=r"'out/summary\.json' is damaged"):
        _ = again.summary


def test_ctrl_c_returns_and_the_same_call_continues_bit_for_bit() -> None:
    """As a KeyboardInterrupt, with the state saved; the students are the same to the last bit."""
    experiment = mstgraph.load(FILE, *SHORT)
    stopper, handler = Stopper(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="dkd-zer"):
        experiment.run("stopped", device="cpu", progress=stopper)
    run = mstgraph.open_run("stopped")
    assert not run.finished
    assert run.history()[-1]["stage"] == "dkd-zer"
    with pytest.raises(mstgraph.UserError, match="the run 'stopped' is not finished"):
        _ = run.summary
    assert signal.getsignal(signal.SIGINT) is handler
    experiment.run("stopped", device="cpu", progress=stopper)
    assert stopper.lines[-1] == "dkd-zer"
    whole = mstgraph.load(FILE, *SHORT).run("whole", device="cpu", progress=False)
    one, other = (load_file(f"{name}/student-zer.safetensors") for name in ("stopped", "whole"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    kept = [row["validation/loss"] for row in mstgraph.open_run("stopped").history()]
    assert kept == [row["validation/loss"] for row in whole.history()]


NETWORK = """
import gin
from torch import nn


@gin.configurable
def factor(value=1.0):
    return value


@gin.configurable
class Own(nn.Module):
    def __init__(self, inputs, num_outputs):
        super().__init__()
        (features,) = next(iter(inputs.values()))
        self.layer = nn.Linear(features, num_outputs)

    def forward(self, values):
        return WIDTH * factor() * self.layer(values)
"""
OWN = (
    "import door_network\ninclude 'gin/mfeat_zer.gin'\ninclude 'gin/methods/none.gin'\n"
    "graph.fou = None\ngraph.fused = None\nzer/Member.network = @Own\nfactor.value = 3.0\n"
)
ONCE = ("Pretrain.epochs = 1",)


def own(folder: str, width: int) -> mstgraph.Experiment:
    """Return an experiment whose network is a module of the folder, loaded after its edit."""
    Path(folder).mkdir(exist_ok=True)
    Path(folder, "door_network.py").write_text(NETWORK.replace("WIDTH", str(width)))
    Path(folder, "own.gin").write_text(OWN)
    return mstgraph.load(f"{folder}/own.gin", *ONCE)


def test_two_experiments_with_modules_of_one_name_are_open_at_once() -> None:
    """Each runs its own code under its own bindings, which its student keeps in use."""
    one, two = own("a", 1), own("b", 2)
    runs = [e.run(out, device="cpu", progress=False) for e, out in ((one, "x"), (two, "y"))]
    assert "door_network" not in sys.modules
    values = torch.rand(4, 47)
    for run, width in zip(runs, (1, 2), strict=True):
        student = run.student()
        normalised = torch.addcmul(student.offset, values, student.factor)
        expected = width * 3.0 * student.network.layer(normalised)
        assert torch.equal(student(values), expected)


def test_an_edited_module_is_read_again() -> None:
    """By the next `load`; what was loaded before is not run as if it were the new one."""
    first = own("a", 1)
    second = own("a", 2)
    hashes = [{node.hash for node in e.plan.stages.values()} for e in (first, second)]
    assert hashes[0].isdisjoint(hashes[1])
    with pytest.raises(mstgraph.UserError, match=r"'door_network' .* has changed since"):
        first.run("x", device="cpu", progress=False)
    assert second.run("x", device="cpu", progress=False).finished


def test_printing_shows_what_show_shows(recwarn: pytest.WarningsRecorder) -> None:
    """Letter for letter; what the command line says on standard error is a warning here."""
    shown = CliRunner().invoke(main, ["show", FILE, "-p", "Hint.epochs = 2"])
    experiment = mstgraph.load(FILE, "Hint.epochs = 2")
    assert f"{experiment}\n" == shown.stdout
    (warning,) = recwarn
    assert f"mstgraph: {warning.message}\n" == shown.stderr
    assert warning.filename == __file__


def test_a_missing_store_is_prepared(capsys: pytest.CaptureFixture[str]) -> None:
    """By `prepare`, and by the run of an experiment that was loaded without it."""
    place = "data.store = 'made/mfeat'"
    experiment = mstgraph.load(FILE, *SHORT, place)
    assert "store not prepared yet" in str(experiment)
    store = mstgraph.prepare("datasets/mfeat.py", "made/first", progress=False)
    assert len(store) == 2000
    assert capsys.readouterr().out == ""
    experiment.run("out", device="cpu", progress=True)
    assert "store made/mfeat: " in capsys.readouterr().out
    again = mstgraph.load(FILE, *SHORT, place)
    assert [(n.name, n.hash) for n in again.plan.stages.values()] == [
        (n.name, n.hash) for n in experiment.plan.stages.values()
    ]


def test_a_mistake_is_one_sentence() -> None:
    """The same as on the command line."""
    with pytest.raises(mstgraph.UserError, match="'CI' has no parameter 'epoch'"):
        mstgraph.load(FILE, "CI.epoch = 1")
    with pytest.raises(mstgraph.UserError, match="'gin' is no run: it has no config"):
        mstgraph.open_run("gin")
    with pytest.raises(AttributeError, match="module 'mstgraph' has no attribute 'lod'"):
        _ = mstgraph.lod


def test_importing_costs_little_and_no_torch() -> None:
    """Less than 0.2 s of the processor's time; every public name is there when asked for."""
    code = (
        "import sys, time\nstarted = time.process_time()\nimport mstgraph\n"
        "assert time.process_time() - started < 0.2\n"
        "assert not {'torch', 'gin', 'rich', 'numpy', 'click'} & set(sys.modules)\n"
        "assert set(mstgraph.__all__) == set(dir(mstgraph))\n"
        "for name in mstgraph.__all__:\n    assert getattr(mstgraph, name), name\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_package_says_that_it_is_typed() -> None:
    """Checkers read its annotations only then."""
    assert (ROOT / "mstgraph/py.typed").is_file()
    assert '"py.typed"' in (ROOT / "setup.py").read_text()


def test_python_dash_m_is_the_command_line() -> None:
    """For environments whose scripts are not on the path."""
    done = subprocess.run(
        [sys.executable, "-m", "mstgraph", "--version"], capture_output=True, text=True
    )
    assert done.stdout.startswith("mstgraph, version ")
