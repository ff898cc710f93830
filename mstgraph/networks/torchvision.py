"""Models of torchvision, by name: image classification and semantic segmentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gin
from torch import Tensor, nn

from mstgraph.networks import inputs as check
from mstgraph.networks.by_name import (
    IMAGENET,
    Headed,
    Standardise,
    check_map,
    check_name,
    library,
)
from mstgraph.networks.roles import Roles, last_blocks, layer_roles
from mstgraph.support.errors import UserError

ONCE = {"aux_logits": False, "init_weights": True}
ANSWER_TWICE = {"googlenet": ONCE, "inception_v3": ONCE}
"""Models that also answer from their middle in training, unless they are told not to."""


@gin.configurable
class Torchvision(Headed):
    """A model of torchvision that classifies images; weights are random.

    A classifier of ours stands in the place of its last linear layer. Mask points: ``features``
    (what the classifier sees) and the model's own, ``backbone.…``.

    Args:
        inputs: the one modality and its shape, ``{name: (channels, height, width)}``.
        num_outputs: number of outputs.
        model: its name, as ``torchvision.models.list_models()`` has it.
        options: more of what the model's builder takes, ``{'dropout': 0.5}``.
        normalise: whether to apply ImageNet's mean and standard deviation, which are of values
            from 0 to 1 (``data.normalisation = 'minmax'``); False takes the input as it is
            normalised already.

    Raises:
        UserError: torchvision is missing, has no such model, or the modality is no map.
    """

    def __init__(
        self,
        inputs: check.Shapes,
        num_outputs: int,
        model: str = "",
        options: Mapping[str, Any] | None = None,
        normalise: bool = False,
    ) -> None:
        models = library("Torchvision", "torchvision.models", "torchvision")
        channels, height, width = check_map("Torchvision", inputs)
        check_name("Torchvision", model, models.list_models(module=models))
        given = {**_sizes(model, height, width), **ANSWER_TWICE.get(model, {}), **(options or {})}
        backbone = models.get_model(model, weights=None, **given)
        head, features = _without_classifier(model, backbone)
        _see_channels(backbone, channels)
        standardise = Standardise(*IMAGENET, channels) if normalise else None
        super().__init__(backbone, features, num_outputs, standardise=standardise, head=head)


@gin.configurable
class TorchvisionSegmentation(nn.Module):
    """A model of torchvision that segments images, with its own head; weights are random.

    Mask points: the model's own, ``model.…``.

    Args:
        inputs: the one modality and its shape, ``{name: (channels, height, width)}``.
        num_outputs: number of outputs.
        model: its name, such as ``'lraspp_mobilenet_v3_large'`` or ``'fcn_resnet50'``.
        normalise: as `Torchvision.normalise`.

    Raises:
        UserError: torchvision is missing, has no such model, or the modality is no map.
    """

    def __init__(
        self, inputs: check.Shapes, num_outputs: int, model: str = "", normalise: bool = False
    ) -> None:
        super().__init__()
        name = "TorchvisionSegmentation"
        models = library(name, "torchvision.models", "torchvision")
        channels, _, _ = check_map(name, inputs)
        check_name(name, model, models.list_models(module=models.segmentation))
        self.standardise = Standardise(*IMAGENET, channels) if normalise else nn.Identity()
        self.model = models.get_model(
            model, weights=None, weights_backbone=None, num_classes=num_outputs
        )
        _see_channels(self.model, channels)

    @property
    def roles(self) -> Roles:
        """The backbone's last two blocks, the last of which is the penultimate layer, too."""
        blocks = tuple(f"model.backbone.{name}" for name in last_blocks(self.model.backbone))
        return layer_roles(blocks, blocks[-1])

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs, height, width] float, of one map per sample."""
        return self.model(self.standardise(inputs[0]))["out"]


def _sizes(model: str, height: int, width: int) -> dict[str, Any]:
    """Return the size of the input for models that are made for one."""
    if model.startswith("vit_"):
        if height != width:
            raise UserError(f"Torchvision.model is '{model}', which takes squares alone")
        return {"image_size": height}
    return {"input_size": (height, width)} if model.startswith("maxvit") else {}


def _without_classifier(model: str, backbone: nn.Module) -> tuple[str, int]:
    """Put an identity in the place of the last linear layer: in which child, how much it saw."""
    path, last = list(backbone.named_modules())[-1]
    if not isinstance(last, nn.Linear):
        raise UserError(
            f"Torchvision.model is '{model}', which does not end in a linear layer, expected "
            "another model"
        )
    _put(backbone, path, nn.Identity())
    return path.partition(".")[0], last.in_features


def _see_channels(backbone: nn.Module, channels: int) -> None:
    """Let the first convolution see as many channels as the data has."""
    path, first = next((p, m) for p, m in backbone.named_modules() if isinstance(m, nn.Conv2d))
    if first.in_channels == channels:
        return
    made = nn.Conv2d(
        channels,
        first.out_channels,
        first.kernel_size,  # type: ignore[arg-type]
        first.stride,  # type: ignore[arg-type]
        first.padding,  # type: ignore[arg-type]
        bias=first.bias is not None,
    )
    _put(backbone, path, made)


def _put(module: nn.Module, path: str, child: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(module.get_submodule(parent), name, child)
