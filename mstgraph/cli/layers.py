"""``mstgraph layers``."""

from __future__ import annotations

import json

import click

import mstgraph
from mstgraph.cli.options import bindings, console, debug, files, notice


@click.command()
@files
@click.argument("member")
@bindings
@click.option("--json", "as_json", is_flag=True, help="Print the layers as JSON.")
@debug
def layers(files: tuple[str, ...], member: str, bindings: tuple[str, ...], as_json: bool) -> None:
    """Show the layers of a MEMBER's network: shapes, and where a MaskNet can be put.

    A path of this tree is what ``Member.masks``, ``.penultimate``, ``.hints`` and ``.frozen`` name.
    """
    found = mstgraph.load(files, *bindings, notice=notice).layers(member)
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    from mstgraph.report.layers import print_layers

    print_layers(member, found, console())
