"""Errors that are the user's to mend: one sentence, exit code 2; and whose code it was."""

from __future__ import annotations

import difflib
import functools
import sysconfig
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = tuple(
    Path(sysconfig.get_path(name)).resolve()
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
GIN_ADDS = "In call to configurable"
_INSTALLED_NAMES = {"site-packages", "dist-packages"}


class UserError(Exception):
    """The input is at fault: what is wrong, where, what was expected, the nearest valid name.

    The command line prints the message alone, without a traceback, and exits with 2.
    """


class RunError(Exception):
    """A run failed through no fault of the input's form (a loss that is no number); exit code 1."""


class LeftAlone(RunError):
    """Another process of a run has ended, which says why."""


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


@functools.cache
def is_users(file: Path) -> bool:
    """Say whether a source file is the user's own."""
    resolved = file.resolve()
    if resolved.is_relative_to(PACKAGE) or _INSTALLED_NAMES.intersection(resolved.parts):
        return False
    return not any(resolved.is_relative_to(folder) for folder in _INSTALLED)


def users_line(error: BaseException) -> str:
    """Return the last line of the user's code that an exception went through, ``net.py:12``.

    Empty if it went through none.
    """
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        file = Path(frame.f_code.co_filename)
        if file.suffix == ".py" and is_users(file):
            return f"{_short(file)}:{line}"
    return ""


def in_words(error: BaseException) -> str:
    """Return what an exception says in one line: ``ValueError: samples is odd (net.py:12)``."""
    line = users_line(error)
    return _said(error) + (f" ({line})" if line else "")


def _said(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "it ends the program (sys.exit)"
    lines = [line.strip() for line in str(error).splitlines()]
    said = next((x for x in lines if x and not x.startswith(GIN_ADDS)), "")
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


@contextmanager
def users_code(what: str) -> Iterator[None]:
    """Turn whatever code of the user's raises into one sentence that begins with ``what``.

    Raises:
        UserError: names the exception and the line of their code.
    """
    try:
        yield
    except (UserError, RunError):
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"{what}: {in_words(error)}") from error


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
