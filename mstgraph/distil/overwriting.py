"""Operations that overwrite a tensor, in a traced network: each is given a copy to overwrite.

A graph cut in two has to read the same values in whatever order and however often its pieces run.
`nn.ReLU(inplace=True)`, `F.relu(h, inplace=True)` and `h.add_(x)` change a value that somebody else
may still read: what a layer returned, what is kept, what two masks share.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

from torch import fx, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

COPY = "copy to overwrite"
MAKES_ANEW = (_ConvNd, _NormBase, nn.Linear, nn.LayerNorm, nn.GroupNorm)
"""Layers whose output is a tensor of its own, in evaluation too, and no view of their input."""


def overwrite_copies(graph: fx.Graph, network: nn.Module, read: frozenset[str]) -> None:
    """Let what overwrites a value overwrite a copy, which all that comes later reads.

    Views of an overwritten value are not followed; see `mstgraph.distil.cuts.holds`.

    Args:
        graph: a traced network, which is changed.
        network: the network.
        read: dotted paths of the modules whose output somebody reads from outside.
    """
    places = {node: place for place, node in enumerate(graph.nodes)}
    for node, place in places.items():
        target = _overwritten(node, network)
        if target is None or _nobody_else_reads(target, node, network, read):
            continue
        later = {user for user in target.users if places.get(user, -1) > place}
        target.replace_all_uses_with(node, delete_user_cb=later.__contains__)
        with graph.inserting_before(node):
            copy = graph.call_method("clone", (target,))
        copy.meta[COPY] = True
        node.replace_input_with(target, copy)


def is_copy(node: fx.Node) -> bool:
    """Say whether a node is a copy that the next one overwrites, and nobody else reads."""
    return COPY in node.meta


def _overwritten(node: fx.Node, network: nn.Module) -> fx.Node | None:
    """Return the value that a node overwrites, which is then the node's own, or None."""
    if node.op == "call_module":
        module = network.get_submodule(str(node.target))
        found = node.args[0] if node.args and getattr(module, "inplace", False) is True else None
    elif node.op == "call_method":
        found = node.args[0] if _is_in_place(str(node.target)) else None
    elif node.op == "call_function":
        found = _overwritten_by_function(node)
    else:
        found = None
    return found if isinstance(found, fx.Node) else None


def _overwritten_by_function(node: fx.Node) -> Any:
    function, arguments = node.target, _arguments(node)
    if "out" in node.kwargs:
        return node.kwargs["out"]
    in_place = _is_in_place(getattr(function, "__name__", "")) or arguments.get("inplace") is True
    return next(iter(arguments.values()), None) if in_place else None


def _arguments(node: fx.Node) -> dict[str, Any]:
    """Return the arguments of a call by name, as far as its function says them."""
    function = cast(Callable[..., Any], node.target)
    try:
        return dict(inspect.signature(function).bind(*node.args, **node.kwargs).arguments)
    except (TypeError, ValueError):  # a function of torch's without a signature
        return {**{str(place): value for place, value in enumerate(node.args)}, **node.kwargs}


def _is_in_place(name: str) -> bool:
    """Torch marks what overwrites its first argument by a trailing underscore."""
    return name.endswith("_") and not name.endswith("__")


def _nobody_else_reads(
    target: fx.Node, node: fx.Node, network: nn.Module, read: frozenset[str]
) -> bool:
    """Say whether a value can be overwritten without anybody's notice, as after a convolution."""
    return (
        target.op == "call_module"
        and target.target not in read
        and isinstance(network.get_submodule(str(target.target)), MAKES_ANEW)
        and set(target.users) == {node}
        and node.all_input_nodes == [target]
    )
