"""The layers of a member's network as a person reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.tree import Tree

from mstgraph.support.text import shape_in_words


def print_layers(member: str, layers: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print a tree of layers: what each returns, and whether it can be a mask point.

    Args:
        member: name of the member.
        layers: see `mstgraph.api.experiment.Experiment.layers`.
        console: where to.
    """
    tree = Tree(f"[bold]{member}[/] (paths are written from the root, 'outer.inner')")
    branches = {"": tree}
    for layer in layers:
        parent = branches[layer["path"].rpartition(".")[0]]
        branches[layer["path"]] = parent.add(_line(layer), highlight=False)
    console.print(tree)


def _line(layer: Mapping[str, Any]) -> str:
    shape = f" · {shape_in_words(layer['shape'])}" if layer["shape"] is not None else ""
    count = f" · {layer['parameters']:,} parameters" if layer["parameters"] else ""
    roles = f" · [cyan]{', '.join(layer['roles'])}[/]" if layer["roles"] else ""
    end = f"[dim]no mask point: {layer['problem']}[/]" if layer["problem"] else "mask point"
    return f"[bold]{layer['path']}[/] {layer['layer']}{shape}{count}{roles} · {end}"
