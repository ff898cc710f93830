"""Raw values of a store with their labels, as whoever uses the student has the first."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from mstgraph.data.feed import Feed, Pool
from mstgraph.derive.experiment import Experiment


class Raw:
    """One modality of a run's data, not normalised.

    Args:
        experiment: a finished run's, whose store is there.
        modality: the modality.
    """

    def __init__(self, experiment: Experiment, modality: str):
        assert experiment.source.store is not None
        self.store = experiment.source.store
        self.modality = modality
        self._pool = Pool(
            self.store,
            experiment.split,
            "cpu",
            experiment.data.normalisation,
            experiment.engine.memory_budget(torch.device("cpu")),
        )

    def values(self, part: str, most: int) -> np.ndarray:
        """Return samples that have it, spread over a part evenly, [at most ``most``, *shape]."""
        feed = self._feed(part)
        ids = feed.ids[self._there(feed, torch.arange(len(feed))).numpy()]
        chosen = np.unique(np.linspace(0, len(ids) - 1, min(most, len(ids))).astype(int))
        return self.store.read(self.modality, ids[chosen])

    def batches(self, part: str, size: int) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Yield raw values, [batch, *shape], and labels as a task takes them, in order."""
        feed = self._feed(part)
        for _, labels, positions in feed.epoch(size):
            there = self._there(feed, positions)
            if there.any():
                ids = feed.ids[positions[there].numpy()]
                yield self.store.read(self.modality, ids), labels[there]

    def _there(self, feed: Feed, positions: Tensor) -> Tensor:
        """Return which samples have the modality, [samples] bool."""
        lengths = feed.lengths(positions).get(self.modality)
        return torch.ones(len(positions), dtype=torch.bool) if lengths is None else lengths > 0

    def _feed(self, part: str) -> Feed:
        return self._pool.feed(part, [])  # labels alone: raw values are read beside it
