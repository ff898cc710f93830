"""``mstgraph eval``."""

from __future__ import annotations

import json
from pathlib import Path

import click

import mstgraph
from mstgraph.cli.options import (
    GivenPath,
    console,
    debug,
    device,
    no_code,
    notice,
)


@click.command("eval")
@click.argument("run_folder", type=GivenPath(), metavar="RUN")
@click.option("--split", help="Another split of the store (0 to 4, official) [the run's own].")
@click.option(
    "--part",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    show_default=True,
)
@device
@click.option("--json", "as_json", is_flag=True, help="Print metrics as JSON.")
@no_code
@debug
def evaluate(
    run_folder: Path, split: str | None, part: str, device: str, as_json: bool, no_code: bool
) -> None:
    """Evaluate a finished run: every student, alone and distilled, and every teacher.

    A run's folder is code: the modules that its networks come from lie in it and are imported. Of
    a run that you got from somebody else, read them first, or say --no-code.
    """
    from mstgraph.support.files import json_ready

    run = mstgraph.open_run(run_folder)
    result = run.evaluate(split, part, device, code=False if no_code else None, notice=notice)
    if as_json:
        click.echo(json.dumps(json_ready(result), indent=2, ensure_ascii=False))
        return
    from mstgraph.report.evaluation import print_evaluation

    print_evaluation(result, console())
