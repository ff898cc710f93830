"""A file's tensors as a network understands them: under its names, in its shapes, for each branch.

A backbone's names often have a prefix (``module.``), its head has another size, and its first layer
sees colours. What a network knows of that it says in a method, ``translated``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from mstgraph.distil.frozen import is_within

States = Mapping[str, Tensor]


@dataclass(frozen=True)
class Translated:
    """States as a network understands them.

    Attributes:
        values: name in the file, or in the network where it knows them under others → tensor.
        adapted: names of those whose shape it changed.
        parts: the network's parts that have a copy each.
    """

    values: States
    adapted: Collection[str] = ()
    parts: tuple[str, ...] = ()


def translated(states: States, network: nn.Module) -> Translated:
    """Return states as a network understands them, or as those of its parts do that can.

    A file is of the whole network, or of one branch alone: of that every branch gets a copy which
    it fits as well as any.
    """
    if hasattr(network, "translated"):
        return _asked(states, network)
    parts = _translating(network)
    if not parts:
        return Translated(states)
    of_parts = {path: _under(path, states) for path in parts}
    if any(of_parts.values()):
        return _part_by_part(states, parts, of_parts)
    copies = {path: _asked(states, part) for path, part in parts.items()}
    names = {path: _fitting(copies[path].values, part) for path, part in parts.items()}
    most = max([1, len(_fitting(states, network)), *map(len, names.values())])
    best = tuple(path for path in parts if len(names[path]) == most)
    if len(best) < 2:
        return copies[best[0]] if best else Translated(states)
    values = {f"{p}.{name}": copies[p].values[key] for p in best for key, name in names[p].items()}
    adapted = {f"{p}.{names[p][key]}" for p in best for key in copies[p].adapted if key in names[p]}
    taken, own = {key for path in best for key in names[path]}, network.state_dict()
    left = {k: v for k, v in states.items() if k not in taken and not fits(k, v, own)}
    return Translated({**left, **values}, adapted, best)


def _asked(states: States, module: nn.Module) -> Translated:
    found: States = module.translated(states)  # type: ignore[operator]
    changed = {n for n, v in found.items() if n in states and v.shape != states[n].shape}
    return Translated(found, changed)


def _translating(network: nn.Module) -> dict[str, nn.Module]:
    """Return path → module of the outermost modules that translate states."""
    found: dict[str, nn.Module] = {}
    for path, module in network.named_modules():
        if hasattr(module, "translated") and not is_within(path, tuple(found)):
            found[path] = module
    return found


def _under(path: str, states: States) -> dict[str, str]:
    """Return name in the file → name within a part, whatever precedes the part's path."""
    marked = {key: f".{key}".partition(f".{path}.")[2] for key in states}
    return {key: name for key, name in marked.items() if name}


def _part_by_part(
    states: States, parts: Mapping[str, nn.Module], names: Mapping[str, Mapping[str, str]]
) -> Translated:
    """Return the states of a whole network, those of each part as the part understands them."""
    values, adapted = dict(states), set()
    for path, part in parts.items():
        asked = _asked({name: states[key] for key, name in names[path].items()}, part)
        values |= {k: asked.values[n] for k, n in names[path].items() if n in asked.values}
        adapted |= {key for key, name in names[path].items() if name in asked.adapted}
    return Translated(values, adapted)


def _fitting(states: States, module: nn.Module) -> dict[str, str]:
    """Return name in the file → name in a module of what it can take."""
    own = module.state_dict()
    renamed = aligned(states, own)
    return {key: name for key, name in renamed.items() if fits(name, states[key], own)}


def fits(name: str, value: Tensor, own: States) -> bool:
    """Say whether a network has a tensor of this name and shape."""
    return name in own and own[name].shape == value.shape


def aligned(states: States, own: States) -> dict[str, str]:
    """Return name in the file → name in the network, prefixes taken off or put on.

    Of all prefixes those that let most tensors fit; none of them if that is as good.
    """

    def fitting(names: Mapping[str, str]) -> int:
        return sum(fits(name, states[key], own) for key, name in names.items())

    return max(_renamings(states, own), key=fitting)


def _renamings(states: States, own: States) -> Iterator[dict[str, str]]:
    common = [p for p in _prefixes(states) if all(key.startswith(p) for key in states)]
    for base in dict.fromkeys(("", *common[-1:])):
        names = {key: key.removeprefix(base) for key in states}
        yield names
        for prefix in _prefixes(names.values()):
            within = {k: n.removeprefix(prefix) for k, n in names.items() if n.startswith(prefix)}
            yield within
        for prefix in _prefixes(own):
            yield {key: prefix + name for key, name in names.items()}


def _prefixes(names: Collection[str]) -> dict[str, None]:
    """Return all that ends with a dot and begins a name, shortest first."""
    found = {name[: i + 1] for name in names for i, letter in enumerate(name) if letter == "."}
    return dict.fromkeys(sorted(found, key=lambda prefix: (len(prefix), prefix)))
