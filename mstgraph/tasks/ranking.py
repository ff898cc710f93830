"""How well scores rank what applies above what does not, also under draws of samples."""

from __future__ import annotations

import torch
from torch import Tensor

CELLS = 2**22  # draws × samples that are added up at a time


def average_precision(scores: Tensor, applies: Tensor, weights: Tensor) -> Tensor:
    """Return AP = Σ_n (R_n − R_{n−1}) P_n over the distinct scores, highest first.

    Scikit-learn's `average_precision_score` with sample weights, without interpolation; equal
    scores are one threshold.

    Args:
        scores: [samples] float.
        applies: 1 where the class applies, else 0: [samples].
        weights: how often each sample counts, [draws, samples] float64.

    Returns:
        [draws] float64; nan where the class applies to no sample that counts.
    """
    if not len(scores):
        return weights.new_full((len(weights),), torch.nan)
    order = scores.argsort(descending=True, stable=True)
    scores, positive = scores[order], applies[order].to(weights)
    last = torch.ones_like(scores, dtype=torch.bool)
    last[:-1] = scores[1:] != scores[:-1]
    found = []
    for part in weights.split(max(1, CELLS // len(scores))):
        part = part[:, order]
        counted = part.cumsum(1)[:, last]
        hits = (part * positive).cumsum(1)[:, last]
        gained = hits.diff(dim=1, prepend=hits.new_zeros(len(hits), 1))
        # Before the first sample that counts there is nothing to be precise about.
        precision = torch.where(counted > 0, hits / counted, torch.zeros_like(hits))
        found.append((gained * precision).sum(1) / hits[:, -1])
    return torch.cat(found)
