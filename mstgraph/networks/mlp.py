"""Perceptrons over feature vectors: a single-modality one and one that fuses several."""

from __future__ import annotations

from collections.abc import Sequence

import gin
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.networks import inputs as check


def _add_hidden(module: nn.Module, features: int, hidden: Sequence[int]) -> int:
    """Add ``hidden1``, ``hidden2``, … to ``module`` and return the width of the last."""
    for number, width in enumerate(hidden, start=1):
        module.add_module(f"hidden{number}", nn.Linear(features, width))
        features = width
    return features


def _run_hidden(module: nn.Module, x: Tensor, count: int) -> Tensor:
    """Apply the hidden layers of ``module``, a ReLU after each."""
    for number in range(1, count + 1):
        # The ReLU is outside the named layer: a mask point is the value before it.
        x = F.relu(module.get_submodule(f"hidden{number}")(x))
    return x


@gin.configurable
class MLP(nn.Module):
    """Linear layers with ReLU between them, over one vector.

    Mask points: ``hidden1``, ``hidden2``, … (before their ReLU).

    Args:
        inputs: the one modality and its shape, ``{name: (features,)}``.
        num_outputs: number of classes.
        hidden: widths of the hidden layers.

    Raises:
        UserError: not exactly one modality, or not a vector.
    """

    def __init__(
        self, inputs: check.Shapes, num_outputs: int, hidden: Sequence[int] = (128, 64)
    ) -> None:
        super().__init__()
        check.check_count("MLP", inputs, 1, 1)
        check.check_vectors("MLP", inputs)
        check.check_widths("MLP", "hidden", hidden)
        ((features,),) = inputs.values()
        self.depth = len(hidden)
        self.classifier = nn.Linear(_add_hidden(self, features, hidden), num_outputs)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs] float, of one tensor [batch, features]."""
        return self.classifier(_run_hidden(self, inputs[0], self.depth))


class Branch(nn.Module):
    """The hidden layers of an `MLP` without a classifier; ReLU after each."""

    def __init__(self, features: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.depth = len(hidden)
        self.features = _add_hidden(self, features, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, last hidden width] float."""
        return _run_hidden(self, x, self.depth)


class Concatenation(nn.Module):
    """Joins the branches' vectors into one; a module, so that it can be a mask point."""

    def forward(self, *streams: Tensor) -> Tensor:
        """Return [batch, sum of the streams' features]."""
        return torch.cat(streams, dim=1)


@gin.configurable
class FusedMLP(nn.Module):
    """One headless branch per vector modality, concatenated, then an MLP.

    Mask points: ``fusion`` (the concatenation, after the branches' ReLU), ``hidden1``, ``hidden2``,
    … and ``branches.<modality>.hidden1``, … (before their ReLU).

    Args:
        inputs: the modalities and their shapes, ``{name: (features,)}``, two or more.
        num_outputs: number of classes.
        branch: widths of the layers of each branch.
        hidden: widths of the layers after the concatenation.

    Raises:
        UserError: fewer than two modalities, or one that is not a vector.
    """

    def __init__(
        self,
        inputs: check.Shapes,
        num_outputs: int,
        branch: Sequence[int] = (128,),
        hidden: Sequence[int] = (128, 64),
    ) -> None:
        super().__init__()
        check.check_count("FusedMLP", inputs, 2)
        check.check_vectors("FusedMLP", inputs)
        check.check_widths("FusedMLP", "branch", branch)
        check.check_widths("FusedMLP", "hidden", hidden)
        branches = {name: Branch(shape[0], branch) for name, shape in inputs.items()}
        self.branches = check.by_modality("FusedMLP", branches)
        self.fusion = Concatenation()
        self.depth = len(hidden)
        fused = sum(part.features for part in branches.values())
        self.classifier = nn.Linear(_add_hidden(self, fused, hidden), num_outputs)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs] float, of one [batch, features] per modality."""
        # Indexed, not zipped: under torch.fx ``inputs`` is one proxy that cannot be iterated.
        streams = [part(inputs[index]) for index, part in enumerate(self.branches.values())]
        return self.classifier(_run_hidden(self, self.fusion(*streams), self.depth))
