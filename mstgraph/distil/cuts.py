"""Cutting a network at its mask points: what comes before them, and what comes after.

A frozen teacher's activations before a mask point do not depend on the MaskNet, so several
specialised teachers can share them, and they can be kept (DESIGN: never compute what cannot
change). torch.fx traces the network; one that cannot be traced is run whole, slower, never wrong.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, fx, nn

from mstgraph.distil.insertion import rewritten, tapped
from mstgraph.distil.overwriting import is_copy, overwrite_copies
from mstgraph.distil.shapes import OnlyShapes
from mstgraph.networks.inputs import drawn, dtype_of
from mstgraph.support.seeds import python_seeded, seed_torch

PROBE_BATCH = 3
ROUNDING = 1e-4  # of the largest value

Crossing = Mapping[str, tuple[tuple[int, ...], torch.dtype]]
"""What crosses the cuts: name → (shape without batch, type)."""


class Cut:
    """A network cut at some of its modules.

    Args:
        network: the network; the cut shares its submodules and so its weights.
        points: dotted paths of the modules to cut at.

    Raises:
        ValueError: the network cannot be cut there.
    """

    def __init__(self, network: nn.Module, points: Sequence[str]):
        graph = _Tracer(points).trace(network)
        overwrite_copies(graph, network, frozenset(points))
        nodes = {point: _node_at(graph, point) for point in points}
        crossing = {point: _crossing(graph, node) for point, node in nodes.items()}
        ordered = [n for n in graph.nodes if any(n in group for group in crossing.values())]
        self.names = tuple(node.name for node in ordered)
        self._points = {point: node.name for point, node in nodes.items()}
        self._trunk = fx.GraphModule(network, graph_part(graph, ordered))
        self._tails = {
            point: _Tail(network, graph, nodes[point], crossing[point]) for point in points
        }

    def trunk(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return what crosses the cuts: name → [batch, ...], for all points at once."""
        return dict(zip(self.names, self._trunk(*inputs), strict=True))

    def tail(self, point: str, values: Mapping[str, Tensor], masknet: nn.Module) -> Tensor:
        """Return the network's output with the feature at a point rewritten by ``masknet``."""
        tail = self._tails[point]
        feature = rewritten(masknet, values[self._points[point]])
        return tail.module(feature, *(values[name] for name in tail.others))

    def needed(self, point: str) -> tuple[str, ...]:
        """Return the names of the values that the tail of a point reads."""
        return (self._points[point], *self._tails[point].others)


class _Tail:
    """The part of a network that depends on the module at a point."""

    def __init__(
        self, network: nn.Module, graph: fx.Graph, at: fx.Node, crossing: Iterable[fx.Node]
    ):
        others = [node for node in graph.nodes if node in crossing and node is not at]
        self.others = tuple(node.name for node in others)
        tail = fx.Graph()
        copies = {node: tail.placeholder(node.name) for node in (at, *others)}
        after = _after(at)
        for node in graph.nodes:
            if node in after or (node.op == "get_attr" and after & set(node.users)):
                copies[node] = tail.node_copy(node, lambda n: copies[n])
        tail.lint()
        self._network, self._graph = network, tail

    @functools.cached_property
    def module(self) -> fx.GraphModule:
        """What runs, compiled when it first does: a probe runs no tail."""
        return fx.GraphModule(self._network, self._graph)


class _Tracer(fx.Tracer):
    """Keeps the modules at mask points whole; looks into all others that are not torch's own."""

    def __init__(self, points: Iterable[str]):
        super().__init__()
        self._whole = frozenset(points)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_qualified_name in self._whole or super().is_leaf_module(
            m, module_qualified_name
        )


def _node_at(graph: fx.Graph, point: str) -> fx.Node:
    found = [n for n in graph.nodes if n.op == "call_module" and n.target == point]
    if len(found) != 1:
        raise ValueError(f"the network calls '{point}' {len(found)} times on its traced path")
    return found[0]


def _after(at: fx.Node) -> set[fx.Node]:
    """All nodes that depend on a node, and the copies that they overwrite."""
    after = _reachable([at], lambda node: node.users)
    return after | {n for node in after for n in node.all_input_nodes if is_copy(n)}


def _reachable(
    start: Sequence[fx.Node], step: Callable[[fx.Node], Iterable[fx.Node]]
) -> set[fx.Node]:
    seen: set[fx.Node] = set()
    waiting = [node for origin in start for node in step(origin)]
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting.extend(step(node))
    return seen


