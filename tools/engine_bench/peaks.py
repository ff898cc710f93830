"""Peak memory of a step above what the set-up takes, each in a process of its own."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
from pathlib import Path

import torch

from mstgraph.support.peak import peak_memory, reset_peak
from tools.engine_bench.measure import MANY, warm
from tools.engine_bench.shapes import Shape
from tools.engine_bench.ways import Place, ready

STEPS = 2  # the first makes the optimiser's state


def peak(shape: Shape, way: str, kind: str, place: Place) -> float:
    """Return the megabytes that a stage's steps take above networks, data and kept values."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak, (shape, way, kind, place, torch.get_num_threads()))


def _peak(shape: Shape, way: str, kind: str, place: Place, threads: int) -> float:
    torch.set_num_threads(threads)
    trainings = ready(shape, way, kind, place, (1, 1, MANY))
    trainings[0].setting.keeper.kept("train")
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what is free already must not hide a peak
    reset_peak(place.device)
    before = _used(place.device)
    warm(trainings, STEPS)
    return (peak_memory(place.device) - before) / 1e6


def _used(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * ctypes.CDLL("libc.so.6").getpagesize()
