"""Threads of this process for one kind of work, begun once."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def own_threads(name: str, count: Callable[[], int]) -> ThreadPoolExecutor:
    """Return this process's threads for a kind of work, begun when they are first asked for.

    Args:
        name: of the work.
        count: how many threads there are to be; asked once.
    """
    return _begun(os.getpid(), name, count)  # threads do not survive a fork


@functools.cache
def _begun(process: int, name: str, count: Callable[[], int]) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count(), name)
