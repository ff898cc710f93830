"""``mstgraph prepare``."""

from __future__ import annotations

from pathlib import Path

import click

import mstgraph
from mstgraph.cli.options import GivenPath, debug


@click.command()
@click.argument("recipe", type=GivenPath())
@click.option("--raw", type=GivenPath(), help="Raw data that the recipe reads.")
@click.option("--out", type=GivenPath(), help="Store [stores/RECIPE].")
@click.option(
    "-o", "--option", "options", multiple=True, metavar="NAME=VALUE", help="size=96x128, …"
)
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="Processes that read samples [the cores there are, where that saves time].",
)
@debug
def prepare(
    recipe: Path, raw: Path | None, out: Path | None, options: tuple[str, ...], jobs: int | None
) -> None:
    """Build a feature store from a recipe, or continue an interrupted build."""
    chosen = {}
    for option in options:
        name, separator, value = option.partition("=")
        if not separator:
            raise mstgraph.UserError(f"option '{option}' has no value; expected NAME=VALUE")
        chosen[name.strip()] = value.strip()
    mstgraph.prepare(recipe, out, raw=raw, options=chosen, jobs=jobs)
