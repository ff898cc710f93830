"""``mstgraph new``."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

import mstgraph
from mstgraph.cli.options import INTERRUPTED, GivenPath, console, debug, notice


@click.command()
@click.argument("folder", type=GivenPath())
@click.option(
    "--from",
    "source",
    type=GivenPath(),
    required=True,
    help="Table (.csv, .tsv, .parquet), folder of files, or saved data set.",
)
@click.option("--label", help="Column of what is predicted  [label].")
@click.option(
    "--task",
    type=click.Choice(["classification", "regression"]),
    help="Whether that is classes or numbers  [numbers, if many of them are different].",
)
@click.option("--split", help="Column of train, validation and test  [split].")
@click.option("--target", help="Modality that the student sees  [a picture].")
@click.option("--synthetic", default="", help="What must be said of data that is not real.")
@debug
def new(
    folder: Path,
    source: Path,
    label: str | None,
    task: str | None,
    split: str | None,
    target: str | None,
    synthetic: str,
) -> None:
    """Begin with data of your own: writes a recipe, a gin file and a README into FOLDER."""
    gin_file = mstgraph.new(
        folder, source, label=label, split=split, target=target, synthetic=synthetic, task=task
    )
    written = ", ".join(sorted(file.name for file in folder.iterdir()))
    click.echo(f"written to {folder}: {written}")
    readme = (folder / "README.md").read_text(encoding="utf-8")
    click.echo(readme.partition("\n\n")[2].partition("\n\n|")[0])  # what was found
    try:
        mstgraph.prepare(folder / "recipe.py", folder / "store", raw=source)
    except KeyboardInterrupt:
        notice("stopped; the same command continues")
        sys.exit(INTERRUPTED)
    mstgraph.load(gin_file, notice=notice).show(console())
    click.echo(
        f"Edit {folder / 'recipe.py'} for what is read (columns, sizes, whose the data is), "
        f"{gin_file} for networks, teachers and epochs; then: mstgraph run "
        f"{shlex.quote(str(gin_file))}"
    )
