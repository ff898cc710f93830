"""Errors that are the user's to mend: one sentence, exit code 2."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """The input is at fault: what is wrong, where, what was expected, the nearest valid name.

    The command line prints the message alone, without a traceback, and exits with 2.
    """


class RunError(Exception):
    """A run failed through no fault of the input's form (a loss that is no number); exit code 1."""


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return the end of a sentence that names what could have been meant.

    >>> nearest("dept", ["depth", "rgb"])
    "; did you mean 'depth'? (valid: depth, rgb)"
    """
    names = sorted(set(valid))
    if not names:
        return ""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    shown = ", ".join(names if len(names) <= 12 else [*names[:12], "…"])
    return f"; did you mean '{close[0]}'? (valid: {shown})" if close else f" (valid: {shown})"
