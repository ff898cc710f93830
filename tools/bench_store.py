"""Measure how fast batches of random samples are read from a store.

    python tools/bench_store.py [--json FILE] [--repeats 60] [--scale 1.0]
    python tools/bench_store.py --cold [--json FILE] [--repeats 3] [--gigabytes 1.5] [--batches 60]

One thread, after one epoch, preallocated arrays: `Store.read` beside ``numpy.take`` and
``torch.index_select`` from memory and beside a plain copy of as many bytes. The ways take turns,
batch by batch, in random order; the table shows medians in samples per second.

With ``--cold``, the store's file leaves the page cache before each pass, and a pass is the first
batches of an epoch of training as a run reads it: samples shuffled one by one or in blocks, without
and with asking for pages early. Resident is the share of the file still in memory before a pass,
read what the disk delivered as a multiple of what was asked for. Linux alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch

from mstgraph.store.build.builder import build
from mstgraph.store.layout import sample_bytes
from mstgraph.store.reader import Store
from mstgraph.store.recipe import Labels, Modality, Recipe
from tools.store_bench import cold


@dataclass(frozen=True)
class Case:
    """One shape of data set: its modalities, number of samples and batch size."""

    name: str
    modalities: tuple[Modality, ...]
    samples: int
    batch: int


CASES = (
    Case(
        "112x112 + 28x28 float32",
        (Modality("audio", "float32", (1, 112, 112)), Modality("image", "float32", (1, 28, 28))),
        8000,
        256,
    ),
    Case("2816 float32", (Modality("vector", "float32", (2816,)),), 20000, 256),
    Case(
        "480x640 RGB-D uint8/uint16",
        (Modality("rgb", "uint8", (3, 480, 640)), Modality("depth", "uint16", (1, 480, 640))),
        400,
        8,
    ),
)


@dataclass
class RandomData(Recipe):
    """Random arrays of a case's shapes, kept in memory."""

    case: Case
    arrays: dict[str, np.ndarray] = field(init=False)

    title = "random data"
    source = "drawn by tools/bench_store.py"
    licence = "none"
    synthetic = "random numbers"

    def __post_init__(self) -> None:
        draw = np.random.default_rng(0)
        self.arrays = {}
        for item in self.case.modalities:
            shape = (self.case.samples, *item.shape)
            if item.dtype == "float32":
                self.arrays[item.name] = draw.random(shape, np.float32)
            else:
                self.arrays[item.name] = draw.integers(0, 256, shape, item.dtype)

    def modalities(self) -> tuple[Modality, ...]:
        """Return those of the case."""
        return self.case.modalities

    def labels(self) -> Labels:
        """Return two classes."""
        return Labels("classification", ("even", "odd"))

    def __len__(self) -> int:
        return self.case.samples

    def sample(self, index: int) -> Mapping[str, np.ndarray]:
        """Return row ``index`` of every array."""
        return {
            **{name: array[index] for name, array in self.arrays.items()},
            "label": np.array(index % 2),
        }


Way = Callable[[np.ndarray], object]


def ways(store: Store, arrays: Mapping[str, np.ndarray], batch: int) -> dict[str, Way]:
    """Return the ways to read a batch, each into arrays of its own kept between calls."""
    names = list(arrays)
    out = {name: np.empty((batch, *arrays[name].shape[1:]), arrays[name].dtype) for name in names}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    targets = {name: torch.from_numpy(array) for name, array in out.items()}

    def select(indices: np.ndarray) -> None:
        rows = torch.from_numpy(indices)
        for name in names:
            torch.index_select(tensors[name], 0, rows, out=targets[name])

    return {
        "store": lambda indices: [store.read(name, indices, out[name]) for name in names],
        "take": lambda indices: [
            np.take(arrays[name], indices, axis=0, out=out[name], mode="clip") for name in names
        ],
        "index_select": select,
        "memcpy": lambda indices: [
            out[name].__setitem__(..., arrays[name][:batch]) for name in names
        ],
    }


