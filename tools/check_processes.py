"""Run experiments on one process and on several, and print how far apart their numbers come out.

    python tools/check_processes.py --processes 2 --processes 4

Over the digits and synthetic rooms, in double precision, with small networks and few epochs: every
method, and what else makes a difference to who computes what. The columns are the largest
difference of any number in ``metrics.jsonl``, and of any weight; exit code 1 if one is above 1e-6.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file
from torch import distributed

from mstgraph.derive.opening import open_experiment
from mstgraph.report.preparation import prepare_declared
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.run.execute import Execution
from mstgraph.run.reporter import Silent
from mstgraph.support.processes.group import ALONE, Processes

TOLERANCE = 1e-6
EPOCHS = tuple(
    f"{stage}.epochs = 2" for stage in ("CI", "STA", "DKD", "Distill", "Hint", "Pretrain")
)


@dataclass(frozen=True)
class Case:
    """An experiment.

    Attributes:
        name: of its row, and its folder.
        files: its gin files.
        bindings: that win over them.
    """

    name: str
    files: tuple[str, ...]
    bindings: tuple[str, ...] = ()


def cases(methods: Path) -> Iterator[Case]:
    """Yield every method over the digits, and what else several processes have to cope with."""
    digits = ("gin/mfeat_zer.gin",)
    small = (
        *("data.batch_size = 250", "MLP.hidden = (16, 16)", "FusedMLP.branch = (16,)"),
        *("FusedMLP.hidden = (16, 12)", "data.split = 'numbered'", "CRD.negatives = 64"),
        *EPOCHS,
    )
    for path in sorted(methods.glob("*.gin")):
        yield Case(path.stem, (*digits, str(path)), small)
    rooms = (
        *("FuseNet.width = 0.0625", "FuseNetBranch.width = 0.0625", "data.store = 'stores/few'"),
        *("data.options = {'samples': 30, 'size': (32, 32)}", "data.batch_size = 4"),
        *("data.labelled = 10", "rgbd/Member.masks = ('fusion',)", "STA.epochs = 1", *EPOCHS),
        *("depth/Member.masks = ('decoder.stage5',)", "data.split = 'numbered'"),
    )
    demonstration = ("gin/nyudepth_rgb.gin", "gin/base/rooms.gin")
    yield Case("rooms", demonstration, rooms)
    yield Case("rooms, nothing kept", demonstration, (*rooms, "engine.cache = False"))
    flips = ("data.augmentation = @HorizontalFlip()",)
    yield Case("rooms, flipped", demonstration, (*rooms, *flips))
    of = ("data.augmentation = @augmentation()", "augmentation.of = (@HorizontalFlip(),)")
    yield Case("rooms, two views", demonstration, (*rooms, *of, "augmentation.views = 2"))
    absent = ("data.absent = {'fou': 0.5, 'zer': 0.2}",)
    yield Case("samples without all", digits, (*small, *absent))
    disk = ("engine.memory_gigabytes = 0", "engine.disk_gigabytes = 1")
    yield Case("kept on disk", digits, (*small, *disk))
    steps = ("Stage.clip = 0.1", "Stage.ema = 0.9", "Stage.accumulate = 3")
    every = tuple(line.replace("Stage", s) for s in ("CI", "STA", "DKD") for line in steps)
    yield Case("clip, average, accumulate", digits, (*small, *every))
    sampled = ("data.labelled = 300", "data.labelled_per_batch = 0.5", "data.sampler = 'balanced'")
    yield Case("few labels, balanced", digits, (*small, *sampled))


def run(case: Case, folder: Path, processes: Processes = ALONE) -> None:
    """Run a case into a folder of its name, in double precision."""
    torch.set_default_dtype(torch.float64)
    with processes.main_first():
        experiment = open_experiment(
            case.files, case.bindings, prepare=prepare_declared(progress=False)
        )
    Execution(
        experiment,
        RunFolder(folder / case.name),
        torch.device("cpu"),
        Silent(),
        processes=processes,
    ).run()


def run_all(processes: Processes, chosen: Sequence[Case], folder: Path) -> list[float]:
    """Run cases one after the other; return the seconds of each."""
    taken = []
    for case in chosen:
        started = time.monotonic()
        run(case, folder, processes)
        taken.append(time.monotonic() - started)
    return taken


def together(count: int, work: Callable[..., Any], *arguments: Any) -> Any:
    """Return what the main one of some processes returns of (processes, *arguments)."""
    # Forked from one that has imported what takes seconds, optimisers' own imports included.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mstgraph.run.execute", "torch._dynamo", "scipy.stats"])
    with TemporaryDirectory() as place:
        rest = (count, Path(place), work, arguments)
        members = [context.Process(target=_member, args=(n, *rest)) for n in range(count)]
        for member in members:
            member.start()
        for member in members:
            member.join()
        if any(member.exitcode for member in members):
            raise RuntimeError(f"processes ended with {[m.exitcode for m in members]}")
        return torch.load(Path(place, "answer"), weights_only=True)


def _member(
    rank: int, count: int, place: Path, work: Callable[..., Any], arguments: Sequence[Any]
) -> None:
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    where = f"file://{place.absolute()}/met"
    distributed.init_process_group("gloo", init_method=where, rank=rank, world_size=count)
    answer = work(Processes(rank, count, count), *arguments)
    if rank == 0:
        torch.save(answer, place / "answer")
    distributed.destroy_process_group()


def apart(one: Path, other: Path) -> tuple[float, float]:
    """Return the largest difference of two runs' records, and of their weights."""
    numbers = max(
        difference
        for file in one.rglob("metrics.jsonl")
        for difference in _differences(_lines(file), _lines(other / file.relative_to(one)))
    )
    weights = max(
        float((value.double() - load_file(other / file.relative_to(one))[name]).abs().max())
        for file in one.rglob("*.safetensors")
        for name, value in load_file(file).items()
        if value.numel()
    )
    return numbers, weights


def _lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def _differences(one: Any, other: Any) -> Iterator[float]:
    """Yield how far numbers at the same place are apart; what else differs is infinitely so."""
    if isinstance(one, dict):
        for name in one.keys() - {"seconds"}:
            yield from _differences(one[name], other.get(name))
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for pair in zip(one, other, strict=True):
            yield from _differences(*pair)
    elif isinstance(one, float) and isinstance(other, float):
        yield abs(one - other)
    else:
        yield 0.0 if one == other else float("inf")


@click.command()
@click.option("--processes", "counts", multiple=True, type=int, default=(2, 4), show_default=True)
@click.option("--only", multiple=True, help="Names of rows; all of them if none is given.")
def main(counts: tuple[int, ...], only: tuple[str, ...]) -> None:
    """Print a row for each case."""
    torch.set_num_threads(1)
    chosen = [c for c in cases(Path("gin/methods")) if not only or c.name in only]
    table = Table("", *(f"{n} processes: {of}" for n in counts for of in ("records", "weights")))
    worst = 0.0
    with TemporaryDirectory() as place:
        folder = Path(place)
        run_all(ALONE, chosen, folder / "1")
        for count in counts:
            together(count, run_all, chosen, folder / str(count))
        for case in chosen:
            pairs = [apart(folder / "1" / case.name, folder / str(n) / case.name) for n in counts]
            found = [difference for pair in pairs for difference in pair]
            table.add_row(case.name, *(f"{difference:.1e}" for difference in found))
            worst = max(worst, *found)
    Console(width=100).print(table)
    sys.exit(int(worst > TOLERANCE))


if __name__ == "__main__":
    main()
