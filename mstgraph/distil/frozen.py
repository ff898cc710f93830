"""Cutting a network behind its frozen modules: what cannot change while it trains, and the rest.

What comes before the first module that trains depends on the sample alone, so it can be kept.
torch.fx traces the network, in training and in eval mode, as what it does may differ; one that
cannot be traced is run whole, slower, never wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mstgraph.distil.cuts import PROBE_BATCH, Crossing, alike, crossing_shapes, graph_part
from mstgraph.distil.insertion import tapped
from mstgraph.networks.inputs import drawn
from mstgraph.support.seeds import python_seeded, seed_torch

RANDOM = ("dropout", "rrelu", "fractional", "rand", "bernoulli", "multinomial", "normal_", "gumbel")
"""What is in the name of torch's layers and functions that draw random numbers."""


def is_within(name: str, paths: Sequence[str]) -> bool:
    """Say whether a dotted name is one of the paths, or of something inside of it."""
    return any(name == path or name.startswith(f"{path}.") for path in paths)


def freeze(network: nn.Module, paths: Sequence[str]) -> None:
    """Put modules of a network into eval mode and their parameters beyond all gradients."""
    for path in paths:
        network.get_submodule(path).eval().requires_grad_(False)


class FrozenCut:
    """A network cut where its frozen modules end.

    Args:
        network: the network; the cut shares its submodules and so its weights.
        frozen: dotted paths of the modules that never train.
        taps: layers whose outputs are wanted, too.

    Attributes:
        names: of what crosses the cut.
        needed: places of the inputs that are still read behind it.
        taps: layer before the cut → name of its output among what crosses.

    Raises:
        ValueError: the network cannot be cut, or trains before anything is frozen.
    """

    def __init__(self, network: nn.Module, frozen: Sequence[str], taps: Sequence[str] = ()):
        halves = {mode: _Halves(network, frozen, taps, mode) for mode in (True, False)}
        self.names = halves[True].names
        self.taps = halves[True].taps
        if (self.names, self.taps) != (halves[False].names, halves[False].taps):
            raise ValueError("what comes before the cut is another in training than in evaluation")
        self.needed = halves[True].needed | halves[False].needed
        self._trunk = fx.GraphModule(network, halves[True].trunk)
        self._tails = {mode: fx.GraphModule(network, half.tail) for mode, half in halves.items()}

    def trunk(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return what crosses the cut: name → [batch, ...]."""
        return dict(zip(self.names, self._trunk(*inputs), strict=True))

    def tail(
        self, inputs: Sequence[Tensor | None], values: Mapping[str, Tensor], training: bool
    ) -> Tensor:
        """Return the network's output; inputs that are not `needed` may be None."""
        logits: Tensor = self._tails[training](*inputs, **{n: values[n] for n in self.names})
        return logits


class _Halves:
    """The graphs before and behind the cut, in one mode."""

    def __init__(
        self, network: nn.Module, frozen: Sequence[str], taps: Sequence[str], training: bool
    ):
        with _unchanged(network, frozen, training):
            graph = _Tracer(frozen, taps).trace(network)
        constant, behind = _constant(graph, network, frozen)
        tapped_at = {node.target: node for node in graph.nodes if node.op == "call_module"}
        if any(tap not in tapped_at for tap in taps):
            raise ValueError("a layer that is wanted is not on the traced path")
        self.taps = {t: tapped_at[t].name for t in taps if tapped_at[t] in behind}
        crossing = [
            node
            for node in graph.nodes
            if node in behind and (set(node.users) - constant or node.name in self.taps.values())
        ]
        if not crossing:
            raise ValueError("nothing that is frozen comes before all that trains")
        self.names = tuple(node.name for node in crossing)
        self.trunk = graph_part(graph, crossing)
        (output,) = (node for node in graph.nodes if node.op == "output")
        self.tail = graph_part(graph, (output,), crossing)
        self.needed = _places(self.tail, set(self.names))


def _constant(
    graph: fx.Graph, network: nn.Module, frozen: Sequence[str]
) -> tuple[set[fx.Node], set[fx.Node]]:
    """Return the nodes that depend on the sample alone, and those behind something frozen."""
    constant: set[fx.Node] = set()
    behind: set[fx.Node] = set()
    for node in graph.nodes:
        own = node.op == "call_module" and is_within(str(node.target), frozen)
        fixed = own or _is_fixed(node, network, frozen)
        if fixed and all(given in constant for given in node.all_input_nodes):
            constant.add(node)
            if own or behind.intersection(node.all_input_nodes):
                behind.add(node)
    return constant, behind


def _is_fixed(node: fx.Node, network: nn.Module, frozen: Sequence[str]) -> bool:
    """Say whether a node computes the same of the same, whatever was trained."""
    if node.op == "call_module":
        module = network.get_submodule(str(node.target))
        state = chain(module.parameters(), module.buffers())
        kinds = [type(part) for part in module.modules()]
        own = all(kind.__module__.startswith("torch.nn.") for kind in kinds)
        return own and next(state, None) is None and not any(_is_random(k.__name__) for k in kinds)
    if node.op == "get_attr":
        # What no state holds is a constant, such as a mean that inputs are normalised by: were it
        # to change, a run that was stopped could not go on.
        return is_within(str(node.target), frozen) or node.target not in network.state_dict()
    if node.op == "output":
        return False
    return node.op == "placeholder" or not _is_random(getattr(node.target, "__name__", node.target))


def _is_random(name: object) -> bool:
    return any(word in str(name).lower() for word in RANDOM)


def _places(tail: fx.Graph, given: set[str]) -> frozenset[int]:
    """Return which inputs a tail reads; of ``*inputs``, those that it takes out by their place."""
    inputs = [n for n in tail.nodes if n.op == "placeholder" and n.name not in given]
    places: set[int] = set()
    for place, node in enumerate(inputs):
        if not str(node.target).startswith("*"):
            places |= {place} if node.users else set()
            continue
        taken = [user.args[1] for user in node.users if len(user.args) > 1]
        if len(taken) < len(node.users) or not all(isinstance(index, int) for index in taken):
            raise ValueError("the network takes its inputs in another way than by their place")
        places |= {place + index for index in taken if isinstance(index, int)}
    return frozenset(places)


class _Tracer(fx.Tracer):
    """Keeps frozen modules and tapped layers whole, but for a frozen one around a tapped layer.

    Batch normalisation of any class is kept whole, as several processes do it together.
    """

    def __init__(self, frozen: Sequence[str], taps: Sequence[str]):
        super().__init__()
        self._frozen, self._taps = frozen, taps

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        name = module_qualified_name
        if name in self._taps:
            return True
        if any(is_within(tap, [name]) for tap in self._taps):
            return False
        whole = is_within(name, self._frozen) or isinstance(m, _BatchNorm)
        return whole or super().is_leaf_module(m, name)


@contextmanager
def _unchanged(network: nn.Module, frozen: Sequence[str], training: bool) -> Iterator[None]:
    """Put a network into a mode; it, and all random states, are afterwards as they were."""
    modes = {module: module.training for module in network.modules()}
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    network.train(training)
    for path in frozen:
        network.get_submodule(path).eval()
    try:
        with torch.random.fork_rng(), python_seeded(0), torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode
        with torch.no_grad():
            for name, value in network.named_buffers():
                value.copy_(buffers[name])


def probe_frozen(
    network: nn.Module,
    frozen: Sequence[str],
    taps: Sequence[str],
    shapes: Mapping[str, tuple[int, ...]],
) -> Crossing | None:
    """Return what crosses the cut of a network behind its frozen modules, or None: it runs whole.

    Args:
        network: on the meta device.
        frozen: dotted paths of its frozen modules.
        taps: layers that are wanted, too.
        shapes: modality → shape of a sample.
    """
    try:
        cut = FrozenCut(network, frozen, taps)
        with _unchanged(network, frozen, True):
            return crossing_shapes(cut.trunk, network, shapes)
    except Exception:  # torch.fx raises whatever the network's own code raises on its proxies
        return None


def still_holds(
    cut: FrozenCut,
    network: nn.Module,
    frozen: Sequence[str],
    shapes: Mapping[str, tuple[int, ...]],
) -> bool:
    """Say whether a cut gives, in value, what its network gives in either mode (`holds`).

    What crosses must be that of the sample, whatever else is in the batch and is drawn at random.

    Args:
        cut: the cut.
        network: the network that it was made from, which is left as it was.
        frozen: dotted paths of its frozen modules.
        shapes: modality → shape of a sample.
    """
    device = next(iter(network.state_dict().values()), torch.empty(0)).device
    with torch.random.fork_rng():
        seed_torch(0)
        inputs = [drawn(PROBE_BATCH, shape).to(device) for shape in shapes.values()]
    pairs: list[tuple[Tensor, Tensor]] = []
    try:
        for mode in (True, False):
            with _unchanged(network, frozen, mode):
                seed_torch(0)
                with tapped(network, cut.taps) as features:
                    whole = network(*(values.clone() for values in inputs))
            with _unchanged(network, frozen, mode):
                crossing = cut.trunk([values.clone() for values in inputs])
                turned = cut.trunk([values.flip(0) for values in inputs])
                pairs += [(turned[name].flip(0), crossing[name].clone()) for name in cut.names]
                pairs += [(crossing[name].clone(), features[tap]) for tap, name in cut.taps.items()]
                given = [v.clone() if i in cut.needed else None for i, v in enumerate(inputs)]
                seed_torch(0)
                pairs.append((cut.tail(given, crossing, mode), whole))
    except Exception:  # whatever the network's own code raises on such input
        return False
    return all(alike(found, expected) for found, expected in pairs)
