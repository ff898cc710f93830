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


def among(confidence: Tensor, there: Tensor | None) -> Tensor:
    """Return the confidence in the teachers that a sample has, its rows summing to one again.

    Args:
        confidence: [batch, N] float.
        there: which teachers have what they see of each sample, [batch, N] bool; None: all.

    Returns:
        [batch, N] float, exactly 0 for teachers that are not there, and all 0 without any.
    """
    if there is None:
        return confidence
    own = torch.where(there, confidence, torch.zeros_like(confidence))
    whole = own.sum(dim=1, keepdim=True)
    # A gate can be so sure of a teacher that is not there that nothing is left of the others.
    found = whole > torch.finfo(whole.dtype).tiny
    return torch.where(found, own / torch.where(found, whole, 1.0), evenly(there, whole.dtype))


def evenly(there: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what each teacher counts if all that are there count alike, [batch, N] float.

    Args:
        there: [batch, N] bool.
        dtype: of the result.
    """
    return there.to(dtype) / there.sum(dim=1, keepdim=True).clamp(min=1)


def top_k(confidence: Tensor, k: int, there: Tensor | None = None) -> Tensor:
    """Return the k most confident teachers of each sample, best first (paper, Eq. 13).

    Equal confidences are taken in the order of the teachers. Teachers that are not there come
    after all others.

    Args:
        confidence: [batch, N] float.
        k: number of teachers to take, 1 to N.
        there: which teachers a sample has, [batch, N] bool; None: all.

    Returns:
        Indices, [batch, k] int64.

    Raises:
        UserError: there are not k teachers.
    """
    teachers = confidence.shape[1]
    if not 1 <= k <= teachers:
        raise UserError(f"top-k routing takes k = {k} teachers, expected 1 to {teachers}")
    if there is not None:
        confidence = confidence.masked_fill(~there, -1)
    if k == 1:  # as the sort does, it finds the first of equals
        return confidence.argmax(dim=1, keepdim=True)
    return confidence.argsort(dim=1, descending=True, stable=True)[:, :k]


def load_balance_kl(mean: Tensor, even: Tensor | None = None) -> Tensor:
    """Return KL(U ‖ C̄), how far the batch's mean confidence is from uniform (Eq. 16–17).

    Zero where all N teachers are used alike. A teacher without any confidence counts as one with
    the least positive normal float, so that the value stays finite.

    Args:
        mean: C̄, the confidence averaged over the batch, [N] float.
        even: U where teachers are not always there: the mean over the batch of what `evenly` says,
            [N] float, so that nobody has to stand in for one that is missing; None: 1/N.

    Returns:
        A scalar of at least 0, in nats.
    """
    least = torch.finfo(mean.dtype).tiny
    if even is not None:
        return torch.xlogy(even, even / mean.clamp_min(least)).sum()
    return -math.log(len(mean)) - mean.clamp_min(least).log().mean()


def load_balance_cv(load: Tensor, even: Tensor | None = None) -> Tensor:
    """Return the coefficient of variation of the teachers' loads.

    The value is the loads' unbiased standard deviation over their mean, not squared (as the
    released code's alternative to Eq. 17).

    Args:
        load: the confidence summed over the batch, [N] float.
        even: the sum of what `evenly` says, [N] float, where teachers are not always there: loads
            are then measured by it, of teachers that are there at all.

    Returns:
        A scalar from 0 (all loads alike, also with one teacher) to √N (one has all).
    """
    if even is not None:
        load = load[even > 0] / even[even > 0]
    if len(load) <= 1:
        return (load - load).sum()
    return load.std(correction=1) / load.mean()
