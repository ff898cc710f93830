"""``mstgraph tune``."""

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
    debug,
    device,
    files,
    log_every,
    no_cache,
    notice,
    precision,
    ray,
    threads,
)


@click.command()
@files
@click.option(
    "-s",
    "settings",
    multiple=True,
    metavar="SETTING",
    help="Setting with its values, 'DKD.k = 1..4'; once for each that is tuned.",
)
@bindings
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="How many in all, those of earlier commands included.",
)
@click.option("--seeds", help="0-2 or 0,2,5: a trial's value is the mean over them [graph.seed].")
@click.option(
    "--no-prune", is_flag=True, help="Train every trial to its end, however far behind it is."
)
@precision
@no_cache
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Trials under way at a time, each stage in a process  [1; with --ray as many as the "
    "cluster has cores].",
)
@threads
@ray
@device
@click.option("--out", type=GivenPath(), help="Folder [runs/tune-NAME].")
@log_every
@debug
def tune(
    files: tuple[str, ...],
    settings: tuple[str, ...],
    bindings: tuple[str, ...],
    trials: int,
    seeds: str | None,
    no_prune: bool,
    precision: str | None,
    no_cache: bool,
    jobs: int | None,
    threads: int,
    address: str | None,
    device: str,
    out: Path | None,
    log_every: float,
) -> None:
    """Look for the settings under which the student does best on validation.

    Every trial is the same graph with other values. A stage that no setting changes is trained
    once and serves all trials: tuning DKD.k trains teachers once. The test split is never
    read; the winner is a gin file, and running that file says what it is worth. After Ctrl-C the
    same command continues; a larger --trials goes on searching.

    \b
    -s 'DKD.k = 1..4'                     whole numbers, both ends are values
    -s 'KL.temperature = log(1, 10)'      each order of magnitude alike
    -s 'CI.alignment_weight = uniform(0, 2)'
    -s "DKD.balance = choice('kl', 'cv')" values as gin writes them, in quotes if they are texts
    -s 'Member.loss = choice(@KL(), @DIST())'
    -s 'depth/KL.temperature = 1..8'      of one member

    \b
    mstgraph tune gin/mfeat_zer.gin -s 'DKD.k = 1..4' -s 'KL.temperature = log(1, 10)' --trials 12
    mstgraph tune gin/mfeat_zer.gin -s 'DKD.k = 1..4' --seeds 0-2 --jobs 4
    mstgraph run runs/tune-mfeat_zer/winner.gin

    The folder holds winner.gin, trials.csv, journal.log (Optuna's) and artefacts/. Trials are drawn
    by Optuna's TPE: pip install 'mstgraph[tune]'.
    """  # noqa: D301 (click wants the backspace itself)
    try:
        mstgraph.tune(
            files,
            *all_bindings(bindings, None, precision, no_cache),
            settings=settings,
            trials=trials,
            seeds=seeds,
            prune=not no_prune,
            jobs=jobs,
            threads=threads,
            ray=address or "",
            device=device,
            out=out,
            log_every=log_every,
            notice=notice,
        )
    except mstgraph.Interrupted as stopped:
        notice(f"stopped after {stopped}; the same command continues")
        sys.exit(INTERRUPTED)
