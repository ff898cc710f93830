"""The engine's benchmark: both schedules compute the same, and the table comes out whole."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mstgraph.distil.masknet import MaskNet
from mstgraph.run.batch import Batch
from mstgraph.run.networks import Shared
from mstgraph.store.build.builder import build

sys.path.insert(0, str(Path(__file__).parents[2]))

from tools import bench_engine
from tools.engine_bench import measure, peaks
from tools.engine_bench.plain import PlainMaskNet, unfold
from tools.engine_bench.shapes import RandomData, named
from tools.engine_bench.ways import OFF, ON, WAYS, EvenGate, Place, ready

CPU = torch.device("cpu")
TINY = replace(named("mfeat"), samples=24, batch=8, gin="MaskNet.hidden = 6")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A store of the tiny shape."""
    folder = tmp_path_factory.mktemp("bench")
    build(RandomData(TINY), folder / "store")
    return Place(folder / "store", folder / "runs", CPU)


def terms(way, kind, place):
    """Return a group's loss terms on the first batch."""
    trainings = ready(TINY, way, kind, place, (1, 1, 2))
    setting = trainings[0].setting
    for module in setting.networks.modules.values():
        module.eval()
    item = next(iter(setting.training.epoch(TINY.batch)))
    shared = Shared(*item, setting.keeper.kept("train"))
    found = {}
    for training in trainings:
        batch = Batch(training.node, setting.networks, shared, setting.task)
        losses = training.node.settings.losses(training.node, batch, 1)
        found |= {(training.node.name, name): term.value.item() for name, term in losses.items()}
    return found


@pytest.mark.parametrize("kind", ["ci", "sta", "dkd", "alone"])
def test_all_ways_compute_the_same(kind, place):
    """From the same weights, on the same batch, the losses agree in all ways."""
    expected = terms(OFF, kind, place)
    assert all(value > 0 for value in expected.values())
    for way in WAYS:
        assert terms(way, kind, place) == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_precision_holds_in_all_ways(place):
    """In bfloat16 the losses are others, in each way by about as much as bfloat16 rounds."""
    narrow = replace(place, precision="bf16")
    for way in WAYS:
        found, exact = terms(way, "sta", narrow), terms(way, "sta", place)
        assert found != exact
        assert found == pytest.approx(exact, rel=0.05)


def test_plain_masknet_is_the_same_function():
    """Unfolded, a MaskNet returns what it returned before."""
    torch.manual_seed(0)
    masknet, z = MaskNet((12,)), torch.randn(5, 12)
    before = masknet(z)
    unfold([masknet])
    assert isinstance(masknet, PlainMaskNet)
    torch.testing.assert_close(masknet(z), before)


def test_the_gate_is_even():
    """Each teacher is chosen equally often, whatever the gate has learned."""
    gate = EvenGate(10, 4, dense=False)
    chosen = gate(5 * torch.randn(32, 10)).argmax(1)
    assert chosen.bincount().tolist() == [8, 8, 8, 8]


def test_whole_table():
    """Every quantity is there for its ways, and the printed table names them all."""
    table = bench_engine.bench(TINY, CPU, "fp32", 1, memory=False, run=True)
    assert table["STA step"].keys() == set(WAYS)
    assert table["DKD step"].keys() == set(WAYS)
    assert table["run, 1/1/100, really"].keys() == {OFF, ON}
    assert all(value > 0 for by_way in table.values() for value in by_way.values())
    shown = bench_engine.show("tiny", table)
    assert all(quantity in shown for quantity in table)
    assert "off ÷ on" in shown
    json.dumps(table)


def test_epochs_alone():
    """What DKD's epochs cost against the student's is to be had by itself."""
    table = bench_engine.bench(TINY, CPU, "fp32", 1, memory=False, run=False, epochs=True)
    assert set(table) == {"DKD epoch, validated", measure.PLAIN_EPOCH}
    assert "DKD epoch ÷ student's plain epoch" in bench_engine.show("tiny", table)


def test_runs_are_the_sum_of_their_parts():
    """A composed run is filling once, and each stage's step times batches times epochs."""
    found = {
        "CI step": {OFF: 2.0, ON: 1.0},
        "STA step": {OFF: 5.0, ON: 3.0},
        "STA step, 100 epochs": {ON: 2.5},
        "DKD step": {OFF: 7.0, ON: 0.5},
        "filling, DKD": {ON: 11.0},
        "filling, STA 100 epochs": {ON: 13.0},
    }
    once = measure.composed(found, 10, (1, 1, 100))
    assert once == {OFF: 20 + 50 + 7000, ON: 10 + 30 + 11 + 500}
    often = measure.composed(found, 10, (100, 100, 100))
    assert often == {OFF: 2000 + 5000 + 7000, ON: 1000 + 2500 + 13 + 11 + 500}


def test_peak_of_the_plain_schedule_is_higher(place):
    """A large plain MaskNet step needs more memory than the folded one."""
    larger = replace(TINY, gin="", batch=24)
    plain, folded = (peaks.peak(larger, way, "sta", place) for way in (OFF, ON))
    assert plain > folded > 0
