"""Where a run's data comes from: the store, the recipe that makes it, the split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import gin

from mstgraph.augmentation import Augmentation


@gin.configurable("data", module="mstgraph")
@dataclass(frozen=True)
class Data:
    """The data of a run, bound in gin under the name ``data``.

    Attributes:
        store: directory of the feature store.
        recipe: recipe file that prepares the store if it is missing.
        raw: raw data that the recipe reads; None where the recipe needs none.
        options: options of the recipe, ``{'size': (96, 128)}``.
        split: name of the split (``'0'`` to ``'4'``, or an official one); None takes the numbered
            group ``seed % 5``, as the paper's five runs do.
        batch_size: samples per optimiser step, where a stage does not say otherwise.
        normalisation: ``'standard'`` (mean 0, standard deviation 1 per channel), ``'minmax'``
            (0 to 1 per channel) or ``'none'``; statistics come from the training split alone.
        augmentation: changes training batches (``@HorizontalFlip()``), or None.
        shuffle_block: for a store beyond memory, on a disk that is slow at random: training
            shuffles blocks of as many neighbouring samples, then the samples of some blocks
            together, instead of all samples (None); some megabytes of samples make a good block.
        demonstration: gin file that is put on top of the given one when the store is missing and
            so is the raw data; None refuses to run then.
    """

    store: str = ""
    recipe: str = ""
    raw: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    split: str | int | None = None
    batch_size: int = 64
    normalisation: Literal["standard", "minmax", "none"] = "standard"
    augmentation: Augmentation | None = None
    shuffle_block: int | None = None
    demonstration: str | None = None

    def split_name(self, seed: int) -> str:
        """Return the split's name in the store."""
        return str(seed % 5) if self.split is None else str(self.split)
