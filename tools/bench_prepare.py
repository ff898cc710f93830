"""Measure how long a store of JPEG files takes to prepare and to read, and how large it is.

    python tools/bench_prepare.py [--pictures 10000] [--jobs 1 2] [--repeats 1] [--json FILE]

Synthetic pictures of 224² are written as JPEG files, and prepared as arrays and as the files that
they are, with each number of processes in turn. Then epochs of training are read, batch by batch
and with nothing kept in memory, from both stores in turn: warm, and with the file out of the page
cache (Linux). Seconds are the clock's and, in brackets, the processors'; others on the machine make
the first meaningless.
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch

from mstgraph.data.feed import Pool
from mstgraph.recipes.images import colour, resized
from mstgraph.store import Store, load_recipe
from mstgraph.store.build.builder import build

SIZE, BATCH, CLASSES = 224, 128, 10
RECIPE = """
from dataclasses import dataclass
from typing import ClassVar
from mstgraph.recipes.table import Table

@dataclass
class Pictures(Table):
    title = "Pictures"
    synthetic = "synthetic pictures"
    keeps_files: ClassVar[bool] = {keeps_files}
"""


def write_pictures(folder: Path, count: int) -> int:
    """Write smooth, noisy JPEG files of some 20 kB each, a folder per class; return their bytes."""
    from PIL import Image

    draw, size = np.random.default_rng(0), 0
    for number in range(count):
        rough = (draw.normal(size=(14, 14, 3)) * 60 + 128).clip(0, 255).astype(np.uint8)
        smooth = resized(Image.fromarray(rough), SIZE, SIZE).transpose(1, 2, 0).astype(np.int16)
        noisy = smooth + draw.integers(-12, 13, (SIZE, SIZE, 1), np.int16)
        out = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(out, "JPEG", quality=90)
        file = folder / f"class{number % CLASSES}" / f"{number:06d}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(out.getvalue())
        size += len(out.getvalue())
    assert colour(file).size == (SIZE, SIZE)
    return size


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Return what some work returns, and its seconds: the clock's, and of all processors."""
    before, clock = _processors(), time.perf_counter()
    result = work()
    return result, {
        "clock": time.perf_counter() - clock,
        "processors": _processors() - before,
    }


def _processors() -> float:
    own = resource.getrusage(resource.RUSAGE_SELF)
    others = resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def prepare(folder: Path, kind: str, jobs: int, place: Path) -> dict[str, Any]:
    """Prepare a store with a number of processes."""
    recipe = folder / f"{kind}.py"
    recipe.write_text(RECIPE.format(keeps_files=kind == "files"))
    loaded = load_recipe(recipe, folder / "raw", {"sizes": f"{SIZE}x{SIZE}"})
    store, seconds = timed(lambda: build(loaded, place, jobs=jobs))
    return {**seconds, "bytes": store.metadata["data_bytes"], "fingerprint": store.fingerprint}


def epoch(place: Path, *, cold: bool) -> int:
    """Read one epoch of training; return the number of samples."""
    gc.collect()  # a map that is still there keeps its pages
    if cold:
        with (place / "data.mdb").open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    store = Store(place)
    feed = Pool(store, "0", "cpu", "standard", budget=0).feed("train", tuple(store.modalities))
    return sum(len(labels) for _, labels, _ in feed.epoch(BATCH, feed.order(0, 0)))


def measure(folder: Path, pictures: int, jobs: list[int], repeats: int) -> dict[str, Any]:
    """Measure everything and print it on the way."""
    figures: dict[str, Any] = {"files": write_pictures(folder / "raw", pictures)}
    print(f"{pictures} JPEG files: {figures['files'] / 1e6:.1f} MB")
    for repeat in range(repeats):
        for kind in ("arrays", "files"):
            for count in jobs[:: -1 if repeat % 2 else 1]:
                found = prepare(folder, kind, count, folder / f"{kind}-{count}-{repeat}")
                _note(figures, f"prepare {kind}, {count} jobs", found)
    for cold in (False, True):
        for repeat in range(repeats + (not cold)):
            for kind in ("arrays", "files"):
                read = partial(epoch, folder / f"{kind}-{jobs[0]}-0", cold=cold)
                samples, seconds = timed(read)
                if cold or repeat:  # the first pass compares every record
                    name = f"{'cold' if cold else 'warm'} epoch {kind}"
                    _note(figures, name, {**seconds, "samples": samples})
    return figures


def _note(figures: dict[str, Any], name: str, found: dict[str, Any]) -> None:
    figures.setdefault(name, []).append({**found, "load": os.getloadavg()[0]})
    size = f"  {found['bytes'] / 1e6:8.1f} MB" if "bytes" in found else ""
    print(f"{name:24}{found['clock']:8.1f} s ({found['processors']:.1f} s){size}", flush=True)


def main() -> None:
    """Measure, and write the figures as JSON if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), arguments.pictures, arguments.jobs, arguments.repeats)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
