"""The average of a stage's weights over its steps, which is what is validated and deployed.

Tarvainen and Valpola 2017, "Mean teachers are better role models",
https://arxiv.org/abs/1703.01780: an exponential moving average, here of the network that is kept.
Training goes on with the weights themselves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

States = dict[str, dict[str, Tensor]]


class Average:
    """Moving averages of the states of some parts.

    After step t it is α × the average so far + (1 − α) × the weights, with α the smaller of the
    decay and 1 − 1/t: the plain mean at first, so that initial weights do not linger. Running
    statistics are averaged alike; what is no floating point number is taken as it is.

    Args:
        parts: name → module, on their device.
        decay: share of the old that each step keeps, 0 to 1.
        states: averages to go on from; empty to begin with the parts as they are.
        steps: how many steps they have seen.
    """

    def __init__(
        self, parts: Mapping[str, nn.Module], decay: float, states: States, steps: int
    ) -> None:
        self.parts = parts
        self.decay = decay
        self.steps = steps
        self.states: States = {
            name: {key: value.detach().clone() for key, value in part.state_dict().items()}
            for name, part in parts.items()
        }
        for name, part in states.items():
            for key, value in part.items():
                self.states[name][key].copy_(value)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights after a step."""
        self.steps += 1
        share = 1 - min(self.decay, 1 - 1 / self.steps)
        for average, current in self._pairs():
            if average.is_floating_point():
                average.lerp_(current, share)
            else:
                average.copy_(current)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the parts have the averages while the context is open."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for average, current in self._pairs():
            before = current.clone()
            current.copy_(average)
            average.copy_(before)

    def _pairs(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each average with the tensor that it is the average of."""
        for name, part in self.parts.items():
            for key, current in part.state_dict().items():
                yield self.states[name][key], current
