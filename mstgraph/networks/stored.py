"""A member that is only its answers: logits that somebody else's network left."""

from __future__ import annotations

from typing import ClassVar

import gin
from torch import Tensor, nn

from mstgraph.networks import inputs as check


@gin.configurable
class Stored(nn.Module):
    """Answers with what it is given: a modality of the store, or a file of logits.

    The file is named by ``Member.weights``: ``.npy``, a row per sample in the store's order, or
    ``.npz`` with ``answers`` and ``names``, a row per sample by its name in the store. Neither is
    ever normalised, and nothing trains it.

    Args:
        inputs: the one modality and its shape, ``{name: (num_outputs, ...)}``.
        num_outputs: number of classes.

    Raises:
        UserError: more than one modality.
    """

    stored: ClassVar[bool] = True
    initialisation: ClassVar[str] = "answers as they are given"

    def __init__(self, inputs: check.Shapes, num_outputs: int) -> None:
        super().__init__()
        check.check_count("Stored", inputs, 1, 1)

    def forward(self, answers: Tensor) -> Tensor:
        """Return the logits, [batch, num_outputs, ...] float, as they are."""
        return answers.clone()
