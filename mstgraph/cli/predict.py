"""``mstgraph predict``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import mstgraph
from mstgraph.cli.options import (
    GivenPath,
    console,
    debug,
    device,
    member,
    notice,
)

if TYPE_CHECKING:
    from mstgraph.predict.prediction import Prediction
    from mstgraph.tasks.task import Task


@click.command()
@click.argument("run_folder", type=GivenPath(), metavar="RUN")
@click.argument("inputs", nargs=-1, required=True, metavar="INPUT…")
@member
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each item.")
@click.option("--pictures", type=GivenPath(), help="Folder for maps as PNG, of a segmentation.")
@click.option("--batch", type=int, default=64, show_default=True, help="Items at a time.")
@device
@click.option("--no-code", is_flag=True, help="Refuse modules and a recipe of the run's own.")
@debug
def predict(
    run_folder: Path,
    inputs: tuple[str, ...],
    member: str | None,
    as_json: bool,
    pictures: Path | None,
    batch: int,
    device: str,
    no_code: bool,
) -> None:
    """Let a student answer to raw items, read as its recipe reads them.

    INPUT is a file, a folder of files, a table whose rows are items (.csv, .tsv), or - for lines of
    standard input. What cannot be read is named and skipped; the exit code is then 1.

    A run's folder is code, and so is the recipe that its configuration names: see `mstgraph eval
    --help`.
    """
    run = mstgraph.open_run(run_folder)
    code = False if no_code else None
    found = run.predict(inputs, member=member, batch=batch, device=device, code=code, notice=notice)
    said = []
    for document in _documents(found, found.task, pictures, batch):
        if as_json:
            click.echo(json.dumps(document, ensure_ascii=False))
        else:
            said.append(document)
    if not as_json:
        from mstgraph.report.predictions import print_predictions

        print_predictions(said, console())
    sys.exit(1 if found.skipped else 0)


def _documents(
    found: Iterable[Prediction], task: Task, pictures: Path | None, batch: int
) -> Iterator[dict[str, Any]]:
    if pictures is None:
        yield from (prediction.document() for prediction in found)
        return
    from mstgraph.predict.pictures import draw_maps

    for prediction, place in draw_maps(found, task, pictures, batch):
        yield {**prediction.document(), "picture": str(place)}
