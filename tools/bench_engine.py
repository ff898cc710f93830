"""Measure what the engine gains: stages with it, without it, and the student trained alone.

    python tools/bench_engine.py [--shape NAME …] [--samples N] [--batch B] [--device auto]
                                 [--precision fp32] [--repeats R] [--epochs] [--json FILE]

Ways, measured in turns in one process:

- on: this package as it is.
- cache off: this package with engine.cache = False.
- off: the plain schedule, that is the released code's with its stacked masks mended. Every
  specialised teacher runs whole on every batch, masks are computed with torch's own
  nn.MultiheadAttention, and Adam is torch's default one. Frozen networks keep no graph.

Data are random tensors in a real store, networks are untrained and the gate sends each sample to
another teacher in turn. A step is one batch for all stages that share a pass, reading it
included; the ratio of steps is that of epochs without validation. Epochs are real ones, with one
batch of validation. Runs at 1/1/100 and 100/100/100 epochs (CI/STA/DKD) are composed of filling
and steps. On one thread of a CPU, seconds are the processor's; else those of the clock.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from mstgraph.store.build.builder import build
from mstgraph.support.numerics import choose_device, numerics
from tools.engine_bench import measure, peaks
from tools.engine_bench.shapes import SHAPES, RandomData, Shape, named
from tools.engine_bench.ways import OFF, ON, WAYS, Place

PEAK_BATCH = 128
DEFAULT = ("avmnist-image", "mfeat", "rooms")

Table = Mapping[str, Mapping[str, float]]


def bench(
    shape: Shape,
    device: torch.device,
    precision: str,
    repeats: int,
    *,
    memory: bool,
    run: bool,
    epochs: bool = False,
) -> Table:
    """Build the shape's store in a temporary directory and return quantity → way → figure.

    ``epochs``: DKD's epochs and the student's alone, and nothing else.
    """
    with tempfile.TemporaryDirectory() as directory:
        place = Place(Path(directory) / "store", Path(directory) / "runs", device, precision)
        build(RandomData(shape), place.store)
        with numerics(precision, device):
            if epochs:
                return measure.epochs(shape, place, repeats)
            found: dict[str, Mapping[str, float]] = dict(measure.measure(shape, place, repeats))
            if run and shape.really_run:
                found["run, 1/1/100, really"] = measure.really_run(shape, place, measure.BUDGETS[0])
            if memory:
                found.update(peaks_of(shape, place))
    return found


def peaks_of(shape: Shape, place: Place) -> Table:
    """Return the peaks of STA and DKD steps in MB, by way."""
    larger = shape if shape.extent else replace(shape, batch=min(PEAK_BATCH, shape.samples))
    return {
        f"{kind.upper()} peak MB, batch {larger.batch}": {
            way: peaks.peak(larger, way, kind, place) for way in (OFF, ON)
        }
        for kind in ("sta", "dkd")
    }


def show(name: str, table: Table) -> str:
    """Return a shape's table as text."""
    lines = [f"{name:32}" + "".join(f"{way:>12}" for way in WAYS) + f"{'off ÷ on':>12}"]
    for quantity, by_way in table.items():
        unit = 1 if "MB" in quantity or "run" in quantity else 1000
        cells = [f"{unit * by_way[way]:12,.1f}" if way in by_way else " " * 12 for way in WAYS]
        ratio = f"{by_way[OFF] / by_way[ON]:12.2f}" if {OFF, ON} <= by_way.keys() else ""
        lines.append(f"{quantity:32}" + "".join(cells) + ratio)
    plain = table["DKD epoch, validated"][ON] / table[measure.PLAIN_EPOCH][ON]
    lines.append(f"DKD epoch ÷ student's plain epoch: {plain:.3f}")
    return "\n".join(lines)


def main() -> None:
    """Measure the chosen shapes, print their tables, and write them as JSON if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [shape.name for shape in SHAPES]
    parser.add_argument(
        "--shape",
        nargs="+",
        choices=names,
        default=DEFAULT,
        help=f"(default: {' '.join(DEFAULT)}, about ten minutes)",
    )
    parser.add_argument("--samples", type=int, help="training samples (default: by shape)")
    parser.add_argument("--batch", type=int, help="samples per batch (default: by shape)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (default auto)")
    parser.add_argument(
        "--precision", choices=("fp32", "tf32", "bf16"), default="fp32", help="of all ways"
    )
    parser.add_argument("--repeats", type=int, default=5, help="of every median (default 5)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1)")
    parser.add_argument("--no-memory", action="store_true", help="measure no peaks")
    parser.add_argument("--no-run", action="store_true", help="run no whole runs")
    parser.add_argument("--epochs", action="store_true", help="measure DKD's epochs alone")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    tables: dict[str, Table] = {}
    print(f"ms, runs in s; medians of {arguments.repeats} repeats in turns (epochs: at least 15)")
    print(
        f"{device}, {arguments.precision}, {arguments.threads} thread(s), torch "
        f"{torch.__version__}; synthetic data\n"
    )
    for name in arguments.shape:
        shape = named(name)
        shape = replace(
            shape,
            samples=arguments.samples or shape.samples,
            batch=arguments.batch or shape.batch,
        )
        tables[name] = bench(
            shape,
            device,
            arguments.precision,
            arguments.repeats,
            memory=not arguments.no_memory,
            run=not arguments.no_run,
            epochs=arguments.epochs,
        )
        print(show(f"{name}, batch {shape.batch}", tables[name]), end="\n\n", flush=True)
    if arguments.json:
        machine = {
            "machine": platform.machine(),
            "device": str(device),
            "precision": arguments.precision,
            "torch": torch.__version__,
        }
        arguments.json.write_text(json.dumps({"figures": tables, **machine}, indent=1))


if __name__ == "__main__":
    main()
