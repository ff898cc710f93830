"""``mstgraph run``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

import mstgraph
from mstgraph.cli.options import (
    INTERRUPTED,
    GivenPath,
    all_bindings,
    bindings,
    console,
    debug,
    device,
    files,
    jobs,
    log_every,
    no_cache,
    notice,
    precision,
    ray,
    seed,
)
from mstgraph.support.processes.launch import give_way, launch, launched, rank


@click.command()
@files
@bindings
@seed
@precision
@no_cache
@jobs
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="Threads of each of several jobs, on which numbers depend in their last digits  [1].",
)
@ray
@device
@click.option("--out", type=GivenPath(), help="Run folder [runs/NAME-seedN].")
@click.option(
    "--processes",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="So many processes share every batch, as under torchrun: one for each GPU.",
)
@log_every
@debug
def run(
    files: tuple[str, ...],
    bindings: tuple[str, ...],
    seed: int | None,
    precision: str | None,
    no_cache: bool,
    jobs: int,
    threads: int | None,
    address: str | None,
    device: str,
    out: Path | None,
    processes: int,
    log_every: float,
) -> None:
    """Run a graph: prepare the store if it is missing, train every stage, print the table.

    Finished stages are reused as long as nothing changed that can change them. After Ctrl-C, a
    kill or a full disk, the same command continues.

    Stages that do not wait for each other, such as teachers and specialised teachers, can be
    trained side by side: in --jobs processes here, or by the machines of a --ray cluster.
    """
    if processes > 1 and not launched():
        sys.exit(launch(processes, sys.argv[1:]))
    chosen = all_bindings(bindings, seed, precision, no_cache)
    experiment = mstgraph.load(files, *chosen, notice=notice)
    try:
        left = experiment.run(
            out,
            device=device,
            log_every=log_every,
            jobs=jobs,
            threads=threads,
            ray=address or "",
        )
    except mstgraph.Interrupted as stopped:
        give_way()
        notice(f"stopped in stage {stopped}; the same command continues there")
        sys.exit(INTERRUPTED)
    if rank() > 0:
        return
    left.show(console())
    console().print(f"everything is in {left.path}", highlight=False)
