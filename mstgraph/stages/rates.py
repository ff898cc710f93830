"""Schedules of the learning rate, as gin references: ``DKD.schedule = @CosineDecay()``."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import gin


@dataclass(frozen=True)
class Schedule(ABC):
    """The share of a stage's learning rate that a step is taken with; a function of place alone.

    So a resumed stage goes on as if nothing had happened.

    Attributes:
        warmup: share of all steps, from the first, over which the rate climbs from zero.
    """

    warmup: float = 0.0

    @abstractmethod
    def after_warmup(self, done: float) -> float:
        """Return the share of the rate once ``done`` of what follows the warm-up is over."""

    def share(self, step: int, steps: int) -> float:
        """Return the share of the rate of a step, counted from 0, of so many.

        >>> [LinearDecay().share(step, 4) for step in range(4)]
        [1.0, 0.75, 0.5, 0.25]
        """
        warm = self.warmup * steps
        if step < warm:
            return (step + 1) / (warm + 1)
        return self.after_warmup((step - warm) / (steps - warm))

    def problem(self) -> str | None:
        """Return what is wrong and what was expected if the settings make no sense."""
        if not 0 <= self.warmup < 1:
            return f"has warmup = {self.warmup}, expected a share of the steps from 0 to below 1"
        return None


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class ConstantRate(Schedule):
    """The same rate at every step."""

    def after_warmup(self, done: float) -> float:
        """Return 1."""
        return 1.0


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class LinearDecay(Schedule):
    """From the whole rate in a straight line to zero."""

    def after_warmup(self, done: float) -> float:
        """Return 1 − done."""
        return 1 - done


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class CosineDecay(Schedule):
    """Half a cosine from the whole rate to zero (SGDR without restarts, arXiv 1608.03983)."""

    def after_warmup(self, done: float) -> float:
        """Return (1 + cos π·done) / 2."""
        return (1 + math.cos(math.pi * done)) / 2


@gin.configurable(module="mstgraph")
@dataclass(frozen=True)
class PolynomialDecay(Schedule):
    """(1 − done)^power, down to a least share of the rate.

    Attributes:
        power: 1 is a straight line; 0.9 is common for segmentation.
        least: share of the rate that it never falls below.
    """

    power: float = 0.9
    least: float = 0.0

    def after_warmup(self, done: float) -> float:
        """Return the greater of (1 − done)^power and ``least``."""
        return max(self.least, (1 - done) ** self.power)

    def problem(self) -> str | None:
        """Refuse a power that is none, and a floor above the rate."""
        if not self.power > 0:
            return f"has power = {self.power}, expected more than 0"
        if not 0 <= self.least <= 1:
            return f"has least = {self.least}, expected a share of the rate from 0 to 1"
        return super().problem()
