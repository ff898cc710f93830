"""`mstgraph draw`: figures of graphs and runs as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

import mstgraph
from mstgraph.cli.options import (
    bindings,
    debug,
    device,
    method,
    notice,
)
from mstgraph.support.disk.own_folder import named_folder
from mstgraph.support.errors import UserError, nearest

PATHS = "paths"  # the figure that is drawn if none is named
ENDINGS = ("svg", "png", "pdf")


class _Drawing(click.Command):
    """Tells in its help which figures there are: those that lie in the folder of figures."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from mstgraph.viz import figures

        with formatter.section("Figures"):
            formatter.write_dl([(name, figures.meaning(name)) for name in figures.names()])


@click.command(cls=_Drawing)
@click.argument("source", nargs=-1, required=True, metavar="[FIGURE] SOURCE…")
@bindings
@click.option("--out", help="Where to write, without an ending  [RUN-FIGURE].")
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(ENDINGS),
    default=("svg", "png"),
    show_default=True,
    help="Of the picture; several are several options.",
)
@click.option("--student", help="Which student, where a run has several  [the first].")
@method
@click.option("--samples", type=click.IntRange(min=1), help="Test samples at most.")
@device
@debug
def draw(
    source: tuple[str, ...],
    bindings: tuple[str, ...],
    out: str | None,
    formats: tuple[str, ...],
    student: str | None,
    method: str,
    samples: int | None,
    device: str,
) -> None:
    """Draw a figure of a graph or of a run as a picture.

    SOURCE is the folder of a run, or of several to compare. Without FIGURE the distillation paths
    are drawn: modalities → members → specialised teachers → gate → student. For these SOURCE may
    also be gin files; of a run, the widths of the edges to the gate show how it routes the samples.

    \b
    mstgraph draw gin/mfeat_zer.gin                    the paths of a graph, before any run
    mstgraph draw runs/mfeat_zer-seed0                 and of a run, with its routing
    mstgraph draw routing runs/mfeat_zer-seed0         the gate over epochs and by class
    mstgraph draw features runs/mfeat_zer-seed0 --method tsne --format pdf
    mstgraph draw compare runs/mfeat_zer-seed*         several runs side by side
    """  # noqa: D301 (click wants the backspace itself)
    from mstgraph.viz import figures

    name, sources = _figure(source, figures.names())
    stem = None if out is None else named_folder(out, Path())
    folders = [Path(one) for one in sources if Path(one).is_dir()]
    if (bindings and folders) or (name == PATHS and folders and len(sources) > 1):
        raise UserError(
            f"'{folders[0]}' is a folder; a run is drawn alone and as it was: give no other "
            "source and no -p with it"
        )
    if not folders and name != PATHS:
        raise UserError(f"'{sources[0]}' is no folder; the figure '{name}' is one of finished runs")
    written = mstgraph.draw(
        name,
        *(sources if folders else ()),
        plan=None if folders else _of_gin(sources, bindings),
        out=stem,
        formats=formats,
        student=student,
        method=method,
        samples=samples,
        device=device,
        notice=notice,
    )
    for path in written:
        click.echo(path)


def _figure(source: Sequence[str], names: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the figure that is named first, or the paths, and the sources."""
    first, *rest = source
    if first in names and rest:
        return first, rest
    if first in names and not Path(first).exists():
        raise UserError(f"the figure '{first}' is one of runs; expected the folder of one after it")
    if rest and not Path(first).exists() and not first.endswith(".gin"):
        raise UserError(f"there is no figure and no file '{first}'{nearest(first, names)}")
    return PATHS, source


def _of_gin(files: Sequence[str], bindings: Sequence[str]) -> Any:
    """Return the plan of gin files, of which nothing has been run yet."""
    return mstgraph.load(files, *bindings, notice=notice).document()
