"""``mstgraph eval``."""

from __future__ import annotations

import json
from pathlib import Path

import click

import mstgraph
from mstgraph.cli.options import GivenPath, console, debug


@click.command("eval")
@click.argument("run_folder", type=GivenPath(), metavar="RUN")
@click.option("--split", help="Another split of the store (0 to 4, official) [the run's own].")
@click.option(
    "--part",
    type=click.Choice(["train", "validation", "test"]),
    default="test",
    show_default=True,
)
@click.option("--device", default="auto", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print metrics as JSON.")
@debug
def evaluate(run_folder: Path, split: str | None, part: str, device: str, as_json: bool) -> None:
    """Evaluate a finished run: every student, alone and distilled, and every teacher."""
    from mstgraph.support.files import json_ready

    result = mstgraph.open_run(run_folder).evaluate(split, part, device)
    if as_json:
        click.echo(json.dumps(json_ready(result), indent=2, ensure_ascii=False))
        return
    from mstgraph.report.evaluation import print_evaluation

    print_evaluation(result, console())
