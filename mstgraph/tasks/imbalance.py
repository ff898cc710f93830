"""What a class counts where some are rare: weights from counts, and the focal factor."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def balanced_weights(counts: Tensor) -> Tensor:
    """Return n / (K n_c): all K classes that occur weigh alike, and a sample one on average.

    After King and Zeng 2001, "Logistic Regression in Rare Events Data"; scikit-learn calls it
    balanced.

    Args:
        counts: how many labels each class has, [classes] int64.

    Returns:
        [classes] float64; 1 for a class without any.
    """
    occurring = (counts > 0).sum()
    weights = counts.sum() / (occurring * counts.clamp(min=1)).double()
    return torch.where(counts > 0, weights, torch.ones_like(weights))


def count_classes(labels: Iterable[Tensor], size: int, ignored: int | None) -> Tensor:
    """Count the labels of each class, [size] int64; unknown and ignored ones are left out.

    Args:
        labels: of one batch after another, [batch, ...] int64.
        size: number of classes.
        ignored: the label that does not count, or None.
    """
    counts = torch.zeros(size, dtype=torch.int64)
    for batch in labels:
        counted = (batch >= 0) & (batch < size)
        if ignored is not None:
            counted &= batch != ignored
        counts += torch.bincount(batch[counted].flatten(), minlength=size).cpu()
    return counts


def focal_factor(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """Return (1 − p)^γ with p the probability of the label: what is easy counts less.

    Lin et al. 2017, "Focal Loss for Dense Object Detection", Eq. 4,
    https://arxiv.org/abs/1708.02002.

    Args:
        logits: [batch, classes, ...] float.
        labels: [batch, ...] int64; where one is no class, the factor is of no meaning, but finite.
        gamma: γ ≥ 0; 0 leaves all as it is.

    Returns:
        [batch, ...] float, 0 to 1.
    """
    places = labels.clamp(0, logits.shape[1] - 1).unsqueeze(1)
    p = logits.softmax(dim=1).gather(1, places).squeeze(1)
    # Where p rounds to 1, a power below one would have no gradient.
    return (1 - p).clamp(min=torch.finfo(p.dtype).eps) ** gamma
