"""Where what a person reads goes to."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

from rich.console import Console

WIDTH = 160  # of whatever has no width of its own


def standard_console(progress: bool = True) -> Console:
    """Return the console of standard output, or one that shows nothing."""
    if not progress:
        return Console(quiet=True, force_terminal=False)
    # A pipe has no width of its own: do not fold what somebody will grep.
    return Console(width=None if sys.stdout.isatty() else WIDTH)


def as_text(show: Callable[[Console], None]) -> str:
    """Return what a function prints, as plain text without its last line break."""
    stream = io.StringIO()
    show(Console(file=stream, width=WIDTH, color_system=None, force_terminal=False))
    return stream.getvalue().removesuffix("\n")
