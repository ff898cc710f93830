"""``mstgraph report`` and ``mstgraph runs``: what runs have left, on a page and as a table."""

from __future__ import annotations

from pathlib import Path

import click

import mstgraph
from mstgraph.cli.options import (
    GivenPath,
    console,
    debug,
    device,
    method,
    notice,
)
from mstgraph.support.errors import UserError


@click.command()
@click.argument("folders", nargs=-1, required=True, type=GivenPath(), metavar="RUN…|BENCH")
@click.option("--out", type=GivenPath(), help="The file  [NAME-report.html].")
@method
@device
@debug
def report(folders: tuple[Path, ...], out: Path | None, method: str, device: str) -> None:
    """Write one page about a run, several runs side by side, or a benchmark.

    The page is one file that needs no network: paths, gains and how sure they are, learning
    curves, routing, confusions, samples that changed, masks, features, where networks look, time
    and memory. Samples and what follows from them need the run's store and its code; all else
    comes from its folder. A run that is at work is shown as far as it came.
    """
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f"'{folder}' is no folder; expected the folder of a run or benchmark")
    target = out or Path(f"{folders[0].resolve().name}-report.html")
    if target.is_dir():
        raise UserError(f"'{target}' is a folder; expected a file with --out")
    mstgraph.write_page(folders, target, method=method, device=device, notice=notice)
    click.echo(target)


@click.command()
@click.argument("folder", type=GivenPath(), default="runs", metavar="[FOLDER]")
@debug
def runs(folder: Path) -> None:
    """List the runs of a folder [runs]: state, data, method, gain and time.

    Reads what lies there and runs no code of any of them.
    """
    from mstgraph.report.runs import print_runs

    print_runs(folder, console())
