"""`mstgraph draw`: the distillation paths of a graph as one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

import mstgraph
from mstgraph.cli.options import bindings, debug, notice
from mstgraph.support.disk.own_folder import named_folder
from mstgraph.support.errors import UserError

Routing = Mapping[str, Sequence[Mapping[str, Any]]]


@click.command()
@click.argument("source", nargs=-1, required=True)
@bindings
@click.option("--out", help="Where to write, without .svg and .png  [NAME-paths].")
@debug
def draw(source: tuple[str, ...], bindings: tuple[str, ...], out: str | None) -> None:
    """Draw the distillation paths of a graph as one picture, as SVG and as PNG.

    SOURCE is a gin file, or several, or the folder of a finished run; then the widths of the
    edges to the gate show how it routes the samples.

    Modalities → members → specialised teachers → gate → student, with losses and stages on the
    edges.
    """
    from mstgraph.viz.canvas import write_picture
    from mstgraph.viz.paths.paths import draw_paths

    stem = None if out is None else named_folder(out, Path())
    folders = [name for name in source if Path(name).is_dir()]
    if folders and (len(source) > 1 or bindings):
        raise UserError(
            f"'{folders[0]}' is a folder; a run is drawn alone and as it was: give no other "
            "source and no -p with it"
        )
    document, routing = _of_run(Path(folders[0])) if folders else (_of_gin(source, bindings), {})
    picture = draw_paths(document, routing)
    for path in write_picture(picture, stem or Path(f"{document['name']}-paths")):
        click.echo(path)


def _of_gin(files: Sequence[str], bindings: Sequence[str]) -> Mapping[str, Any]:
    """Return the plan of gin files, of which nothing has been run yet."""
    return mstgraph.load(files, *bindings, notice=notice).document()


def _of_run(folder: Path) -> tuple[Mapping[str, Any], Routing]:
    """Return the plan that a run followed and the routing that it ended with; runs no code."""
    for name in ("plan.json", "summary.json"):
        if not (folder / name).is_file():
            raise UserError(
                f"'{folder}' has no {name}; expected the folder of a finished run, or a gin file"
            )
    from mstgraph.run.artefacts.forms import PlanDocument, SummaryRouting
    from mstgraph.support.disk.descriptions import read_description

    advice = "give the run's command again to have it written anew"
    plan: Mapping[str, Any] = read_description(folder / "plan.json", PlanDocument, advice)
    summary = read_description(folder / "summary.json", SummaryRouting, advice)
    return plan, summary.get("routing", {})
