"""``mstgraph bench``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import mstgraph
from mstgraph.cli.options import (
    INTERRUPTED,
    GivenPath,
    all_bindings,
    debug,
    device,
    jobs,
    log_every,
    no_cache,
    notice,
    precision,
    ray,
    threads,
)
from mstgraph.support.errors import RunError


@click.command()
@click.argument("gin_file", type=GivenPath(), metavar="GIN")
@click.option(
    "-p",
    "bindings",
    multiple=True,
    metavar="BINDING",
    help="Binding for every cell, 'CI.epochs = 2'; one of the benchmark's own begins with bench.",
)
@click.option("--seeds", help="0-4 or 0,2,5, in place of bench.seeds.")
@precision
@no_cache
@jobs
@threads
@ray
@device
@click.option("--out", type=GivenPath(), help="Folder [runs/bench-NAME].")
@click.option(
    "--artefacts",
    type=GivenPath(),
    help="What stages leave, shared by benchmarks that name the same folder [OUT/artefacts].",
)
@log_every
@debug
def bench(
    gin_file: Path,
    bindings: tuple[str, ...],
    seeds: str | None,
    precision: str | None,
    no_cache: bool,
    jobs: int,
    threads: int,
    address: str | None,
    device: str,
    out: Path | None,
    artefacts: Path | None,
    log_every: float,
) -> None:
    """Compare methods: every row × student × seed of a benchmark's gin file, and a table.

    A stage that several cells need is trained once: a teacher serves every method under its seed.
    After Ctrl-C the same command continues; finished stages are reused as long as nothing changed
    that can change them. A cell that fails is reported and does not stop the others (exit code 1).

    \b
    mstgraph bench gin/bench/quick.gin                          the paper's methods, minutes
    mstgraph bench gin/bench/table1.gin --seeds 0 --jobs 4      one seed, four stages at a time
    mstgraph bench gin/bench/quick.gin -p 'DKD.k = 2'           a setting for every cell
    mstgraph bench gin/bench/fig6.gin \\
        -p "bench.students = (('audio', 'gin/ravdess_audio.gin'),)"   another student
    mstgraph bench gin/bench/table1.gin --ray auto              on a Ray cluster

    The folder holds results.json, table.txt, .md, .tex and .csv, cells.json (which stages are a
    cell's) and artefacts/ (weights and records of every stage).
    """  # noqa: D301 (click wants the backspace itself)
    given = all_bindings(bindings, None, precision, no_cache)
    try:
        results = mstgraph.bench(
            gin_file,
            *given,
            seeds=seeds,
            jobs=jobs,
            threads=threads,
            ray=address or "",
            device=device,
            out=out,
            artefacts=artefacts,
            log_every=log_every,
            notice=notice,
        )
    except mstgraph.Interrupted as stopped:
        notice(f"stopped after {stopped}; the same command continues")
        sys.exit(INTERRUPTED)
    failed = sum(cell.metrics is None for cell in results.cells)
    if failed:
        raise RunError(f"{failed} of {len(results.cells)} cells failed; the table says why")