def measure(case: Case, repeats: int, directory: Path) -> dict[str, float]:
    """Return samples per second of each way, the medians of interleaved batches."""
    recipe = RandomData(case)
    store = build(recipe, directory / "store")
    found = ways(store, recipe.arrays, case.batch)
    draw = np.random.default_rng(1)
    for first in range(0, case.samples - case.batch + 1, case.batch):  # one epoch maps every page
        found["store"](np.arange(first, first + case.batch))
    times: dict[str, list[float]] = {name: [] for name in found}
    for repeat in range(repeats + 5):
        # In a new order each time: whoever follows the plain copy finds a colder cache.
        for name in draw.permutation(list(found)).tolist():
            indices = draw.integers(0, case.samples, case.batch)
            started = time.perf_counter()
            found[name](indices)
            if repeat >= 5:
                times[name].append(time.perf_counter() - started)
    return {name: case.batch / statistics.median(spent) for name, spent in times.items()}


def bench_warm(repeats: int, scale: float) -> dict[str, dict[str, float]]:
    """Measure every case in memory and print the table."""
    results = {}
    print(f"{'samples/s':28}{'store':>10}{'take':>10}{'index_sel.':>12}{'memcpy':>11}{'ratio':>8}")
    for case in CASES:
        sized = replace(case, samples=max(2 * case.batch, int(case.samples * scale)))
        with tempfile.TemporaryDirectory() as directory:
            found = measure(sized, repeats, Path(directory))
        found["ratio"] = found["store"] / found["index_select"]
        results[case.name] = found
        print(
            f"{case.name:28}{found['store']:10,.0f}{found['take']:10,.0f}"
            f"{found['index_select']:12,.0f}{found['memcpy']:11,.0f}{found['ratio']:8.2f}"
        )
    return results


def bench_cold(
    repeats: int, gigabytes: float, batches: int, *, drop_caches: bool
) -> dict[str, dict[str, dict[str, float]]]:
    """Measure the cases of small samples from disk and print the table."""
    results = {}
    print(
        f"{'cold pages':28}{'samples/s':>10}{'ratio':>8}{'first s':>9}{'resident':>10}{'read':>7}"
    )
    for case in CASES[:2]:
        row = sum(sample_bytes(item.dtype, item.shape) for item in case.modalities)
        sized = replace(case, samples=int(gigabytes * 1e9 / row))
        with tempfile.TemporaryDirectory() as directory:
            store = Path(directory) / "store"
            build(RandomData(sized), store)
            found = cold.measure(store, case.batch, batches, repeats, drop_caches=drop_caches)
        plain = found[cold.WAYS[0].name].rate
        results[case.name] = {name: asdict(one) for name, one in found.items()}
        print(case.name)
        for name, one in found.items():
            print(
                f"{name:28}{one.rate:10,.0f}{one.rate / plain:8.2f}{one.first:9.2f}"
                f"{one.resident:10.2%}{one.read / one.wanted:7.2f}"
            )
    return results


def main() -> None:
    """Measure, print the table, and write it as JSON if asked to."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--repeats", type=int, help="per way: batches (60), cold passes (3)")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on the number of samples")
    parser.add_argument("--cold", action="store_true", help="read from disk, not from memory")
    parser.add_argument("--gigabytes", type=float, default=1.5, help="size of a cold store")
    parser.add_argument("--batches", type=int, default=60, help="batches of a cold pass")
    parser.add_argument(
        "--drop-caches", action="store_true", help="drop the whole machine's caches; for root alone"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    figures: Mapping[str, object]
    if arguments.cold:
        figures = bench_cold(
            arguments.repeats or 3,
            arguments.gigabytes,
            arguments.batches,
            drop_caches=arguments.drop_caches,
        )
    else:
        figures = bench_warm(arguments.repeats or 60, arguments.scale)
    if arguments.json:
        machine = {
            "machine": platform.machine(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        }
        arguments.json.write_text(json.dumps({"figures": figures, **machine}, indent=1))


if __name__ == "__main__":
    main()
