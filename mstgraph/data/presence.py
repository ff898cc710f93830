"""How much of each modality the samples of a part have: what the store says, less what is hidden.

``data.absent`` takes a modality from some samples at random, to see what a method makes of that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from mstgraph.data.labelled import keep_labels
from mstgraph.support.errors import UserError
from mstgraph.support.seeds import derive_seed

PARTS = ("train",)  # where samples lose a modality, unless the user says otherwise
Lengths = Mapping[str, Tensor]
"""Modality → how many entries of its last axis each sample has, [batch] int64; 0: none of it.

Of modalities alone that some sample may lack, or have less of (`mstgraph.store.recipe.Modality`).
"""


def part_lengths(
    lengths: Mapping[str, np.ndarray],
    whole: Mapping[str, int],
    classes: np.ndarray,
    absent: Mapping[str, float],
    seed: int,
    device: torch.device,
) -> dict[str, Tensor]:
    """Return how much of each modality the samples of a part have.

    Args:
        lengths: what the store says, `mstgraph.store.reader.Store.read_lengths`.
        whole: modality → the length of its last axis.
        classes: class of each, [samples] int64; below zero where nobody knows it.
        absent: modality → share of the samples that have it which lose it.
        seed: which of them.
        device: where it is wanted.
    """
    found = dict(lengths)
    for name, share in absent.items():
        own = found.get(name, np.full(len(classes), whole[name]))
        lost = lose(classes, own > 0, share, derive_seed(seed, "absent", name))
        found[name] = np.where(lost, 0, own)
    return {name: torch.from_numpy(own).to(device) for name, own in found.items()}


def lose(classes: np.ndarray, there: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Choose the samples that lose a modality, [samples] bool.

    Each class loses the same share (samples of unknown class are one more), and those that lose it
    are always some of those of a larger share under the same seed.

    Args:
        classes: class of each sample, [samples] int64.
        there: which samples have the modality, [samples] bool.
        share: of these, 0 to 1.
        seed: which of them.
    """
    shifted = classes - classes.min(initial=0)  # a class below zero would never be chosen
    return keep_labels(np.where(there, shifted, -1), float(share), seed)


def refuse_lost_class(
    lengths: Lengths, absent: Mapping[str, float], classes: np.ndarray, names: Sequence[str]
) -> None:
    """Refuse to take a modality from every training sample of a class.

    Args:
        lengths: what is left.
        absent: modality → share that loses it.
        classes: class of each sample, [samples] int64; below zero where nobody knows it.
        names: of the classes.

    Raises:
        UserError: some class is left without a modality.
    """
    for modality in absent:
        left = classes[(lengths[modality] > 0).cpu().numpy()]
        lost = np.setdiff1d(classes[classes >= 0], left)
        if len(lost):
            name = f"'{names[lost[0]]}'" if lost[0] < len(names) else "a class"
            raise UserError(
                f"data.absent leaves '{modality}' to no training sample of {name}; expected a "
                "smaller share"
            )
