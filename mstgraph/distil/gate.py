"""The gate: which specialised teachers a sample learns from (paper, Eq. 11–13 and 16–17)."""

from __future__ import annotations

import math
from collections.abc import Callable

import gin
import torch
from torch import Tensor, nn

from mstgraph.support.errors import UserError

HIDDEN_BYTES = 2**21
"""Dense hidden features computed at a time on a CPU, in bytes: what its cache can hold."""


@gin.configurable
class Gate(nn.Module):
    """Confidence over the N specialised teachers, from the student's logits (Eq. 11–12).

    For a classifier, two linear layers C → 2C → N. For dense logits, a 1×1 convolution C → 2C, a
    strided depthwise 3×3 one, the average over the map and a linear layer 2C → N: an image as a
    whole is routed.

    Args:
        num_outputs: number of classes C.
        num_teachers: number of specialised teachers N.
        dense: whether logits are maps, [batch, C, height, width].
        activation: a ReLU after each layer but the last, as the paper's multi-layer perceptron.
            The released code has them for dense logits and none for classification.
        detach: whether the gate sends no gradient into the student; the paper's does send it.
    """

    def __init__(
        self,
        num_outputs: int,
        num_teachers: int,
        dense: bool,
        activation: bool = True,
        detach: bool = False,
    ) -> None:
        super().__init__()
        hidden = 2 * num_outputs
        between: Callable[[], nn.Module] = nn.ReLU if activation else nn.Identity
        self.detach = detach
        if dense:
            self.hidden = nn.Sequential(
                nn.Conv2d(num_outputs, hidden, 1),
                between(),
                nn.Conv2d(hidden, hidden, 3, stride=2, padding=1, groups=hidden),
                between(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
            )
        else:
            self.hidden = nn.Sequential(nn.Linear(num_outputs, hidden), between())
        self.classifier = nn.Linear(hidden, num_teachers)

    def forward(self, logits: Tensor) -> Tensor:
        """Return the confidence, [batch, N] float, rows summing to one.

        Args:
            logits: the student's, [batch, C] or, if dense, [batch, C, height, width] float.
        """
        if self.detach:
            logits = logits.detach()
        rows = _rows(logits)
        if rows < len(logits):
            features = torch.cat([self.hidden(part) for part in logits.split(rows)])
        else:
            features = self.hidden(logits)
        return torch.softmax(self.classifier(features), dim=1)


def _rows(logits: Tensor) -> int:
    """Return how many samples go through the hidden layers at a time; their order is kept."""
    if logits.dim() == 2 or logits.device.type != "cpu":
        return len(logits)
    return max(1, HIDDEN_BYTES // (2 * logits[0].numel() * logits.element_size()))


def layers_read(gate: object) -> tuple[str, ...]:
    """Return the roles of the layers of the student that a gate reads beside the logits.

    A gate, or its class, names them in ``reads``; it is then built with one more argument, role →
    shapes without the batch, and called with one more, role → features of these layers.
    """
    return tuple(getattr(gate, "reads", ()))


def top_k(confidence: Tensor, k: int) -> Tensor:
    """Return the k most confident teachers of each sample, best first (paper, Eq. 13).

    Equal confidences are taken in the order of the teachers.

    Args:
        confidence: [batch, N] float.
        k: number of teachers to take, 1 to N.

    Returns:
        Indices, [batch, k] int64.

    Raises:
        UserError: there are not k teachers.
    """
    teachers = confidence.shape[1]
    if not 1 <= k <= teachers:
        raise UserError(f"top-k routing takes k = {k} teachers, expected 1 to {teachers}")
    if k == 1:  # as the sort does, it finds the first of equals
        return confidence.argmax(dim=1, keepdim=True)
    return confidence.argsort(dim=1, descending=True, stable=True)[:, :k]


def load_balance_kl(mean: Tensor) -> Tensor:
    """Return KL(U ‖ C̄), how far the batch's mean confidence is from uniform (Eq. 16–17).

    Zero where all N teachers are used alike. A teacher without any confidence counts as one with
    the least positive normal float, so that the value stays finite.

    Args:
        mean: C̄, the confidence averaged over the batch, [N] float.

    Returns:
        A scalar of at least 0, in nats.
    """
    least = torch.finfo(mean.dtype).tiny
    return -math.log(len(mean)) - mean.clamp_min(least).log().mean()


def load_balance_cv(load: Tensor) -> Tensor:
    """Return the coefficient of variation of the teachers' loads.

    The value is the loads' unbiased standard deviation over their mean, not squared (as the
    released code's alternative to Eq. 17).

    Args:
        load: the confidence summed over the batch, [N] float.

    Returns:
        A scalar from 0 (all loads alike, also with one teacher) to √N (one has all).
    """
    if len(load) == 1:
        return (load - load).sum()
    return load.std(correction=1) / load.mean()
