"""Which layers a network proposes for the roles of a member, where a gin file names none.

A network class that has a property ``roles`` proposes some: role → dotted paths of its modules.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

Roles = Mapping[str, tuple[str, ...]]
"""``penultimate``, ``hints`` and ``masks`` → dotted paths of modules."""


def layer_roles(hints: tuple[str, ...], penultimate: str, masks: tuple[str, ...] = ()) -> Roles:
    """Return roles by name; masks go where hints are, unless told otherwise."""
    return {"penultimate": (penultimate,), "hints": hints, "masks": masks or hints}


def numbered(name: str, count: int) -> tuple[str, ...]:
    """Return the last two of ``name1``, ``name2``, … ``nameN``."""
    return tuple(f"{name}{number}" for number in range(max(1, count - 1), count + 1))


def last_blocks(network: nn.Module, head: str = "") -> tuple[str, ...]:
    """Return the last two blocks of a backbone: of its outermost, last row of modules.

    Rows are what torch calls `nn.Sequential` and `nn.ModuleList`, but not such as stand side by
    side in one module, which are branches. Where there is none, the network's last two children
    with weights count.

    Args:
        network: the backbone.
        head: its child that is no block, such as what is left of its classifier.
    """
    rows = [] if isinstance(network, nn.ModuleDict) else _rows(network, head)
    if rows:
        outermost = min(name.count(".") for name in rows)
        name = [row for row in rows if row.count(".") == outermost][-1]
        return tuple(f"{name}.{child}" for child in [*network.get_submodule(name)._modules][-2:])
    weighted = [n for n, m in network.named_children() if next(m.parameters(), None) is not None]
    return tuple(name for name in weighted if name != head)[-2:]


def _rows(network: nn.Module, head: str) -> list[str]:
    rows = [
        name
        for name, module in network.named_modules()
        if name and name.split(".")[0] != head and _is_row(module)
    ]
    parents = [name.rpartition(".")[0] for name in rows]
    return [
        n
        for n, parent in zip(rows, parents, strict=True)
        if parents.count(parent) == 1 or not parent
    ]


def _is_row(module: nn.Module) -> bool:
    if not isinstance(module, (nn.Sequential, nn.ModuleList)) or len(module) < 2:
        return False
    return not any(isinstance(child, nn.ModuleList) for child in module)
