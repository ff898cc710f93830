"""The processes that train one run together, and what they tell each other.

Each takes consecutive rows of every batch. torch.distributed carries tensors: over gloo those of
a CPU, over nccl those of GPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch import distributed as dist

from mstgraph.support.errors import LeftAlone, UserError
from mstgraph.support.numerics import choose_device

Value = TypeVar("Value")

BACKENDS = "cpu:gloo,cuda:nccl"


@dataclass(frozen=True)
class Processes:
    """The processes of a run; with `count` 1, which is none but this, nothing is ever sent.

    Whatever sends has to be called by all of them, in the same order.

    Attributes:
        rank: which of them this is, from 0.
        count: how many there are.
        beside: how many of them share this machine's memory.
        launcher: the process that started this one; 0 if it need not stay.
    """

    rank: int = 0
    count: int = 1
    beside: int = 1
    launcher: int = 0

    @property
    def main(self) -> bool:
        """Whether this is the one that writes and speaks."""
        return self.rank == 0

    def sizes(self, size: int) -> list[int]:
        """Return how many rows of a batch each process takes: the first ones one more."""
        least, more = divmod(size, self.count)
        return [least + (rank < more) for rank in range(self.count)]

    def rows(self, size: int) -> slice:
        """Return the rows of a batch that this process reads.

        One at least: where there are more processes than rows, the first row stands in, whose
        answers are left out (`sizes`).
        """
        sizes = self.sizes(size)
        first = sum(sizes[: self.rank])
        return slice(first, first + sizes[self.rank]) if sizes[self.rank] else slice(0, 1)

    def gather(self, values: Tensor, sizes: Sequence[int]) -> Tensor:
        """Return the rows of all processes, with gradient to this one's own.

        For losses that every process computes alike, of all rows: what the others would send back
        is what this one has itself. So gradients come `count` times too large, of which
        `average_gradients` takes the mean.

        Args:
            values: this process's rows, [n, ...].
            sizes: n of each process.

        Returns:
            [sum of sizes, ...].
        """
        if self.count == 1:
            return values
        gathered: Tensor = _Gather.apply(values, self, tuple(sizes))
        return gathered

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over all processes, without gradient."""
        total = values.clone()
        with _answered():
            dist.all_reduce(total)
        return total

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give parameters the mean of all processes' gradients; one without any stays so."""
        if self.count == 1 or not parameters:
            return
        for dtype in dict.fromkeys(p.dtype for p in parameters):
            self._average([p for p in parameters if p.dtype == dtype])

    def _average(self, parameters: Sequence[nn.Parameter]) -> None:
        """One tensor for all: whatever has a gradient here, all processes send as much."""
        pieces = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        has = [float(p.grad is not None) for p in parameters]
        everything = torch.cat([*(p.flatten() for p in pieces), pieces[0].new_tensor(has)])
        mean = self.sum(everything).div_(self.count)
        *shares, anywhere = mean.split([*(p.numel() for p in parameters), len(parameters)])
        for place, (parameter, share) in enumerate(zip(parameters, shares, strict=True)):
            if parameter.grad is not None:
                parameter.grad.copy_(share.view_as(parameter))
            elif anywhere[place] > 0:
                parameter.grad = share.view_as(parameter).clone()

    def any(self, flag: bool) -> bool:
        """Say whether any process says so."""
        return bool(self._reduced(int(flag), dist.ReduceOp.MAX)) if self.count > 1 else flag

    def least(self, value: int) -> int:
        """Return the smallest of all processes' numbers."""
        return self._reduced(value, dist.ReduceOp.MIN) if self.count > 1 else value

    def agreed(self, value: Value) -> Value:
        """Return what the main process says; what the others say is not asked."""
        if self.count == 1:
            return value
        box: list[Any] = [value]
        with _answered():
            dist.broadcast_object_list(box, src=0)
        return box[0]

    def wait(self) -> None:
        """Wait until all processes are here."""
        self.any(False)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Let the others in when the main process is through."""
        if not self.main:
            self.wait()
        yield
        if self.main:
            self.wait()

    def ended(self) -> bool:
        """Say whether the launcher that started this process is gone."""
        return self.launcher not in (0, os.getppid())

    def _reduced(self, value: int, how: Any) -> int:
        box = torch.tensor(value)
        with _answered():
            dist.all_reduce(box, how)
        return int(box)


ALONE = Processes()


class _Gather(torch.autograd.Function):
    """See `Processes.gather`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, processes: Processes, sizes: tuple[int, ...]) -> Tensor:
        first = sum(sizes[: processes.rank])
        ctx.rows = slice(first, first + sizes[processes.rank])
        ctx.count = processes.count
        longest = max(sizes)
        own = values.new_zeros(longest, *values.shape[1:])  # all send as much
        own[: len(values)] = values
        every = [torch.empty_like(own) for _ in sizes]
        with _answered():
            dist.all_gather(every, own)
        return torch.cat([rows[:size] for rows, size in zip(every, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient[ctx.rows] * ctx.count, None, None


@contextmanager
def _answered() -> Iterator[None]:
    """Say in a sentence that another process does not answer any more."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise LeftAlone(
            "another process of this run has ended; when all have, the same command continues"
        ) from error


@contextmanager
def joined(device: str) -> Iterator[tuple[Processes, torch.device]]:
    """Join the processes that torch's launcher started with this one; alone without it.

    Args:
        device: what `choose_device` takes; of several GPUs each process takes the one of its
            number on its machine.

    Yields:
        The processes, and where this one computes.

    Raises:
        UserError: there is no such device, or there are more processes than GPUs.
        LeftAlone: another process has ended meanwhile.
    """
    if not dist.is_available() or not dist.is_torchelastic_launched():
        yield ALONE, choose_device(device)
        return
    count, rank = int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    local, beside = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    where = _own_device(device, local, beside) if count > 1 else choose_device(device)
    with _answered():  # a user's mistake can end another one before all have met
        dist.init_process_group(BACKENDS if where.type == "cuda" else "gloo")
    try:
        yield Processes(rank, count, beside, os.getppid()), where
    finally:
        dist.destroy_process_group()


def _own_device(device: str, local: int, beside: int) -> torch.device:
    """Return the device of the process that is the local-th of its machine."""
    where = choose_device(device)
    if where.type != "cuda":
        return where
    if where.index is not None and device != "auto":
        raise UserError(
            f"device '{device}' is one GPU, and several processes need one each, expected "
            "--device cuda"
        )
    if beside > torch.cuda.device_count():
        raise UserError(
            f"{beside} processes need a GPU each, and torch sees {torch.cuda.device_count()} here, "
            "expected as many processes, or --device cpu"
        )
    torch.cuda.set_device(local)
    return torch.device("cuda", local)
