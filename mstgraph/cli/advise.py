"""``mstgraph advise``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

import mstgraph
from mstgraph.cli.options import (
    INTERRUPTED,
    GivenPath,
    all_bindings,
    bindings,
    console,
    debug,
    device,
    no_code,
    notice,
    precision,
    seed,
)


@click.command()
@click.argument("files", nargs=-1, metavar="[GIN…]")
@bindings
@seed
@precision
@click.option("--epochs", type=int, help="Of each member alone [as Pretrain.epochs says].")
@click.option(
    "--run",
    "run_folder",
    type=GivenPath(),
    metavar="RUN",
    help="Ask the members of a finished run, in place of GIN.",
)
@device
@click.option("--out", type=GivenPath(), help="Folder [runs/NAME-advise-seedN].")
@click.option("--json", "as_json", is_flag=True, help="Print the advice as JSON.")
@no_code
@debug
def advise(
    files: tuple[str, ...],
    bindings: tuple[str, ...],
    seed: int | None,
    precision: str | None,
    epochs: int | None,
    run_folder: Path | None,
    device: str,
    out: Path | None,
    as_json: bool,
    no_code: bool,
) -> None:
    """Say whether distillation will help, before the whole run is paid.

    Trains each member alone, or takes those of a finished run, and measures on validation: who is
    right where the student is wrong, and what of it the student's modality can see. Ranks the
    edges, says what to drop, and predicts the gain roughly (docs/advise.md says how well).
    """
    if bool(files) == bool(run_folder):
        raise mstgraph.UserError("advise takes gin files, or --run with a finished run's folder")
    if run_folder:
        advice = mstgraph.open_run(run_folder).advise(
            device, code=False if no_code else None, notice=notice
        )
    else:
        chosen = all_bindings(bindings, seed, precision, no_cache=False)
        experiment = mstgraph.load(files, *chosen, notice=notice)
        try:
            advice = experiment.advise(epochs, out, device=device, progress=not as_json)
        except mstgraph.Interrupted as stopped:
            notice(f"stopped in stage {stopped}; the same command continues there")
            sys.exit(INTERRUPTED)
    if as_json:
        click.echo(json.dumps(advice.document(), indent=2, ensure_ascii=False))
    else:
        advice.show(console())
