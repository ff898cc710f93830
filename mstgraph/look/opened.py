"""A finished run with its store: networks with their weights, and batches to show them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mstgraph.data.feed import LABELS_AT_A_TIME, Feed, Pool
from mstgraph.derive.experiment import Experiment
from mstgraph.run.artefacts.modules import load_modules
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.run.networks import Networks, Outputs, Shared
from mstgraph.stages.node import Forward
from mstgraph.stages.stage import StageNode


def finished_networks(
    experiment: Experiment, folder: RunFolder, node: StageNode, device: torch.device
) -> Networks:
    """Return the networks of a finished stage, with the weights that it left."""
    # The stage's own weights, not those it started from.
    finished = replace(node, sources={**node.sources, **dict.fromkeys(node.leaves, node.name)})
    modules = load_modules(experiment.parts, folder, [finished], device)
    precision = experiment.engine.precision
    rules = experiment.input_rules
    return Networks(modules, experiment.inputs_of, frozenset(), {}, precision, rules)


@dataclass(frozen=True)
class Asked:
    """A network that can be asked: whose answer, by which stage's weights.

    Attributes:
        title: as a person reads it.
        node: the stage.
        forward: how it answers.
        networks: the stage's networks.
    """

    title: str
    node: StageNode
    forward: Forward
    networks: Networks

    def outputs(self, shared: Shared, taps: tuple[str, ...] = ()) -> Outputs:
        """Return logits, and what tapped layers return, for a batch."""
        return self.networks.computed(replace(self.forward, taps=taps), shared)


class Opened:
    """A finished run and its data.

    Args:
        path: the run's folder.
        device: where to compute.
        experiment: what it holds.
    """

    def __init__(self, path: Path, device: torch.device, experiment: Experiment):
        assert experiment.source.store is not None
        self.experiment = experiment
        self.device = device
        self.folder = RunFolder(path)
        self.store = experiment.source.store
        self._networks: dict[str, Networks] = {}
        self._measured: dict[str, np.ndarray] = {}

    @cached_property
    def pool(self) -> Pool:
        """The data; nothing of it stays in memory."""
        data = self.experiment.data
        return Pool(self.store, self.experiment.split, self.device, data.normalisation, budget=0)

    def ids(self, part: str = "test") -> np.ndarray:
        """Return the numbers of a part's samples that have a label, [samples] int64."""
        return self.store.split(self.experiment.split, part)[self._labelled(part)]

    def _labelled(self, part: str) -> np.ndarray:
        """Return places in a part, of the samples that are measured: [samples] int64."""
        if part not in self._measured:
            task, feed = self.experiment.task, self.pool.feed(part, ())
            rows = []
            for _, labels, places in feed.epoch(LABELS_AT_A_TIME) if task.unlabelled else ():
                counted = task.counted(labels)
                assert counted is not None
                rows.append(places[counted.reshape(len(labels), -1).any(1)].cpu())
            whole = torch.cat(rows) if rows else torch.arange(len(feed))
            self._measured[part] = whole.numpy()
        return self._measured[part]

    def asked(self, title: str, place: tuple[str, str]) -> Asked:
        """Return the network behind (stage, response), in eval mode."""
        stage, response = place
        node = self.experiment.plan.stages[stage]
        if stage not in self._networks:
            networks = finished_networks(self.experiment, self.folder, node, self.device)
            for module in networks.modules.values():
                module.eval()
            self._networks[stage] = networks
        return Asked(title, node, replace(node.forwards[response], taps=()), self._networks[stage])

    def batch(
        self, positions: Sequence[int] | np.ndarray, members: Sequence[str], part: str = "test"
    ) -> Shared:
        """Return some samples of a part as networks see them.

        Args:
            positions: places in the part, counting samples with a label alone.
            members: whose modalities are wanted.
            part: of the split that the run was trained on.
        """
        return next(self.batches(positions, members, part, len(positions)))

    def batches(
        self,
        positions: Sequence[int] | np.ndarray,
        members: Sequence[str],
        part: str = "test",
        size: int = 64,
    ) -> Iterator[Shared]:
        """Yield `batch` after batch of at most ``size`` samples."""
        wanted = {name for member in members for name in self.experiment.inputs_of[member]}
        order = [name for name in self.experiment.source.modalities if name in wanted]
        feed = Feed(self.pool, part, order)
        measured = self._labelled(part)[np.asarray(positions, dtype=np.int64)]
        places = torch.as_tensor(measured, dtype=torch.int64)
        for inputs, labels, where in feed.batches(list(places.split(size))):
            yield Shared(inputs, labels, where, {}, feed.lengths(where))

    def raw(self, modality: str, positions: Sequence[int], part: str = "test") -> np.ndarray:
        """Return samples as the store holds them, [samples, *shape]."""
        return self.store.read(modality, self.ids(part)[np.asarray(positions)])

    def labels(self, positions: Sequence[int], part: str = "test") -> np.ndarray:
        """Return labels as the store holds them, [samples, …]."""
        return self.store.read_labels(self.ids(part)[np.asarray(positions)])


def as_numpy(values: Tensor) -> np.ndarray:
    """Return a tensor's values on the CPU, [...] float."""
    found: np.ndarray = values.detach().float().cpu().numpy()
    return found


def spread(total: int, wanted: int) -> np.ndarray:
    """Return places spread evenly over a part, at most as many as wanted: [n] int64."""
    return np.unique(np.linspace(0, total - 1, min(total, wanted)).astype(np.int64))
