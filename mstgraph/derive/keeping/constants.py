"""Which values of a group of stages cannot change, and where each is kept.

A value is constant if every parameter under it is frozen, its modules are in eval mode, and its
inputs are not augmented; over a fixed number of views of them it is, too. Three kinds matter: the
response of a frozen network (with or without a frozen MaskNet), a frozen network's activations
before a mask point whose MaskNet trains, and what the frozen modules of a network that trains give
to the rest of it.
Nothing here knows a stage or a method by name.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from mstgraph.data.augmentation import Augmentation
from mstgraph.declare.settings import Engine
from mstgraph.derive.keeping.placement import Decision, Value, decide
from mstgraph.derive.parts import Parts
from mstgraph.distil.cuts import Cut, holds
from mstgraph.distil.frozen import FrozenCut, still_holds
from mstgraph.stages.node import RESPONSE, Forward
from mstgraph.stages.stage import StageNode
from mstgraph.support.text import size_in_words

KEPT_PARTS = ("train", "validation")


@dataclass(frozen=True)
class Constants:
    """What of a group cannot change, and what is done about it.

    Attributes:
        decisions: part of the split → one decision per constant value.
    """

    decisions: Mapping[str, Sequence[Decision]]


def constant_responses(group: Sequence[StageNode]) -> dict[Forward, None]:
    """Return the forwards of a group that nothing trained takes part in, each once, in order."""
    return {
        forward: None
        for node in group
        for forward in node.forwards.values()
        if not set(forward.parts) & set(node.trains)
    }


def trunk_points(group: Sequence[StageNode]) -> dict[str, tuple[str, ...]]:
    """Return member → mask points at which a frozen network has a MaskNet.

    Its activations before these points can be shared by all who mask it.
    """
    points: dict[str, dict[str, None]] = {}
    for node in group:
        for forward in node.forwards.values():
            if forward.masknet and forward.member not in node.trains:
                points.setdefault(forward.member, {})[forward.point] = None
    return {member: tuple(found) for member, found in points.items()}


def frozen_taps(parts: Parts, group: Sequence[StageNode]) -> dict[str, tuple[str, ...]]:
    """Return member with frozen modules that trains in a group → layers that are wanted of it."""
    taps: dict[str, dict[str, None]] = {}
    for node in group:
        for forward in node.forwards.values():
            member = parts.graph.members[forward.member]
            if member.frozen and forward.member in node.trains and not forward.masknet:
                taps.setdefault(forward.member, {}).update(dict.fromkeys(forward.taps))
    return {member: tuple(found) for member, found in taps.items()}


def find_constants(
    parts: Parts,
    engine: Engine,
    group: Sequence[StageNode],
    samples: Mapping[str, int],
    *,
    augmentation: Augmentation | None,
    memory: int,
    disk: int,
) -> Constants:
    """Find the constant values of a group and decide where each is kept.

    Args:
        parts: the shapes of what is computed.
        engine: whether anything may be kept, and how.
        group: its stages.
        samples: part of the split → number of its samples.
        augmentation: of training batches.
        memory: bytes of the device that are left.
        disk: bytes of disk that are left.
    """
    trunks = _trunks(parts, engine, group)
    values = [*_values(parts, group, trunks), *_frozen(parts, engine, group).values()]
    read = {"train": values, "validation": _read_in_validation(group, values)}
    decisions: dict[str, list[Decision]] = {}
    members = [*trunks, *(value.member for value in values)]
    augmented = _augmented(parts, augmentation, members) if augmentation else {}
    for part in KEPT_PARTS:
        place = functools.partial(
            decide,
            samples=samples.get(part, 0),
            passes=group[0].settings.epochs,
            halved=engine.halved,
            cache=engine.cache,
            augmented=augmented if part == "train" else {},
        )
        decisions[part] = place(read[part], memory=memory, disk=disk)
        memory, disk = _left(decisions[part], memory, disk)
        # Where masked responses are too large, what comes before the masks may yet fit.
        below = [trunks[m] for m in _computed_again(decisions[part]) if m in trunks]
        kept = place(below, memory=memory, disk=disk)
        memory, disk = _left(kept, memory, disk)
        decisions[part] += kept
    return Constants(decisions)


def _augmented(parts: Parts, augmentation: Augmentation, members: Sequence[str]) -> dict[str, int]:
    """Return member whose inputs are changed → number of views, 0 without end."""
    return {
        member: augmentation.views or 0
        for member in members
        if any(augmentation.touches(*each) for each in parts.input_shapes(member).items())
    }


def _left(decisions: Sequence[Decision], memory: int, disk: int) -> tuple[int, int]:
    """Return the bytes of memory and disk that decisions leave."""
    taken = {
        placement: sum(d.size for d in decisions if d.placement == placement)
        for placement in ("memory", "disk")
    }
    return memory - taken["memory"], disk - taken["disk"]


def _computed_again(decisions: Sequence[Decision]) -> dict[str, None]:
    """Return the members that have a masked response which is not kept, each once."""
    return {
        decision.value.member: None
        for decision in decisions
        if decision.placement == "recompute"
        and decision.value.forward
        and decision.value.forward.masknet
    }


def cut_networks(
    parts: Parts, engine: Engine, group: Sequence[StageNode], modules: Mapping[str, nn.Module]
) -> dict[str, Cut]:
    """Return member → its frozen network, cut at its mask points; without those that run whole.

    A cut that does not give the network's own values is none: its network runs whole from then on,
    so that what is kept (`find_constants`) is to be asked afterwards.

    Args:
        parts: the shapes of what crosses.
        engine: whether anything may be kept.
        group: stages.
        modules: name of a part → module.
    """
    cuts = {}
    for member, trunk in _trunks(parts, engine, group).items():
        network = modules[member].eval()
        cut = Cut(network, trunk.points)
        if holds(cut, network, trunk.points, parts.input_shapes(member)):
            cuts[member] = cut
        else:
            parts.run_whole(member, trunk.points)
    return cuts


def cut_frozen(
    parts: Parts, engine: Engine, group: Sequence[StageNode], modules: Mapping[str, nn.Module]
) -> dict[str, FrozenCut]:
    """Return member that trains → its network, cut behind its frozen modules (`cut_networks`)."""
    cuts = {}
    for member, value in _frozen(parts, engine, group).items():
        taps = frozen_taps(parts, group)[member]
        cut = FrozenCut(modules[member], value.points, taps)
        if still_holds(cut, modules[member], value.points, parts.input_shapes(member)):
            cuts[member] = cut
        else:
            parts.train_whole(member, taps)
    return cuts


def _frozen(parts: Parts, engine: Engine, group: Sequence[StageNode]) -> dict[str, Value]:
    """Return member → what crosses the cut behind its frozen modules."""
    found = {}
    for member, taps in frozen_taps(parts, group).items() if engine.cache else ():
        shapes = parts.behind_frozen(member, taps)
        if shapes is not None:
            points = parts.graph.members[member].frozen
            found[member] = Value("frozen", member, None, points, shapes)
    return found


def _trunks(parts: Parts, engine: Engine, group: Sequence[StageNode]) -> dict[str, Value]:
    """Return member → what crosses the cuts of its frozen network."""
    trunks = {}
    for member, points in trunk_points(group).items() if engine.cache else ():
        shapes = parts.trunk(member, points)
        if shapes is not None:
            trunks[member] = Value("trunk", member, None, points, shapes)
    return trunks


def _values(parts: Parts, group: Sequence[StageNode], trunks: Mapping[str, Value]) -> list[Value]:
    """Constant responses, and the trunks below MaskNets that train."""
    responses = constant_responses(group)
    values = [
        Value("response", forward.member, forward, (), _response_shape(parts, forward))
        for forward in responses
    ]
    trained = {
        forward.member
        for node in group
        for forward in node.forwards.values()
        if forward.masknet and forward not in responses
    }
    return values + [trunk for member, trunk in trunks.items() if member in trained]


def _read_in_validation(group: Sequence[StageNode], values: Sequence[Value]) -> list[Value]:
    """Return the values that the responses need which validation asks for."""
    forwards = {node.forwards[name] for node in group for name in node.settings.validated(node)}
    masked = {forward.member for forward in forwards if forward.masknet}
    plain = {forward.member for forward in forwards if not forward.masknet}
    below = {"trunk": masked, "frozen": plain, "response": set[str]()}
    return [v for v in values if v.forward in forwards or v.member in below[v.kind]]


def _response_shape(
    parts: Parts, forward: Forward
) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    shapes, dtype = parts.members[forward.member], torch.get_default_dtype()
    taps = {point: (shapes.points[point], dtype) for point in forward.taps}
    return {RESPONSE: (shapes.output, dtype), **taps}


def kept_in_words(constants: Constants) -> str:
    """Return a sentence that says what a group keeps; empty if it keeps nothing."""
    kept = [d for d in constants.decisions["train"] if d.placement != "recompute"]
    return ", ".join(f"{d.value.name} ({size_in_words(d.size)}, {d.placement})" for d in kept)
