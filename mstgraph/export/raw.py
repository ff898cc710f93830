"""Raw values of a store with their labels, as whoever uses the student has the first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from mstgraph.data.feed import Feed, Pool
from mstgraph.derive.experiment import Experiment


class Raw:
    """Some modalities of a run's data, not normalised, of the samples that have them all.

    Args:
        experiment: a finished run's, whose store is there.
        modalities: the modalities.
    """

    def __init__(self, experiment: Experiment, modalities: Sequence[str]):
        assert experiment.source.store is not None
        self.store = experiment.source.store
        self.modalities = tuple(modalities)
        self._pool = Pool(
            self.store,
            experiment.split,
            "cpu",
            experiment.data.normalisation,
            experiment.engine.memory_budget(torch.device("cpu")),
        )

    def ids(self, part: str) -> np.ndarray:
        """Return the numbers of a part's samples that have all of it, [samples] int64."""
        feed = self._feed(part)
        return feed.ids[self._there(feed, torch.arange(len(feed))).numpy()]

    def values(self, part: str, most: int) -> tuple[np.ndarray, ...]:
        """Return samples spread over a part evenly, [at most ``most``, *shape] of each modality."""
        ids = self.ids(part)
        chosen = np.unique(np.linspace(0, len(ids) - 1, min(most, len(ids))).astype(int))
        return self._read(ids[chosen])

    def batches(self, part: str, size: int) -> Iterator[tuple[tuple[np.ndarray, ...], Tensor]]:
        """Yield raw values, [batch, *shape] each, and labels as a task takes them, in order."""
        feed = self._feed(part)
        for _, labels, positions in feed.epoch(size):
            there = self._there(feed, positions)
            if there.any():
                yield self._read(feed.ids[positions[there].numpy()]), labels[there]

    def _read(self, ids: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(self.store.read(name, ids) for name in self.modalities)

    def _there(self, feed: Feed, positions: Tensor) -> Tensor:
        """Return which samples have all of the modalities, [samples] bool."""
        there = torch.ones(len(positions), dtype=torch.bool)
        for name, lengths in feed.lengths(positions).items():
            there &= lengths > 0 if name in self.modalities else True
        return there

    def _feed(self, part: str) -> Feed:
        return self._pool.feed(part, [])  # labels alone: raw values are read beside it
