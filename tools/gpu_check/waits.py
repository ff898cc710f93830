"""How often the program waits for the device in a batch: never, or a GPU runs dry."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mstgraph.run.networks import Shared
from mstgraph.run.train import Training, begin_epoch, step
from mstgraph.store.build.builder import build
from tools.engine_bench.measure import MANY
from tools.engine_bench.shapes import RandomData
from tools.engine_bench.ways import ON, ready
from tools.gpu_check.finding import Bench, Finding

KINDS = ("ci", "sta", "dkd", "alone")
SYNCHRONISING = "synchronizing CUDA operation"  # what torch's warning says


def waits(bench: Bench) -> Iterator[Finding]:
    """Yield how often each stage waits in a batch, with all that is constant kept."""
    shape = bench.digits
    place = bench.place(shape)
    build(RandomData(shape), place.store)
    for kind in KINDS:
        trainings = ready(shape, ON, kind, place, (1, 1, MANY))
        most = max(counted(trainings))
        yield Finding(f"{kind}: waits for the device in a batch", str(most), most == 0)


def counted(trainings: Sequence[Training]) -> list[int]:
    """Return how often each batch of an epoch waits, but for the first, which begins the epoch."""
    setting = trainings[0].setting
    kept = setting.keeper.kept("train")
    begin_epoch(trainings)
    items = setting.training.epoch(setting.batch_size, setting.training.order(setting.seed, 1))
    counts = []
    for _ in range(setting.training.steps(setting.batch_size)):
        with waiting(setting.training.device) as found:
            step(trainings, Shared(*next(items), kept))
        counts.append(len(found))
    return counts[1:]


@contextmanager
def waiting(device: torch.device) -> Iterator[list[str]]:
    """Collect what makes the program wait while the context is open.

    On a GPU that is what torch warns of; on a CPU, where nothing waits, the operations that would,
    but for copies between devices.
    """
    found: list[str] = []
    if device.type != "cuda":
        with _Waiting(found):
            yield found
        return
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            yield found
        found += [str(w.message) for w in told if SYNCHRONISING in str(w.message)]
    finally:
        torch.cuda.set_sync_debug_mode("default")


class _Waiting(TorchDispatchMode):
    """Notes down operations whose result the program, or the shape of a tensor, depends on."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal")

    def __init__(self, found: list[str]):
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        masks = name == "index" and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if name in self.NAMES or masks:
            self.found.append(name)
        return func(*args, **(kwargs or {}))
