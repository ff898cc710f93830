"""Logit standardisation: what a teacher ranks counts, not how large its logits are.

Sun et al. 2024, https://arxiv.org/abs/2403.01427 (the number of
its algorithm is not checked). It is an option, `standardised`, of
every loss that softens logits. Their temperature then is the paper's base temperature; its
experiments give the loss a weight of its own, which here is the stage's.
"""

from __future__ import annotations

from torch import Tensor

EPSILON = 1e-7
"""Added to the standard deviation, as the released code does."""


def standardise(logits: Tensor) -> Tensor:
    """Return the z-scores of logits over the classes, (z − mean z) / std z (Algorithm 1).

    The standard deviation is that of the classes at hand (divided by their number K). The released
    code divides by K − 1, which is a temperature √(K / (K − 1)) times lower.

    Args:
        logits: [batch, num_outputs, ...] float.

    Returns:
        The same shape; 0 where all classes are alike, and without gradient there.
    """
    centred = logits - logits.mean(dim=1, keepdim=True)
    return centred / (logits.std(dim=1, correction=0, keepdim=True) + EPSILON)
