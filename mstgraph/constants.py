"""Which values of a stage cannot change, and what is done with each: keep it, or compute it again.

A value is constant if every parameter under it is frozen, its modules are in eval mode, and its
inputs are not augmented. Two kinds matter: the response of a frozen network (with or without a
frozen MaskNet), and a frozen network's activations before a mask point whose MaskNet trains.
Nothing here knows a stage or a method by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from mstgraph.plan import Forward, StageNode

Placement = Literal["memory", "disk", "recompute"]
Shapes = Mapping[str, tuple[tuple[int, ...], torch.dtype]]


@dataclass(frozen=True)
class Value:
    """A constant value of a group of stages.

    Attributes:
        kind: "response" of a network, or "trunk", what crosses the cuts at mask points.
        member: whose network computes it.
        forward: how a response is computed; None for a trunk.
        points: mask points of a trunk.
        tensors: name → (shape of one sample, type) of what it consists of.
    """

    kind: Literal["response", "trunk"]
    member: str
    forward: Forward | None
    points: tuple[str, ...]
    tensors: Shapes

    @property
    def name(self) -> str:
        """What a person reads."""
        if self.kind == "trunk":
            return f"activations of {self.member} before {' and '.join(self.points)}"
        assert self.forward is not None
        mask = f" with its MaskNet at {self.forward.point}" if self.forward.masknet else ""
        taps = f" and its {' and '.join(self.forward.taps)}" if self.forward.taps else ""
        return f"response of {self.member}{mask}{taps}"

    def bytes_per_sample(self, halved: bool) -> int:
        """Return what one sample takes, floating tensors as float16 if ``halved``."""
        return sum(
            math.prod(shape) * kept_type(dtype, halved).itemsize
            for shape, dtype in self.tensors.values()
        )


@dataclass(frozen=True)
class Decision:
    """What is done with a constant value.

    Attributes:
        value: the value.
        placement: where it is kept, or "recompute".
        size: bytes that it takes or would take.
        reason: why, in words.
    """

    value: Value
    placement: Placement
    size: int
    reason: str


def kept_type(dtype: torch.dtype, halved: bool) -> torch.dtype:
    """Return the type a tensor is kept as: its own, or a narrower one for indices or if asked."""
    if dtype.is_floating_point:
        return torch.float16 if halved else dtype
    return torch.int32 if dtype == torch.int64 else dtype


def group_stages(stages: Sequence[StageNode]) -> list[list[StageNode]]:
    """Group stages that go through the data together because they read the same frozen networks.

    Stages of a group do not wait for each other and take the same batches in the same number of
    epochs. Each keeps its own optimiser, state and artefact: it comes out as if it had run alone.

    Args:
        stages: in an order in which each comes after all that it needs.
    """
    groups: list[list[StageNode]] = []
    done: set[str] = set()
    waiting = list(stages)
    while waiting:
        group = [waiting[0]]
        ready = [node for node in waiting[1:] if set(node.needs) <= done]
        for node in ready:
            if all(_fits(node, other) for other in group):
                group.append(node)
        groups.append(group)
        done |= {node.name for node in group}
        waiting = [node for node in waiting if node.name not in done]
    return groups


def _fits(node: StageNode, other: StageNode) -> bool:
    one_pass = (node.settings.epochs, node.settings.batch_size) == (
        other.settings.epochs,
        other.settings.batch_size,
    )
    common = set(node.parts) & set(other.parts)
    frozen = common <= set(node.freezes) & set(other.freezes)
    same_weights = all(node.sources.get(part) == other.sources.get(part) for part in common)
    return one_pass and bool(common) and frozen and same_weights


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


def decide(
    values: Sequence[Value],
    samples: int,
    passes: int,
    *,
    halved: bool,
    memory: int,
    disk: int,
    cache: bool,
    augmented: bool,
) -> list[Decision]:
    """Decide for each constant value where it is kept.

    Args:
        values: the values, most useful first.
        samples: samples that each would be kept for.
        passes: how often each would otherwise be computed.
        halved: whether floating tensors are kept as float16.
        memory: bytes of the device that are left.
        disk: bytes of disk that are left.
        cache: whether anything may be kept.
        augmented: whether the inputs are augmented.
    """
    decisions = []
    for value in sorted(values, key=lambda v: v.bytes_per_sample(halved)):
        size = samples * value.bytes_per_sample(halved)
        placement, reason = _place(size, passes, memory, disk, cache, augmented)
        memory -= size if placement == "memory" else 0
        disk -= size if placement == "disk" else 0
        decisions.append(Decision(value, placement, size, reason))
    return decisions


def _place(
    size: int, passes: int, memory: int, disk: int, cache: bool, augmented: bool
) -> tuple[Placement, str]:
    if not cache:
        return "recompute", "the cache is off"
    if augmented:
        return "recompute", "the inputs are augmented, so it is not constant"
    if passes < 2:
        return "recompute", "it is read once"
    if size <= memory:
        return "memory", f"computed once, read {passes} times"
    if size <= disk:
        return "disk", f"computed once, read {passes} times; {megabytes(memory)} of memory are left"
    return "recompute", (
        f"too large: {megabytes(memory)} of memory and {megabytes(disk)} of disk are left"
    )


def megabytes(size: int) -> str:
    """Return a size as a person reads it."""
    if size >= 10**9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.1f} MB" if size >= 10**5 else f"{size / 1e3:.1f} kB"
