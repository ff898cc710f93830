"""``mstgraph store``: look at feature stores, and add to them."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mstgraph.cli.options import (
    GivenPath,
    console,
    debug,
    reading_jobs,
    recipe_option,
    recipe_options,
)
from mstgraph.support.errors import RunError


@click.group()
def store() -> None:
    """Look at feature stores, and add to them."""


@store.command()
@click.argument("path", type=GivenPath())
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@debug
def info(path: Path, as_json: bool) -> None:
    """Say what a store holds and where it comes from."""
    from mstgraph.report.store_info import print_store
    from mstgraph.store import Store

    described = Store(path).describe()
    if as_json:
        click.echo(json.dumps(described, indent=2, ensure_ascii=False))
    else:
        print_store(described, console())


@store.command()
@click.argument("path", type=GivenPath())
@debug
def verify(path: Path) -> None:
    """Compare every record with its checksum; exit code 1 if something is damaged."""
    from rich.progress import Progress

    from mstgraph.store import Store
    from mstgraph.store import verify as verify_store

    opened = Store(path)
    shown = console()
    with Progress(console=shown, disable=not shown.is_terminal, transient=True) as progress:
        task = progress.add_task("verifying")
        problems = verify_store(
            opened, lambda done, total: progress.update(task, completed=done, total=total)
        )
    for problem in problems:
        click.echo(problem)
    if problems:
        raise RunError(f"store {path} is damaged in {len(problems)} places; prepare it again")
    click.echo(f"store {path}: {opened.length} samples, every record is as it was written")


@store.command()
@click.argument("path", type=GivenPath())
@click.argument("recipe", type=GivenPath())
@click.option("--raw", type=GivenPath(), help="The raw data, grown; or other, with --all-new.")
@click.option(
    "--all-new",
    is_flag=True,
    help="All samples of the raw data are new. Else those that are stored come first in it.",
)
@recipe_option
@reading_jobs
@debug
def append(
    path: Path,
    recipe: Path,
    raw: Path | None,
    all_new: bool,
    options: tuple[str, ...],
    jobs: int | None,
) -> None:
    """Add samples that are new; what is stored is not written again, and keeps its splits.

    RECIPE is the one that the store was prepared with; options are those of the store.
    """
    from mstgraph.report.preparation import append

    append(path, recipe, raw=raw, options=recipe_options(options), all_new=all_new, jobs=jobs)
