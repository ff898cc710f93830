"""Whose code it was: files of the user's, and the line of theirs that an exception came from."""

from __future__ import annotations

import functools
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mstgraph.support.errors import RunError, UserError

PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED = tuple(
    Path(sysconfig.get_path(name)).resolve()
    for name in ("stdlib", "platstdlib", "purelib", "platlib")
)
GIN_ADDS = "In call to configurable"
_INSTALLED_NAMES = {"site-packages", "dist-packages"}


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
