"""Where what a person reads goes to."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.errors import MarkupError
from rich.text import Text

from mstgraph.support.text import printable

WIDTH = 160  # of whatever has no width of its own
_NOT_OURS = re.compile(r"(?<!\\)\[(?!(bold|dim|cyan|green|yellow|bold yellow|/)\])")


class Plain(Console):
    """Shows names and titles as they are, whatever they hold.

    Of markup only the few styles that mstgraph writes are any; all else in brackets is text, and
    so are emoji's names. Characters that command a terminal are not passed on.
    """

    def render_str(self, text: str, *, markup: bool | None = None, **said: Any) -> Text:
        """Return what a text shows."""
        plain, said = printable(text), {**said, "emoji": False}
        if markup is False:
            return super().render_str(plain, markup=False, **said)
        try:
            return super().render_str(_NOT_OURS.sub(r"\\[", plain), markup=markup, **said)
        except MarkupError:
            return super().render_str(plain, markup=False, **said)


def standard_console(progress: bool = True) -> Console:
    """Return the console of standard output, or one that shows nothing."""
    if not progress:
        return Plain(quiet=True, force_terminal=False)
    # A pipe has no width of its own: do not fold what somebody will grep.
    return Plain(width=None if sys.stdout.isatty() else WIDTH)


def as_text(show: Callable[[Console], None]) -> str:
    """Return what a function prints, as plain text without its last line break."""
    stream = io.StringIO()
    show(Plain(file=stream, width=WIDTH, color_system=None, force_terminal=False))
    return stream.getvalue().removesuffix("\n")
