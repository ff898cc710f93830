"""Small benchmarks over tiny vectors, and what a test asks of them."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from tiny_graphs import TWO

from mstgraph.benchmark.execute.dispatch import Options
from mstgraph.benchmark.execute.work import do
from mstgraph.benchmark.plan.benchmark import Benchmark, declare
from mstgraph.benchmark.results.results import CellResult, Results
from mstgraph.benchmark.run import run_bench

EPOCHS = (
    "Pretrain.epochs = 2",
    "CI.epochs = 2",
    "STA.epochs = 2",
    "DKD.epochs = 2",
    "Distill.epochs = 2",
)
ALONE = ("w/o KD", "", "", "graph.teachers = 'none'")
MST = ("MST", "all", "")
TOP2 = ("MST k=2", "all", "", "DKD.k = 2")
PLAIN = "graph.points = 'none'", "graph.gate = None", "Member.mutual = ()"
KD = ("KD", "MM", "", "graph.teachers = 'multimodal'", *PLAIN)
# Steps of this size lead to numbers that are none.
DIVERGES = "Adam.eps = 1e-30", "DKD.learning_rate = 1e30"
DEPTH = ("depth", "rgb.gin", "graph.target = 'depth'", "rgb/Member.masks = ('hidden1',)")

Row = Sequence[str] | str


class World:
    """A working directory with the file of a student, ``rgb.gin``."""

    def __init__(self, write_gin: Callable[..., Path]):
        write_gin(TWO, name="rgb.gin")

    def declare(
        self, *rows: Row, bindings: Sequence[str] = (), seeds: Sequence[int] = (0,), text: str = ""
    ) -> Benchmark:
        """Write a benchmark over rgb and load it."""
        baseline = "w/o KD" if any(row[0] == "w/o KD" for row in rows) else ""
        lines = (
            f"bench.title = 'Tiny'\nbench.students = (('rgb', 'rgb.gin'),)\n"
            f"bench.rows = {tuple(rows)!r}\nbench.seeds = {tuple(seeds)!r}\n"
            f"bench.bindings = {EPOCHS!r}\nbench.baseline = {baseline!r}\n{text}"
        )
        Path("tiny.gin").write_text(lines)
        return declare("tiny.gin", bindings)


def run(benchmark: Benchmark, folder: str = "out", **options: Any) -> Results:
    """Run a benchmark into a folder without a terminal."""
    return run_and_read(benchmark, folder, **options)[0]


def run_and_read(
    benchmark: Benchmark, folder: str = "out", **options: Any
) -> tuple[Results, list[str], list[str]]:
    """Run a benchmark; return also the lines it printed and the sentences of notice."""
    place, said, text = Path(folder), list[str](), io.StringIO()
    settings = Options(
        place, options.pop("artefacts", place / "artefacts"), device="cpu", **options
    )
    results = run_bench(benchmark, settings, do, Console(file=text, width=160), None, said.append)
    return results, text.getvalue().splitlines(), said


def weights(folder: str | Path) -> dict[str, bytes]:
    """Every file of weights below a folder: artefact and part → content."""
    paths = Path(folder).rglob("*.safetensors")
    return {f"{path.parent.name}/{path.stem}": path.read_bytes() for path in paths}


def artefacts(folder: str | Path) -> dict[str, dict[str, Any]]:
    """Every finished stage below a folder: name → artefact."""
    found = Path(folder).rglob("artefact.json")
    return {path.parent.name: json.loads(path.read_text()) for path in found}


def metrics(results: Results) -> list[tuple[int, str, int, Any, str | None]]:
    """What the cells came to, without what they took."""
    return [(c.row, c.student, c.seed, c.metrics, c.error) for c in results.cells]


def cell(results: Results, row: int, student: str = "rgb", seed: int = 0) -> CellResult:
    """Return one cell."""
    return results.cells_of(row, student)[seed]
