"""What responses say: of several the mean, and of exclusive classes how sure and how far alike."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def entropy(logits: Tensor) -> Tensor:
    """Return the entropy of each sample's output in nats, averaged over its pixels if it has some.

    Args:
        logits: [batch, num_outputs] or [batch, num_outputs, height, width] float.

    Returns:
        [batch] float.
    """
    log_p = F.log_softmax(logits, dim=1)
    return -(log_p.exp() * log_p).sum(dim=1).reshape(len(logits), -1).mean(dim=1)


def weighted_sum(responses: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Return Σ_j w_j z_j for each sample, [batch, num_outputs, ...] float.

    Args:
        responses: z_j of N teachers, [batch, num_outputs, ...] float each.
        weights: [batch, N] float.
    """
    extent = [1] * (responses[0].dim() - 1)
    terms = [
        weight.view(-1, *extent) * outputs
        for outputs, weight in zip(responses, weights.unbind(1), strict=True)
    ]
    return functools.reduce(torch.add, terms)


def mean_response(responses: Sequence[Tensor], weights: Tensor) -> Tensor:
    """Return logits of several teachers as one: the weighted mean of their log-probabilities.

    Softened by τ they are, up to a constant that no softmax sees, the mean of the teachers'
    log-probabilities at τ, so whatever temperature a loss has is the one that is averaged at.

    Args:
        responses: logits of N teachers, [batch, num_outputs, ...] float each.
        weights: [batch, N] float, rows summing to one.

    Returns:
        [batch, num_outputs, ...] float.
    """
    return weighted_sum([F.log_softmax(logits, dim=1) for logits in responses], weights)


def agreement(one: Tensor, other: Tensor) -> Tensor:
    """Return Σ_c min(p_c, q_c) of two outputs, one minus their total variation distance.

    Args:
        one: logits, [batch, num_outputs, ...] float.
        other: logits of the same shape.

    Returns:
        [batch, ...] float: 1 where they are equal, 0 where they have no class in common.
    """
    return torch.minimum(one.softmax(dim=1), other.softmax(dim=1)).sum(dim=1)