def _crossing(graph: fx.Graph, at: fx.Node) -> set[fx.Node]:
    """The node itself, and whatever comes before the cut and is used behind it."""
    after = _after(at)
    found = {
        node
        for node in graph.nodes
        if node not in after and node.op != "get_attr" and after & set(node.users)
    }
    if any(node.op == "placeholder" for node in found):
        raise ValueError("the network hands its inputs past the cut")
    return found | {at}


def graph_part(
    graph: fx.Graph, wanted: Sequence[fx.Node], given: Sequence[fx.Node] = ()
) -> fx.Graph:
    """Return the graph from the inputs, and from what is given beside them, to some of the nodes.

    Args:
        graph: the whole.
        wanted: what it returns, as a tuple; or the output of the whole, alone.
        given: what it does not compute but takes, after the inputs.
    """
    part = fx.Graph()
    needed = {*wanted, *_reachable(wanted, lambda n: () if n in given else n.all_input_nodes)}
    inputs = [node for node in graph.nodes if node.op == "placeholder"]
    copies = {node: part.node_copy(node) for node in inputs}
    copies |= {node: part.placeholder(node.name) for node in given}
    for node in graph.nodes:
        if node in needed and node not in copies:
            copies[node] = part.node_copy(node, lambda n: copies[n])
    if wanted[0].op != "output":
        part.output(tuple(copies[node] for node in wanted))
    part.lint()
    return part


def probe_cut(
    network: nn.Module, points: Sequence[str], shapes: Mapping[str, tuple[int, ...]]
) -> Crossing | None:
    """Return what crosses the cuts of a network, or None if it has to run whole.

    Args:
        network: an eval-mode network.
        points: mask points.
        shapes: modality → shape of a sample, to probe what crosses.
    """
    try:
        return crossing_shapes(Cut(network, points).trunk, network, shapes)
    except Exception:  # torch.fx raises whatever the network's own code raises on its proxies
        return None


def crossing_shapes(
    trunk: Callable[[Sequence[Tensor]], Mapping[str, Tensor]],
    network: nn.Module,
    shapes: Mapping[str, tuple[int, ...]],
) -> Crossing | None:
    """Return name → (shape without batch, dtype) of what crosses, or None if it is no batch.

    A value that is no tensor, or whose first extent is not the batch, cannot be kept by sample.
    """
    state = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    device = next(iter(state.values())).device if state else torch.device("cpu")
    samples = [
        torch.zeros(PROBE_BATCH, *shape, dtype=dtype_of(shape), device=device)
        for shape in shapes.values()
    ]
    only_shapes = OnlyShapes() if device.type == "meta" else nullcontext()
    with torch.no_grad(), only_shapes:
        values = trunk(samples)
    for value in values.values():
        if not isinstance(value, Tensor) or value.dim() < 1 or len(value) != PROBE_BATCH:
            return None
    return {name: (tuple(value.shape[1:]), value.dtype) for name, value in values.items()}


def holds(
    cut: Cut, network: nn.Module, points: Sequence[str], shapes: Mapping[str, tuple[int, ...]]
) -> bool:
    """Say whether a cut gives, in value, what its network gives; asked on random input.

    Trunk and tails with an identity mask equal the whole network, what crosses at each point is
    what the layer returned there, and no tail changes what others read.

    Args:
        cut: the cut.
        network: the eval-mode network that it was made from.
        points: where it is cut.
        shapes: modality → shape of a sample.
    """
    device = next(iter(network.state_dict().values()), torch.empty(0)).device
    try:
        with torch.random.fork_rng(), python_seeded(0), torch.no_grad():
            seed_torch(0)
            inputs = [drawn(PROBE_BATCH, shape).to(device) for shape in shapes.values()]
            with tapped(network, points) as features:
                whole = network(*(values.clone() for values in inputs))
            crossing = cut.trunk([values.clone() for values in inputs])
            before = {name: value.clone() for name, value in crossing.items()}
            answers = [cut.tail(point, crossing, nn.Identity()) for point in points]
    except Exception:  # whatever the network's own code raises on such input
        return False
    pairs = [(answer, whole) for answer in answers]
    pairs += [(before[cut.needed(point)[0]], features[point]) for point in points]
    pairs += [(crossing[name], value) for name, value in before.items()]
    return all(alike(found, expected) for found, expected in pairs)


def alike(found: Tensor, expected: Tensor) -> bool:
    """Say whether two tensors are the same but for rounding."""
    largest = float(expected.abs().max()) if expected.numel() else 0.0
    return found.shape == expected.shape and torch.allclose(
        found, expected, rtol=ROUNDING, atol=ROUNDING * largest, equal_nan=True
    )
