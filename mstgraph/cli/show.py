"""``mstgraph show``."""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

import mstgraph
from mstgraph.cli.options import (
    GivenPath,
    all_bindings,
    bindings,
    console,
    debug,
    files,
    no_cache,
    notice,
    precision,
    seed,
)


@click.command()
@files
@bindings
@seed
@precision
@no_cache
@click.option("--json", "form", flag_value="json", help="Print the plan as JSON.")
@click.option("--dot", "form", flag_value="dot", help="Print the graph for Graphviz.")
@click.option("--mermaid", "form", flag_value="mermaid", help="Print the graph for Mermaid.")
@click.option("--out", type=GivenPath(), help="Run folder to compare with.")
@debug
def show(
    files: tuple[str, ...],
    bindings: tuple[str, ...],
    seed: int | None,
    precision: str | None,
    no_cache: bool,
    form: str | None,
    out: Path | None,
) -> None:
    """Show what a graph implies: members, teachers, δ(j), the schedule, what is done already.

    Networks are built without memory and no data is read, so this is quick for any size.
    """
    # Torch's modules come to stay; looking through them for garbage would take half a second, now
    # and at the end. Whoever has torch already has other things that come and go.
    gc.disable()
    click.get_current_context().call_on_close(gc.enable)
    alone = "torch" not in sys.modules
    load = mstgraph.load  # imports torch
    if alone:
        gc.freeze()
    chosen = all_bindings(bindings, seed, precision, no_cache)
    experiment = load(files, *chosen, notice=notice)
    if form is None:
        experiment.show(console(), out)
        return
    from mstgraph.report.show import dot, mermaid

    printers: dict[str, Callable[[Any], str]] = {
        "json": lambda document: json.dumps(document, indent=2, ensure_ascii=False),
        "dot": dot,
        "mermaid": mermaid,
    }
    click.echo(printers[form](experiment.document(out)))
