"""Where networks look: Grad-CAM (Selvaraju et al. 2017, https://arxiv.org/abs/1610.02391).

A layer's map is weighted by the mean gradient of what the network answers; what is positive speaks
for the answer. For images, maps and sequences; a vector has no places to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.look.opened import Asked, Opened, as_numpy, spread
from mstgraph.look.outcomes import changed
from mstgraph.look.records import Records
from mstgraph.run.networks import Shared
from mstgraph.stages.node import RESPONSE

SHOWN = 6  # samples
LEAST = 4  # places along each extent of a map that still tells where


@dataclass(frozen=True)
class Saliency:
    """Where a network looks in a modality.

    Attributes:
        title: the network.
        modality: whose places these are.
        layer: whose map it is.
        maps: [samples, *extents of the modality without channels] float in 0…1.
        predicted: the class of the greatest output, [samples]; of maps, of most pixels.
    """

    title: str
    modality: str
    layer: str
    maps: np.ndarray
    predicted: np.ndarray


def saliency(asked: Asked, shared: Shared, preferred: str) -> Saliency | None:
    """Return where a network looks, for what it answers itself; None if it has no map.

    Args:
        asked: the network.
        shared: the batch; its inputs are those of the network at least.
        preferred: the modality to look at, where the network sees it; else its first one.
    """
    networks = asked.networks
    own = networks.inputs_of[asked.forward.member]
    modality = preferred if preferred in own else own[0]
    if shared.inputs[modality].dim() < 3 or not shared.inputs[modality].is_floating_point():
        return None
    whole = {name: shared.inputs[name].detach() for name in own}
    # Integers have no gradient, and nothing to look at.
    inputs = {n: v.requires_grad_() for n, v in whole.items() if v.is_floating_point()}
    given = Shared({**whole, **inputs}, shared.labels, shared.positions, {}, shared.lengths)
    network = networks.modules[asked.forward.member]
    found: dict[str, Tensor] = {}
    with torch.enable_grad(), ExitStack() as stack:
        for name, module in network.named_modules():
            if name:
                stack.callback(module.register_forward_hook(_keep(found, name)).remove)
        logits = networks.computed(asked.forward, given)[RESPONSE]
        layer = _layer(found, inputs, modality)
        if layer is None:
            return None
        answer = logits.amax(1).sum() if logits.dim() > 1 else logits.sum()
        (gradient,) = torch.autograd.grad(answer, found[layer])
    maps = grad_cam(found[layer].detach(), gradient, tuple(inputs[modality].shape[2:]))
    return Saliency(asked.title, modality, layer, as_numpy(maps), predicted_class(logits))


def grad_cam(feature: Tensor, gradient: Tensor, extents: tuple[int, ...]) -> Tensor:
    """Return relu(Σ_c mean(gradient_c) · feature_c), at the input's extents and in 0…1 (Eq. 1–2).

    Args:
        feature: [batch, channels, *places] float.
        gradient: of the answer by the feature, the same shape.
        extents: of the input.

    Returns:
        [batch, *extents] float; 0 everywhere for a sample that nothing speaks for.
    """
    weights = gradient.flatten(2).mean(2)
    places = [1] * (feature.dim() - 2)
    summed = (weights.view(*weights.shape, *places) * feature).sum(1, keepdim=True).relu()
    modes = {1: "linear", 2: "bilinear", 3: "trilinear"}
    mode = modes[len(extents)]
    whole = F.interpolate(summed, size=extents, mode=mode, align_corners=False).squeeze(1)
    most = whole.flatten(1).amax(1).clamp(min=torch.finfo(whole.dtype).tiny)
    return whole / most.view(-1, *[1] * len(extents))


def predicted_class(logits: Tensor) -> np.ndarray:
    """Return the class of each sample; of a map, the one of most of its pixels: [samples] int64."""
    classes = logits.argmax(1).flatten(1) if logits.dim() > 2 else logits.argmax(1, keepdim=True)
    found: np.ndarray = classes.mode(1).values.numpy(force=True)
    return found


def _keep(found: dict[str, Tensor], name: str) -> Callable[[nn.Module, object, object], None]:
    def keep(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.requires_grad and output.dim() >= 3:
            found.pop(name, None)  # in the order in which they were computed last
            found[name] = output

    return keep


def _layer(found: Mapping[str, Tensor], inputs: Mapping[str, Tensor], modality: str) -> str | None:
    """Return the last layer of those whose map is smallest: deep, and of places all the same.

    Maps of fewer than `LEAST` places along an extent tell little, and are taken where there is no
    larger one. One that the modality alone leads to goes before one that is shared.
    """
    rank = inputs[modality].dim()
    maps = {name: v for name, v in found.items() if v.dim() == rank and v[0, 0].numel() > 1}
    large = {name: v for name, v in maps.items() if min(v.shape[2:]) >= LEAST}
    sizes = {name: v[0, 0].numel() for name, v in (large or maps).items()}
    for size in sorted(set(sizes.values()), reverse=not large):
        shared = None
        for name in reversed([name for name, own in sizes.items() if own == size]):
            seen = _sees(found[name], inputs)
            if seen == {modality}:
                return name
            shared = shared or (name if modality in seen else None)
        if shared:
            return shared
    return None


def _sees(values: Tensor, inputs: Mapping[str, Tensor]) -> set[str]:
    gradients = torch.autograd.grad(
        values.sum(), list(inputs.values()), retain_graph=True, allow_unused=True
    )
    return {name for name, g in zip(inputs, gradients, strict=True) if g is not None}


@dataclass(frozen=True)
class Looks:
    """Saliency of networks on the same samples.

    Attributes:
        positions: places in the test part, [samples].
        labels: as the store holds them, [samples] or [samples, …].
        rows: of each network that has a map.
        raw: modality → [samples, *shape] as the store holds them.
    """

    positions: np.ndarray
    labels: np.ndarray
    rows: list[Saliency]
    raw: Mapping[str, np.ndarray]


def looks(records: Records, run: Opened, target: str, samples: int) -> Looks:
    """Look at teachers as they were, specialised teachers, the student distilled and alone.

    Args:
        records: the run's record.
        run: its networks and data.
        target: the student.
        samples: how many test samples; those that distillation changed come first.
    """
    positions = telling(records, target, samples, len(run.ids()))
    modality = run.experiment.inputs_of[target][0]
    rows = []
    for title, place in records.responses().items():
        asked = run.asked(title, place)
        if asked.forward.member == target and not title.startswith(f"{target} "):
            continue
        shared = run.batch(positions, [asked.forward.member])
        found = saliency(asked, shared, modality)
        if found is not None:
            rows.append(found)
    shown = {row.modality for row in rows}
    raw = {name: run.raw(name, list(positions)) for name in shown}
    return Looks(positions, run.labels(list(positions)), rows, raw)


def telling(records: Records, target: str, samples: int, total: int) -> np.ndarray:
    """Return test samples worth looking at: half of them mended, some spoilt, the rest spread.

    Args:
        records: the run's record.
        target: the student.
        samples: how many.
        total: how many there are to choose from.
    """
    found = changed(records, target)
    if found is None:
        return spread(total, samples)
    chosen = [*found.mended[: (samples + 1) // 2], *found.spoilt[: samples // 3]]
    others = [place for place in spread(total, samples) if place not in chosen]
    return np.array([*chosen, *others][:samples], dtype=np.int64)
