"""The paper's Table 6 on AV-MNIST's shapes: seconds and memory of each stage, ours and plain."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator
from functools import partial

import torch

from mstgraph.store.build.builder import build
from mstgraph.support.peak import peak_memory, reset_peak
from tools.engine_bench.measure import MANY, filling
from tools.engine_bench.shapes import RandomData
from tools.engine_bench.ways import ON, UNCACHED, Place, finished, ready, step_seconds
from tools.gpu_check.finding import Bench, Finding
from tools.gpu_check.released import Released

KINDS = ("ci", "sta", "dkd")
WARM, STEPS = 1, 5


def table6(bench: Bench) -> Iterator[Finding]:
    """Yield seconds of an epoch of AV-MNIST's 42,000 samples, and the peak, by stage and way."""
    shape = bench.avmnist
    steps, batches = 1 if bench.small else STEPS, -(-shape.real // shape.batch)
    place = bench.place(shape)
    build(RandomData(shape), place.store)
    for way in (ON,) if bench.small else (ON, UNCACHED):
        for kind in KINDS:
            trainings = ready(shape, way, kind, place, (1, 1, MANY))
            kept = filling(trainings) * shape.real / shape.samples if way == ON else 0.0
            passes = step_seconds(trainings)
            figure = _measured(passes.__next__, steps, batches, place)
            filled = f", once {kept:.3g} s to fill" if kept and kind == "dkd" else ""
            yield Finding(f"{kind.upper()}, {way}, batch {shape.batch}", figure + filled)
            del trainings, passes
    masknet = {"hidden": 3} if bench.small else {}
    released = Released(shape.batch, bench.device, masknet)
    for name, step in released.stages():
        figure = _measured(partial(_timed, step, bench.device), steps, batches, place)
        yield Finding(f"{name}, released schedule, batch {shape.batch}", figure)


def _timed(step: Callable[[], None], device: torch.device) -> float:
    started = finished(device)
    step()
    return finished(device) - started


def _measured(step: Callable[[], float], steps: int, batches: int, place: Place) -> str:
    """Return the seconds of an epoch, from the median step, and the peak of memory."""
    gc.collect()
    reset_peak(place.device)
    seconds = [step() for _ in range(WARM + steps)][WARM:]
    peak = peak_memory(place.device) / 1e9
    median = statistics.median(seconds)
    return f"{1000 * median:.3g} ms a step, {batches * median:.3g} s an epoch, {peak:.2f} GB"
