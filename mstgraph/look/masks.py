"""What MaskNets do to the features of test samples: the masks, and features before and after."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mstgraph.look.opened import Asked, Opened, as_numpy, spread
from mstgraph.stages.node import Forward


@dataclass(frozen=True)
class Masked:
    """A specialised teacher's feature at its mask point.

    Attributes:
        teacher: name.
        before: [samples, channels] float, averaged over places.
        after: the same, rewritten by the MaskNet.
        mask: [samples, channels] float in 0…1; None of a mask that keeps none.
        labels: as the store holds them, [samples] or [samples, …].
    """

    teacher: str
    before: np.ndarray
    after: np.ndarray
    mask: np.ndarray | None
    labels: np.ndarray


def masked_teachers(plan: Mapping[str, Any], target: str) -> list[Mapping[str, Any]]:
    """Return a student's teachers that have a mask point, as the plan describes them."""
    return [teacher for teacher in plan["teachers"].get(target, ()) if teacher["point"]]


@torch.no_grad()
def masked(
    run: Opened, teacher: Mapping[str, Any], positions: Sequence[int] | np.ndarray
) -> Masked:
    """Return what a teacher's MaskNet does to test samples.

    Args:
        run: the run.
        teacher: as the plan describes it.
        positions: places in the test part.
    """
    asked = run.asked(teacher["name"], (teacher["stage"], teacher["name"]))
    point = teacher["point"]
    plain = Asked(asked.title, asked.node, Forward(asked.forward.member), asked.networks)
    masknet = asked.networks.modules[asked.forward.masknet]
    before, after, masks, labels = [], [], [], []
    for shared in run.batches(positions, [asked.forward.member]):
        axis = getattr(masknet, "channel_axis", None)
        before.append(_channels(as_numpy(plain.outputs(shared, (point,))[point]), axis))
        after.append(_channels(as_numpy(asked.outputs(shared, (point,))[point]), axis))
        if getattr(masknet, "last_mask", None) is not None:
            masks.append(as_numpy(masknet.last_mask))  # type: ignore[arg-type]
        labels.append(shared.labels.numpy(force=True))
    whole = [np.concatenate(parts) for parts in (before, after, labels)]
    mask = np.concatenate(masks) if masks else None
    return Masked(teacher["name"], whole[0], whole[1], mask, whole[2])


def every_mask(run: Opened, plan: Mapping[str, Any], target: str, samples: int) -> Iterator[Masked]:
    """Yield what each MaskNet of a student does to test samples, spread over the part."""
    positions = spread(len(run.ids()), samples)
    for teacher in masked_teachers(plan, target):
        yield masked(run, teacher, positions)


def _channels(values: np.ndarray, axis: int | None) -> np.ndarray:
    """Average a feature over all but its channels: [samples, …] → [samples, channels]."""
    if values.ndim <= 2:
        return values
    channel = (2 if values.ndim == 3 else 1) if axis is None else axis % (values.ndim - 1) + 1
    moved = np.moveaxis(values, channel, 1)
    return moved.reshape(*moved.shape[:2], -1).mean(2)
