"""How a raw sample of a modality is shown: as an image, as traces over time, or as a vector."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import numpy as np

MOST_TRACES = 16  # more lines over each other are none; they become an image


class Kind(Enum):
    """What a sample looks like."""

    IMAGE = "image"
    TRACES = "traces"
    VECTOR = "vector"


def kind_of(shape: Sequence[int]) -> Kind:
    """Return how samples of a shape without the batch are shown.

    >>> [kind_of(s).value for s in ((76,), (3, 64), (1, 28, 28), (40, 100), (3, 8, 112, 112))]
    ['vector', 'traces', 'image', 'image', 'image']
    """
    extents = [n for n in shape if n > 1]
    if len(extents) <= 1:
        return Kind.VECTOR
    return Kind.TRACES if len(shape) == 2 and shape[0] <= MOST_TRACES else Kind.IMAGE


def picture(values: np.ndarray) -> np.ndarray:
    """Return a sample as an image, [height, width] or [height, width, 3] float in 0…1.

    Three channels are colours; of any other number the mean is shown, and of a clip the frame in
    its middle. Numbers that are no bytes are stretched from their least to their greatest.

    Args:
        values: [channels, height, width], [channels, time, height, width] or [height, width].
    """
    whole = values.dtype == np.uint8
    found = values.astype(np.float64)
    if found.ndim == 4:
        found = found[:, found.shape[1] // 2]
    if found.ndim == 3:
        found = np.moveaxis(found, 0, 2) if len(found) == 3 else found.mean(0)
    if whole:
        return found / 255
    low, high = np.quantile(found, (0.005, 0.995))
    stretched: np.ndarray = np.clip((found - low) / max(high - low, 1e-12), 0, 1)
    return stretched
