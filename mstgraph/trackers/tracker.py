"""What a tracker is told; nothing it does can change a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class Tracker(Protocol):
    """Is told of a run's numbers, where a gin file says ``engine.tracker = @Name()``."""

    def started(self, name: str, settings: str) -> None:
        """Called once, before anything is trained.

        Args:
            name: of the run's folder.
            settings: the operative configuration, as gin text.
        """

    def epoch(self, stage: str, epoch: int, values: Mapping[str, float]) -> None:
        """Called after each epoch, also for those of an earlier session.

        Args:
            stage: its name.
            epoch: which, from 1.
            values: name → number, ``training/task/value``, ``validation/loss``, …
        """

    def ended(self, values: Mapping[str, float]) -> None:
        """Called once the run is finished.

        Args:
            values: ``STUDENT/distilled/METRIC``, ``…/alone/…`` and ``…/gain/…`` → number.
        """
