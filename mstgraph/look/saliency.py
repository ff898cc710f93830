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

from mstgraph.look.opened import Asked, as_numpy
from mstgraph.run.networks import Shared
from mstgraph.stages.node import RESPONSE


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
    if shared.inputs[modality].dim() < 3:
        return None
    inputs = {name: shared.inputs[name].detach().requires_grad_() for name in own}
    given = Shared(inputs, shared.labels, shared.positions, {})
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
    """Return the last layer with a map of a modality's places, its own rather than a shared one."""
    rank = inputs[modality].dim()
    fitting = [n for n, v in found.items() if v.dim() == rank and v[0, 0].numel() > 1]
    shared = None
    for name in reversed(fitting):
        seen = _sees(found[name], inputs)
        if seen == {modality}:
            return name
        if modality in seen and shared is None:
            shared = name
    return shared


def _sees(values: Tensor, inputs: Mapping[str, Tensor]) -> set[str]:
    gradients = torch.autograd.grad(
        values.sum(), list(inputs.values()), retain_graph=True, allow_unused=True
    )
    return {name for name, g in zip(inputs, gradients, strict=True) if g is not None}
