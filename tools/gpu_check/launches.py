"""Whether a step waits for the program to launch its kernels, and what a CUDA graph would gain.

The engine has no setting for graphs: what is measured here says whether one would be worth it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from mstgraph.networks.avmnist import LeNet5
from mstgraph.store.build.builder import build
from tools.engine_bench.measure import ALONE, MANY
from tools.engine_bench.shapes import RandomData
from tools.engine_bench.ways import ON, finished, ready, step_seconds
from tools.gpu_check.finding import Bench, Finding
from tools.gpu_check.released import CLASSES, SHAPES

STEPS = 5


def launches(bench: Bench) -> Iterator[Finding]:
    """Yield the kernels of a step, and the share of its time in which they run."""
    shape = bench.digits if bench.small else bench.avmnist
    place = bench.place(shape)
    build(RandomData(shape), place.store)
    for kind in ("dkd", ALONE):
        passes = step_seconds(ready(shape, ON, kind, place, (1, 1, MANY)))
        seconds = statistics.median(islice(passes, 1, 1 + STEPS))
        count, busy = _kernels(passes.__next__, bench.device)
        share = f", running {busy / seconds:.0%} of {1000 * seconds:.3g} ms" if busy else ""
        what = "kernels" if bench.device.type == "cuda" else "operations"
        yield Finding(f"{kind} step, batch {shape.batch}: {what}", f"{count}{share}")
    if bench.device.type == "cuda":
        yield _graphed(bench, shape.batch)


def _kernels(step: Callable[[], object], device: torch.device) -> tuple[int, float]:
    """Return how many kernels a step has and their seconds; of a CPU its operations, and 0."""
    on_gpu = device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
    with profile(activities=activities) as profiled:
        step()
    if not on_gpu:
        return len([e for e in profiled.events() if e.name.startswith("aten::")]), 0.0
    kernels = [e for e in profiled.events() if e.device_type == DeviceType.CUDA]
    return len(kernels), sum(e.time_range.elapsed_us() for e in kernels) / 1e6


def _graphed(bench: Bench, batch: int) -> Finding:
    """Return the student's forward and backward pass, eager ÷ as a CUDA graph."""
    eager, captured = (_student(bench.device) for _ in range(2))
    images = torch.randn(batch, *SHAPES["image"], device=bench.device)
    labels = torch.randint(CLASSES, (batch,), device=bench.device)
    graphed = torch.cuda.make_graphed_callables(captured, (images,))
    plain, fast = (_pass_seconds(each, images, labels) for each in (eager, graphed))
    figure = f"{1000 * plain:.3g} ms ÷ {1000 * fast:.3g} ms = {plain / fast:.2f}"
    return Finding(f"student's pass, batch {batch}: eager ÷ CUDA graph", figure)


def _student(device: torch.device) -> LeNet5:
    return LeNet5({"image": SHAPES["image"]}, CLASSES).to(device)


def _pass_seconds(network: Callable[..., Any], images: Tensor, labels: Tensor) -> float:
    seconds = []
    for _ in range(2 + 4 * STEPS):
        started = finished(images.device)
        F.cross_entropy(network(images), labels).backward()
        seconds.append(finished(images.device) - started)
    return statistics.median(seconds[2:])
