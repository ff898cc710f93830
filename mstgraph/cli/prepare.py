"""``mstgraph prepare``."""

from __future__ import annotations

from pathlib import Path

import click

import mstgraph
from mstgraph.cli.options import GivenPath, debug, reading_jobs, recipe_option, recipe_options


@click.command()
@click.argument("recipe", type=GivenPath())
@click.option("--raw", type=GivenPath(), help="Raw data that the recipe reads.")
@click.option("--out", type=GivenPath(), help="Store [stores/RECIPE].")
@recipe_option
@reading_jobs
@click.option(
    "--shards",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Parts that the store consists of, each of which can be copied before the next is begun.",
)
@debug
def prepare(
    recipe: Path,
    raw: Path | None,
    out: Path | None,
    options: tuple[str, ...],
    jobs: int | None,
    shards: int,
) -> None:
    """Build a feature store from a recipe, or continue an interrupted build."""
    chosen = recipe_options(options)
    mstgraph.prepare(recipe, out, raw=raw, options=chosen, jobs=jobs, shards=shards)
