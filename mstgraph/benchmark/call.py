"""A benchmark as one call: gin file in, results out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from mstgraph.benchmark.execute.dispatch import Options
from mstgraph.benchmark.execute.work import do
from mstgraph.benchmark.plan.benchmark import declare, parse_seeds
from mstgraph.benchmark.report.outputs import print_results, write_figures
from mstgraph.benchmark.results.results import Results
from mstgraph.benchmark.run import run_bench
from mstgraph.report.console import standard_console
from mstgraph.report.preparation import prepare_declared
from mstgraph.report.progress import LOG_EVERY
from mstgraph.support.disk.own_folder import named_folder
from mstgraph.support.errors import UserError
from mstgraph.support.numerics import choose_device


def bench(
    file: Path | str,
    *bindings: str,
    seeds: Iterable[int] | str | None = None,
    jobs: int = 1,
    threads: int = 1,
    ray: str = "",
    device: str = "auto",
    out: Path | str | None = None,
    artefacts: Path | str | None = None,
    progress: bool = True,
    log_every: float = LOG_EVERY,
    notice: Callable[[str], None] | None = None,
) -> Results:
    """Compare methods: every row × student × seed of a benchmark's gin file, and a table.

    A stage that several cells need is trained once. After Ctrl-C the same call continues.

    Args:
        file: the benchmark's gin file.
        bindings: for every cell; one of the benchmark's own begins with ``bench.``.
        seeds: in place of ``bench.seeds``; as text, ``"0-4"`` or ``"0,2,5"``.
        jobs: stages trained at a time on this machine, each in a process.
        threads: torch's threads of each; numbers depend on them in their last digits.
        ray: address of a Ray cluster in place of processes; empty for none.
        device: see `mstgraph.Experiment.run`.
        out: folder of everything; default: ``runs/bench-NAME``.
        artefacts: what stages leave, shared by benchmarks that name the same folder.
        progress: whether to show on standard output what is going on, and the table at the end.
        log_every: seconds between two lines on how far it is, where standard output is no
            terminal; 0 for none.
        notice: is told what the user should know; default: printed as the rest.

    Returns:
        The results: metrics (fractions of 1), seconds and bytes per cell, as in ``results.json``;
        a cell that failed is among them with its reason.

    Raises:
        Interrupted: a KeyboardInterrupt; what was finished is there.
        UserError: the benchmark is at fault, or its folder cannot be written.
    """
    where = device if ray else str(choose_device(device))
    chosen = parse_seeds(seeds) if isinstance(seeds, str) else seeds
    benchmark = declare(file, bindings, None if chosen is None else tuple(chosen))
    folder = named_folder(out, default_folder(benchmark.name))
    shared = named_folder(artefacts, folder / "artefacts")
    console = standard_console(progress)
    lines = log_every if progress and not console.is_terminal else 0.0
    options = Options(folder, shared, jobs, threads, ray, where, lines)
    told = notice or (lambda sentence: console.print(sentence, markup=False, highlight=False))
    results = run_bench(benchmark, options, do, console, prepare_declared(progress), told)
    print_results(results, benchmark, console)
    try:
        write_figures(results, benchmark, folder)
    except UserError as error:  # the table stands all the same
        told(str(error))
    console.print(f"everything is in {folder}", highlight=False)
    return results


def default_folder(name: str) -> Path:
    """Return where a benchmark goes unless told otherwise."""
    return Path("runs") / f"bench-{name}"
