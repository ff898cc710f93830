"""``mstgraph store``: look at feature stores."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mstgraph.cli.options import GivenPath, console, debug
from mstgraph.support.errors import RunError


@click.group()
def store() -> None:
    """Look at feature stores."""


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
