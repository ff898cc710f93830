"""Measure what it costs to compare records with their checksums when they are first read.

    python tools/bench_checksums.py [--megabytes 400] [--rounds 5] [--cold]

Random values in real stores: vectors, small images, and maps that are records of their own. Every
sample is read by a process that reads it for the first time, with checks and without, in turns: in
large pieces in order, as what fits the memory is read once (resident), or in random batches, as an
epoch over what does not (streamed). Prints the ratio of seconds (÷ not checking) of that first
pass, and of a pass after it, as medians with their extremes. ``--cold`` drops the file from the
system's cache before each pass; else it is read from memory, where checking shows most.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from mstgraph.store import Labels, Modality, Recipe, Store
from mstgraph.store.build.builder import build
from mstgraph.store.mapped import soundness
from mstgraph.store.mapped.records import Records

SHAPES = {"vectors": (4096,), "images": (3, 64, 64), "maps": (3, 480, 640)}
PIECE = 16 * 1024 * 1024  # bytes, as mstgraph.data.feed reads what stays
BATCH = 64
AHEAD = 4  # batches that are named before they are read
DRAWN = np.random.default_rng(0).integers(0, 256, 2**20, np.uint8)
WAYS = ("resident", "streamed")


@dataclass
class Random(Recipe):
    """Random bytes of one shape."""

    shape: tuple[int, ...]
    samples: int
    title = "random bytes"
    source = "drawn at random"
    licence = "none"
    synthetic = "random bytes"

    def modalities(self) -> tuple[Modality, ...]:
        """Return the one modality."""
        return (Modality("values", "uint8", self.shape),)

    def labels(self) -> Labels:
        """Return two classes that stand for nothing."""
        return Labels("classification", ("a", "b"))

    def __len__(self) -> int:
        """Return the number of samples."""
        return self.samples

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        """Return a sample."""
        size = int(np.prod(self.shape))
        values = DRAWN[index % 997 : index % 997 + size].reshape(self.shape)
        return {"values": values, "label": np.array(index % 2)}


def passes(path: Path, way: str, checked: bool, cold: bool) -> tuple[float, float]:
    """Return the seconds of a first pass over all samples, and of a second one."""
    soundness._sound.clear()
    gc.collect()
    plain = Records._unknown
    if not checked:
        none = np.empty(0, np.int64)
        Records._unknown = lambda self, indices: none  # type: ignore[method-assign]
    try:
        store = Store(path)
        return _seconds(store, way, cold), _seconds(store, way, cold)
    finally:
        Records._unknown = plain  # type: ignore[method-assign]


def _seconds(store: Store, way: str, cold: bool) -> float:
    if cold:
        with (store.path / "data.mdb").open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    order, size = np.arange(len(store)), max(1, PIECE // store.bytes_per_sample("values"))
    if way == "streamed":
        order, size = np.random.default_rng(0).permutation(order), BATCH
    batches = [order[first : first + size] for first in range(0, len(order), size)]
    started = time.perf_counter()
    for number, batch in enumerate(batches):
        for coming in batches[number + AHEAD : number + AHEAD + 1]:
            store.will_need("values", coming)
        store.read("values", batch)
    return time.perf_counter() - started


def in_words(ratios: Sequence[float]) -> str:
    """Return a median with its extremes."""
    return f"{median(ratios):5.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    """Print a line per shape."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cold", action="store_true")
    given = parser.parse_args()
    print(f"{os.cpu_count()} processors; {'cold' if given.cold else 'warm'}; checked ÷ unchecked")
    with tempfile.TemporaryDirectory() as folder:
        for name, shape in SHAPES.items():
            samples = given.megabytes * 10**6 // int(np.prod(shape))
            store = build(Random(shape, samples), Path(folder) / name)
            store.close()
            for way in WAYS:
                passes(store.path, way, False, given.cold)
                on, off = [], []
                for _ in range(given.rounds):
                    on.append(passes(store.path, way, True, given.cold))
                    off.append(passes(store.path, way, False, given.cold))
                first, later = ([a[i] / b[i] for a, b in zip(on, off, strict=True)] for i in (0, 1))
                rate = samples * int(np.prod(shape)) / 1e9 / median(seconds[0] for seconds in off)
                print(
                    f"{name:8} {way}: first pass {in_words(first)}, later {in_words(later)}; "
                    f"unchecked {rate:.2f} GB/s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
