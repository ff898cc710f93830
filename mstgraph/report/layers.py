"""The layers of a member's network: what they return, and where a MaskNet can be put."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gin
import torch
from rich.console import Console
from rich.tree import Tree

from mstgraph.derive.experiment import Experiment
from mstgraph.derive.parts import count_parameters
from mstgraph.distil.shapes import OnlyShapes
from mstgraph.methods.loss import ROLES
from mstgraph.support.errors import UserError, in_words, nearest
from mstgraph.support.text import shape_in_words

FROZEN, MASKS = "frozen", "masks"


def layers_of(experiment: Experiment, name: str) -> list[dict[str, Any]]:
    """Return the layers of a member, see `mstgraph.api.experiment.Experiment.layers`.

    Args:
        experiment: whose gin state is entered.
        name: the member's.

    Raises:
        UserError: there is no such member; the nearest name.
    """
    members = experiment.plan.graph.members
    if name not in members:
        raise UserError(f"there is no member '{name}'{nearest(name, members)}")
    member = members[name]
    network, found = experiment.parts.layers(name)
    declared = {MASKS: member.masks, FROZEN: member.frozen}
    declared |= {role: member.layers(role) for role in ROLES}
    rows = []
    for path, seen in found.items():
        module = network.get_submodule(path)
        shape = list(seen) if isinstance(seen, tuple) else None
        rows.append(
            {
                "path": path,
                "layer": type(module).__name__,
                "parameters": count_parameters(module),
                "roles": [role for role, paths in declared.items() if path in paths],
                "shape": shape,
                "problem": seen if isinstance(seen, str) else _refused(experiment, name, seen),
            }
        )
    return rows


def _refused(experiment: Experiment, name: str, shape: tuple[int, ...]) -> str:
    """Return why what the member inserts at mask points takes no feature of a shape, or ""."""
    mask = experiment.plan.graph.members[name].mask
    try:
        with gin.config_scope(name), torch.device("meta"), OnlyShapes():
            mask(shape)
    except UserError as error:
        return str(error).splitlines()[0]
    except Exception as error:  # whatever a mask of the user's raises
        return in_words(error)
    return ""


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
