"""Networks that several processes share: each asks them of its rows of a batch.

What they answer is gathered, with gradient. All else (losses, gates, what an edge's loss trains,
metrics) every process computes of the whole batch, alike: it is small beside the networks, and no
stage, method or task has to know that there are several. What is kept, every process keeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mstgraph.networks.rows import at_rest, spread
from mstgraph.run.networks import Networks, Outputs, Shared
from mstgraph.run.processes.norms import Norms, of_batch
from mstgraph.stages.node import Forward, Question
from mstgraph.support.processes.group import Processes
from mstgraph.support.seeds import derive_seed, python_seeded, seed_torch


class Whole(Shared):
    """A batch of which this process has the inputs of its own rows alone.

    Attributes:
        own: these rows, as a batch.
        sizes: how many rows each process takes.
    """

    def __init__(self, own: Shared, sizes: Sequence[int], *rest: Any):
        super().__init__({}, *rest)
        self.own = own
        self.sizes = sizes


class SharedNetworks(Networks):
    """`Networks` of which each process computes its rows.

    Args:
        processes: the processes.
        rest: of `Networks`.
    """

    def __init__(self, processes: Processes, *rest: Any):
        super().__init__(*rest)
        self.processes = processes
        self._norms = Norms(self.modules.values(), processes)
        self._seed, self._draws = 0, 0

    def begin_step(self, seed: int) -> None:
        """Begin this process's own random draws anew."""
        self._seed, self._draws = seed, 0

    def shared(self, batch: Shared) -> Shared:
        """Return a batch of which inputs and labels are this process's rows, all else all rows."""
        positions, places, kept = batch.positions, batch.places, batch.kept
        sizes, rows = self.processes.sizes(len(positions)), self.processes.rows(len(positions))
        parts = {name: values[rows] for name, values in batch.lengths.items()}
        own = Shared(batch.inputs, batch.labels, positions[rows], kept, parts, places[rows])
        every = self.processes.gather(batch.labels[: self._own(sizes)], sizes)
        return Whole(own, sizes, every, positions, kept, batch.lengths, places)

    def computed(self, question: Question, shared: Shared, rows: Tensor | None = None) -> Outputs:
        """Return what networks answer for all rows; each process has computed its own."""
        if not isinstance(shared, Whole):
            return super().computed(question, shared, rows)
        assert rows is None, "rows are chosen among a process's own"
        modules = [self.modules[part] for part in question.parts]
        there = self.there(question.member, shared)
        taking = shared.sizes if there is None else _count(there, shared.sizes)
        with self._drawing(modules):
            answers = self._answers(question, shared, modules, sum(taking))
        if isinstance(question, Forward) and question.masknet:
            self._gather_mask(self.modules[question.masknet], taking)
        learns = torch.is_grad_enabled() and not self.trained.isdisjoint(question.parts)
        return {name: self._gathered(v, shared.sizes, learns) for name, v in answers.items()}

    def chosen_responses(
        self,
        forwards: Sequence[Forward],
        chosen: Tensor,
        shared: Shared,
        like: Callable[[], Tensor],
    ) -> Tensor:
        """Return what the choices of all rows answer; each process has asked for its own."""
        assert isinstance(shared, Whole)
        response = like()  # asked by all processes, or by none
        rows = self.processes.rows(len(chosen))
        own = super().chosen_responses(forwards, chosen[rows], shared.own, lambda: response)
        return self._gathered(own.transpose(0, 1), shared.sizes, False).transpose(0, 1)

    def _answers(
        self, question: Question, shared: Whole, modules: Sequence[nn.Module], taking: int
    ) -> Outputs:
        """Return what networks answer for this process's rows, which may only stand in.

        Where others normalise over the batch, this process has to, too.
        """
        own, size = shared.own, self._own(shared.sizes)
        here = self.there(question.member, own)
        together = any(of_batch(m) for module in modules for m in module.modules())
        if not taking or not together:
            return super().computed(question, own)
        places = torch.arange(size) if here is None else here[:size].nonzero().flatten()
        places = places.to(own.labels.device)
        rows = None if here is None else places if len(places) else places.new_zeros(1)
        # One sample alone has no variance, wherever it is.
        rest = at_rest(modules, _BatchNorm) if taking == 1 else nullcontext()
        with rest, self._norms.together(counted=len(places) > 0):
            answers = self._computed(question, own, rows)
        if rows is None:
            return answers
        return {n: spread(v[: len(places)], places, size) for n, v in answers.items()}

    def _gathered(self, values: Tensor, sizes: Sequence[int], learns: bool) -> Tensor:
        """Return all processes' rows; where one of them learns, all do."""
        own = values[: self._own(sizes)]
        if learns and not own.requires_grad and own.is_floating_point():
            own = own.detach().requires_grad_()
        return self.processes.gather(own, sizes)

    def _gather_mask(self, masknet: nn.Module, taking: Sequence[int]) -> None:
        """Let a MaskNet's last mask be that of all rows, of which stages report."""
        mask = getattr(masknet, "last_mask", None)
        if mask is not None and not masknet.training and any(taking):
            own = mask[: taking[self.processes.rank]]
            masknet.last_mask = self.processes.gather(own, taking)

    @contextmanager
    def _drawing(self, modules: Sequence[nn.Module]) -> Iterator[None]:
        """Let networks that train draw what is this process's own; what all draw is left alone."""
        if not any(module.training for module in modules):
            yield
            return
        self._draws += 1
        seed = derive_seed(self._seed, self.processes.rank, self._draws)
        devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
        with torch.random.fork_rng(devices), python_seeded(seed):
            seed_torch(seed)
            yield

    def _own(self, sizes: Sequence[int]) -> int:
        return sizes[self.processes.rank]


def _count(there: Tensor, sizes: Sequence[int]) -> list[int]:
    """Return how many of each process's rows take part."""
    return [int(rows.sum()) for rows in there.split(list(sizes))]
