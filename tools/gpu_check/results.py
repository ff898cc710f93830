"""Whether a device comes to what the CPU comes to, twice to the same bits, and after a stop."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.run.execute import Execution
from mstgraph.run.reporter import Silent
from mstgraph.stages.stage import StageNode
from mstgraph.store.build.builder import build
from mstgraph.support.interrupt import Interrupted
from tools.check_resume import differences
from tools.engine_bench.shapes import RandomData, Shape
from tools.engine_bench.ways import ON, Place, execution, opened
from tools.gpu_check.finding import Bench, Finding

TOLERANCES = {"fp32": 2e-3, "tf32": 2e-2, "bf16": 0.15}
FLOOR = 0.1  # nats: smaller losses are compared by their distance
EPOCHS = (1, 1, 2)
STOPS = (5, 9)  # batches of a session before it is asked to stop

Losses = Mapping[tuple[str, int, str], float]


def results(bench: Bench) -> Iterator[Finding]:
    """Yield how far the losses of each stage are from those of the CPU, in each precision."""
    for shape in _shapes(bench):
        place = bench.place(shape)
        build(RandomData(shape), place.store)
        first = trained(shape, bench.place(shape, device="cpu"), "cpu")
        expected = losses(first)
        for precision in ("bf16",) if bench.small else TOLERANCES:
            folder = trained(shape, bench.place(shape, precision), precision)
            first = folder if precision == "fp32" else first
            tolerance = TOLERANCES[precision]
            for stage, distance in distances(losses(folder), expected).items():
                what = f"{shape.name}, {stage}: {precision} against the CPU"
                yield Finding(what, f"{distance:.1e} of {tolerance:g}", distance <= tolerance)
        yield _same(f"{shape.name}: fp32 once more", first, trained(shape, place, "again"))


def resume(bench: Bench) -> Iterator[Finding]:
    """Yield whether a run that was stopped on the device ends with the bits of one that was not."""
    shape = bench.digits
    place = bench.place(shape)
    build(RandomData(shape), place.store)
    whole = trained(shape, place, "whole")
    stops = STOPS[:1] if bench.small else STOPS
    for batches in (*stops, 0):
        run = _execution(shape, place, "stopped")
        run.reporter = _Stopping(run, batches)
        try:
            run.run()
        except Interrupted:
            continue
        if batches:
            yield Finding(f"a stop after {batches} batches", "the run did not stop", False)
            return
    yield _same(f"stopped after {' and '.join(map(str, stops))} batches", whole, run.folder.path)


def trained(shape: Shape, place: Place, name: str) -> Path:
    """Run all stages of a shape and return the run's folder."""
    run = _execution(shape, place, name)
    run.run()
    return run.folder.path


def losses(folder: Path) -> Losses:
    """Return (stage, epoch, term) → its mean, from a run's records."""
    found: dict[tuple[str, int, str], float] = {}
    for path in sorted(folder.rglob("metrics.jsonl")):
        for record in map(json.loads, path.read_text().splitlines()):
            place = path.parent.name, record["epoch"]
            found |= {(*place, name): term["value"] for name, term in record["training"].items()}
            found[(*place, "validation")] = record["validation"]["loss"]
    return found


def distances(found: Losses, expected: Losses) -> dict[str, float]:
    """Return stage → largest |a − b| / (|b| + `FLOOR`) of its losses; inf where one is missing."""
    result: dict[str, float] = {}
    for key in expected.keys() | found.keys():
        distance = float("inf")
        if key in expected and key in found:
            distance = abs(found[key] - expected[key]) / (abs(expected[key]) + FLOOR)
        distance = distance if distance == distance else float("inf")  # nan is no result
        result[key[0]] = max(result.get(key[0], 0.0), distance)
    return dict(sorted(result.items()))


def _shapes(bench: Bench) -> list[Shape]:
    """Return shapes that have every stage between them; of a CPU the stages of MST-Distill."""
    if bench.small:
        return [bench.digits]
    epochs = "".join(f"{kind}.epochs = 1\n" for kind in ("Pretrain", "Hint", "Distill"))
    digits = bench.digits
    files = (*digits.files, "gin/methods/fitnets.gin")
    fitnets = replace(digits, name="fitnets", files=files, gin=epochs)
    tiny = f"{bench.avmnist.gin}MaskNet.hidden = 30\n"
    return [digits, fitnets, replace(bench.avmnist, name="av", gin=tiny, samples=64, batch=16)]


def _execution(shape: Shape, place: Place, name: str) -> Execution:
    folder = RunFolder(place.folder / shape.name / name)
    return execution(opened(shape, ON, place, EPOCHS), ON, folder, place.device)


def _same(what: str, one: Path, other: Path) -> Finding:
    found = list(differences(one, other))
    return Finding(what, found[0] if found else "the same bits", not found)


class _Stopping(Silent):
    """Asks a run to stop after some batches; 0: never."""

    def __init__(self, run: Execution, batches: int):
        self.run = run
        self.left = batches

    def batch_done(
        self, node: StageNode, epoch: int, batch: int, sums: Mapping[str, Tensor]
    ) -> None:
        """Count."""
        self.left -= 1
        if self.left == 0:
            self.run.interrupt.requested = True
