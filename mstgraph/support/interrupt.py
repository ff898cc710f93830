"""Ctrl-C and SIGTERM as a request that a stage grants between two batches."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """The run stopped on request; its state is saved and the same command continues."""


class Interrupt:
    """While entered, the first signal sets `requested`; the second one acts as it always does.

    Args:
        elsewhere: says whether somebody who cannot send a signal asks to stop.
        agreed: says, of what this process says, what all say that stop together.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(
        self,
        elsewhere: Callable[[], bool] = lambda: False,
        agreed: Callable[[bool], bool] = bool,
    ) -> None:
        self._signalled = False
        self._elsewhere = elsewhere
        self._agreed = agreed
        self._previous: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        """Whether somebody asks to stop."""
        return self._agreed(self._signalled or self._elsewhere())

    @requested.setter
    def requested(self, value: bool) -> None:
        self._signalled = value

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            for number in self.SIGNALS:
                self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()

    def _request(self, number: int, frame: FrameType | None) -> None:
        self._signalled = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()
