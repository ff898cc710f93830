"""Threads that a process begins once for a kind of work."""

from __future__ import annotations

import os

from mstgraph.support.machine.threads import own_threads


def two() -> int:
    """How many threads there are to be."""
    return 2


def test_they_are_begun_once_and_never_shared_with_a_fork() -> None:
    """A child's threads are its own: those of its parent are not there."""
    threads = own_threads("test-threads", two)
    assert own_threads("test-threads", two) is threads
    assert own_threads("test-others", two) is not threads
    assert threads.submit(os.getpid).result() == os.getpid()
    child = os.fork()
    if child == 0:
        worked = own_threads("test-threads", two).submit(os.getpid).result(timeout=10)
        os._exit(worked != os.getpid())
    assert os.waitpid(child, 0)[1] == 0
