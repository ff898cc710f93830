"""A member over several modalities, made of any networks: one branch per modality, and a head.

A branch is a network as any member has one, built with as many outputs as the fused feature has
channels: what would be its classifier projects its features, so that any network can be a branch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import gin
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mstgraph.networks import inputs as check
from mstgraph.networks.mlp import Concatenation
from mstgraph.networks.roles import Roles, layer_roles
from mstgraph.support.errors import UserError, nearest

Network = Callable[..., Any]


class Sum(nn.Module):
    """Adds the branches' features; a module, so that it can be a mask point."""

    def forward(self, *streams: Tensor) -> Tensor:
        """Return [batch, width, ...] float of as many of that shape."""
        return torch.stack(streams).sum(0)


class Attention(nn.Module):
    """Σ_m a_m z_m with a = softmax_m wᵀ tanh(V z_m): each sample says which branch it relies on.

    The attention of Ilse et al. 2018, Eq. 7–8 (https://arxiv.org/abs/1802.04712); of maps, at each
    place.

    Args:
        width: channels of z.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, width)
        self.score = nn.Linear(width, 1, bias=False)  # the same for all branches: no offset

    def forward(self, *streams: Tensor) -> Tensor:
        """Return [batch, width, ...] float of as many of that shape."""
        z = torch.stack(streams, dim=1).movedim(2, -1)
        weights = self.score(torch.tanh(self.inner(z))).softmax(dim=1)
        return (weights * z).sum(dim=1).movedim(-1, 1)


@gin.configurable
class Fused(nn.Module):
    """A branch per modality, fused, then a hidden layer and a classifier.

    Mask points: ``fusion`` and ``hidden`` (before their ReLU), and whatever the branches have,
    ``branches.<modality>.…``.

    Args:
        inputs: the modalities and their shapes, two or more.
        num_outputs: number of outputs.
        branches: gin references to networks, one for each modality in their order
            (``(@Sequence1d, @Conv2d)``), or a single one for all. Their settings are read in the
            member's scope (``fused/Conv2d.hidden = 32``), or, in a tuple, in that of the member
            that a reference names (``(@motion/Sequence1d, @audio/Conv2d)``).
        fusion: ``'concatenation'``, ``'sum'`` or ``'attention'`` of the branches' features.
        width: channels of each branch's feature.
        hidden: width of the hidden layer.
        dense: whether branches answer with maps, for a task with one label per pixel.

    Raises:
        UserError: fewer than two modalities, another number of branches, or an unknown fusion.
    """

    def __init__(
        self,
        inputs: check.Shapes,
        num_outputs: int,
        branches: Network | Sequence[Network] = (),
        fusion: Literal["concatenation", "sum", "attention"] = "concatenation",
        width: int = 64,
        hidden: int = 64,
        dense: bool = False,
    ) -> None:
        super().__init__()
        check.check_count("Fused", inputs, 2)
        check.check_widths("Fused", "width", (width,))
        check.check_widths("Fused", "hidden", (hidden,))
        networks = _one_each(branches, len(inputs))
        built = {
            modality: _branch(network, modality, shape, width)
            for network, (modality, shape) in zip(networks, inputs.items(), strict=True)
        }
        self.branches = check.by_modality("Fused", built)
        self.fusion, fused = _fusion(fusion, width, len(inputs))
        self.hidden = _linear(fused, hidden, dense)
        self.classifier = _linear(hidden, num_outputs, dense)

    @property
    def roles(self) -> Roles:
        """What follows the branches."""
        return layer_roles(("fusion", "hidden"), "hidden")

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return logits, [batch, num_outputs] float or maps of them, of one tensor per modality."""
        # Indexed, not zipped: under torch.fx ``inputs`` is one proxy that cannot be iterated.
        streams = [part(inputs[index]) for index, part in enumerate(self.branches.values())]
        return self.classifier(F.relu(self.hidden(F.relu(self.fusion(*streams)))))


def _one_each(branches: Network | Sequence[Network], count: int) -> Sequence[Network]:
    networks = [branches] * count if callable(branches) else list(branches)
    if len(networks) != count:
        given = f"holds {len(networks)} networks" if networks else "is empty"
        raise UserError(
            f"Fused.branches {given}, expected one for each of its {count} inputs, "
            "(@Sequence1d, @Conv2d), or a single one for all"
        )
    return networks


def _branch(network: Network, modality: str, shape: tuple[int, ...], width: int) -> nn.Module:
    built = network({modality: shape}, width)
    if not isinstance(built, nn.Module):
        name = getattr(network, "__name__", network)
        raise UserError(f"Fused.branches names {name}, which makes no network")
    return built


def _linear(before: int, after: int, dense: bool) -> nn.Module:
    """Return a linear layer over vectors, or over the channels of maps."""
    return nn.Conv2d(before, after, 1) if dense else nn.Linear(before, after)


def _fusion(kind: str, width: int, count: int) -> tuple[nn.Module, int]:
    """Return the fusion, and the channels that come out of it."""
    kinds = {
        "concatenation": lambda: (Concatenation(), width * count),
        "sum": lambda: (Sum(), width),
        "attention": lambda: (Attention(width), width),
    }
    if kind not in kinds:
        raise UserError(f"Fused.fusion is '{kind}'{nearest(kind, kinds)}")
    return kinds[kind]()
