"""The first signal asks; the second acts as it always does."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from mstgraph.support.interrupt import Interrupt


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_request(number: int) -> None:
    """Nothing is interrupted by it, and the handlers are the old ones again."""
    before = {n: signal.getsignal(n) for n in Interrupt.SIGNALS}
    with Interrupt() as interrupt:
        assert not interrupt.requested
        os.kill(os.getpid(), number)
        assert interrupt.requested
        assert {n: signal.getsignal(n) for n in Interrupt.SIGNALS} == before


def test_the_second_ctrl_c_stops_at_once() -> None:
    """For whoever cannot wait for the end of a batch."""
    # A shell's background job ignores SIGINT; a terminal's foreground job has Python's handler.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with Interrupt() as interrupt:
            os.kill(os.getpid(), signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            assert interrupt.requested
    finally:
        signal.signal(signal.SIGINT, before)


def test_handlers_are_put_back() -> None:
    """Also when nobody asked."""
    before = {n: signal.getsignal(n) for n in Interrupt.SIGNALS}
    with Interrupt():
        assert {n: signal.getsignal(n) for n in Interrupt.SIGNALS} != before
    assert {n: signal.getsignal(n) for n in Interrupt.SIGNALS} == before


def test_outside_of_the_main_thread_signals_are_left_alone() -> None:
    """Python allows handlers in the main thread only."""
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def work() -> None:
        with Interrupt() as interrupt:
            seen.append((signal.getsignal(signal.SIGINT), interrupt.requested))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, False)]


def test_what_stops_together_agrees() -> None:
    """Each says what it was asked, and is told what all were."""
    said: list[bool] = []

    def agreed(asked: bool) -> bool:
        said.append(asked)
        return True

    assert Interrupt(agreed=agreed).requested
    assert said == [False]
