"""What is done with each constant value: keep it in memory, on disk, or compute it again."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

from mstgraph.stages.node import Forward
from mstgraph.support.numerics import Shapes, kept_type
from mstgraph.support.text import size_in_words

Placement = Literal["memory", "disk", "recompute"]


@dataclass(frozen=True)
class Value:
    """A constant value of a group of stages.

    Attributes:
        kind: "response" of a network, "trunk", what crosses the cuts at mask points, or "frozen",
            what crosses the cut behind its frozen modules.
        member: whose network computes it.
        forward: how a response is computed; else None.
        points: mask points of a trunk, or frozen modules.
        tensors: name → (shape of one sample, type) of what it consists of.
    """

    kind: Literal["response", "trunk", "frozen"]
    member: str
    forward: Forward | None
    points: tuple[str, ...]
    tensors: Shapes

    @property
    def name(self) -> str:
        """What a person reads."""
        if self.kind == "trunk":
            return f"activations of {self.member} before {' and '.join(self.points)}"
        if self.kind == "frozen":
            return f"features of {self.member} behind its frozen {' and '.join(self.points)}"
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
        views: of each sample, of which all are kept.
    """

    value: Value
    placement: Placement
    size: int
    reason: str
    views: int = 1


def decide(
    values: Sequence[Value],
    samples: int,
    passes: int,
    *,
    halved: bool,
    memory: int,
    disk: int,
    cache: bool,
    augmented: Mapping[str, int],
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
        augmented: member whose inputs are augmented → how many views of each sample there are,
            or 0 where there is a new one each time.
    """
    decisions = []
    views = [max(1, augmented.get(value.member, 1)) for value in values]
    sizes = [
        samples * count * value.bytes_per_sample(halved)
        for count, value in zip(views, values, strict=True)
    ]
    for size, count, value in sorted(zip(sizes, views, values, strict=True), key=itemgetter(0)):
        anew = augmented.get(value.member, 1) == 0
        placement, reason = _place(size, passes, memory, disk, cache, anew, count)
        memory -= size if placement == "memory" else 0
        disk -= size if placement == "disk" else 0
        decisions.append(Decision(value, placement, size, reason, count))
    return decisions


def _place(
    size: int, passes: int, memory: int, disk: int, cache: bool, augmented: bool, views: int
) -> tuple[Placement, str]:
    if not cache:
        return "recompute", "the cache is off"
    if augmented:
        return "recompute", "the inputs are augmented, so it is not constant"
    if passes < 2:
        return "recompute", "it is read once"
    if passes <= views:
        return "recompute", f"each of {views} views is read at most once"
    computed = "computed once" if views == 1 else f"computed once for each of {views} views"
    if size <= memory:
        return "memory", f"{computed}, read {passes} times"
    if size <= disk:
        return (
            "disk",
            f"{computed}, read {passes} times; {size_in_words(memory)} of memory are left",
        )
    return "recompute", (
        f"too large: {size_in_words(memory)} of memory and {size_in_words(disk)} of disk are left"
    )
