"""Networks of torchvision trained on ImageNet, as extractors of features for recipes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mstgraph.data.normalisation import DEVIATION, MEAN
from mstgraph.support.disk.states import read_states
from mstgraph.support.errors import UserError
from mstgraph.support.machine.libraries import extra


def network(name: str, weights: Path | None, options: tuple[str, str]) -> nn.Module:
    """Return a network of torchvision in evaluation mode.

    Args:
        name: of torchvision's function (``resnet50``).
        weights: a state dict; None takes torchvision's own, from its cache or its site.
        options: names of the recipe's options for weights and for another extractor.

    Raises:
        UserError: torchvision or the weights cannot be had.
    """
    models = extra("torchvision.models", "torchvision")
    try:
        built = getattr(models, name)(weights=None if weights else "IMAGENET1K_V1")
        if weights:
            built.load_state_dict(read_states(weights))
    except (OSError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"the weights of {name} cannot be had ({reason}); name a file with the option "
            f"{options[0]}, or a function with {options[1]}"
        ) from error
    return built.eval()


def batch(pictures: np.ndarray) -> Tensor:
    """Return pictures [n, height, width, 3] uint8, RGB, normalised: [n, 3, height, width] float."""
    normalised = ((pictures / 255 - MEAN) / DEVIATION).astype(np.float32)
    return torch.from_numpy(np.ascontiguousarray(normalised.transpose(0, 3, 1, 2)))
