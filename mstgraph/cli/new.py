"""``mstgraph new``."""

from __future__ import annotations

from pathlib import Path

import click

import mstgraph
from mstgraph.cli.options import GivenPath, console, debug, notice


@click.command()
@click.argument("folder", type=GivenPath())
@click.option(
    "--from",
    "source",
    type=GivenPath(),
    required=True,
    help="Table (.csv, .tsv, .parquet), folder of files, or saved data set.",
)
@click.option("--label", help="Column of classes  [label].")
@click.option("--split", help="Column of train, validation and test  [split].")
@click.option("--target", help="Modality that the student sees  [a picture].")
@click.option("--synthetic", default="", help="What must be said of data that is not real.")
@debug
def new(
    folder: Path,
    source: Path,
    label: str | None,
    split: str | None,
    target: str | None,
    synthetic: str,
) -> None:
    """Begin with data of your own: writes a recipe, a gin file and a README into FOLDER."""
    gin_file = mstgraph.new(
        folder, source, label=label, split=split, target=target, synthetic=synthetic
    )
    written = ", ".join(sorted(file.name for file in folder.iterdir()))
    click.echo(f"written to {folder}: {written}")
    mstgraph.prepare(folder / "recipe.py", folder / "store", raw=source)
    mstgraph.load(gin_file, notice=notice).show(console())
    click.echo(
        f"Edit {folder / 'recipe.py'} for what is read (columns, sizes, whose the data is), "
        f"{gin_file} for networks, teachers and epochs; then: mstgraph run {gin_file}"
    )
