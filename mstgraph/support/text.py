"""Sizes and shapes as a person reads them, and what a person writes."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import fields
from typing import Any


def size_in_words(size: int) -> str:
    """Return bytes in decimal units, as disks are sold.

    >>> size_in_words(1_500_000)
    '1.5 MB'
    """
    if size >= 10**9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.1f} MB" if size >= 10**5 else f"{size / 1e3:.1f} kB"


def shape_in_words(extents: Sequence[int]) -> str:
    """Return extents as "512×15×20"; those of a scalar are no extents.

    >>> shape_in_words((512, 15, 20))
    '512×15×20'
    """
    return "×".join(map(str, extents)) or "a single value"


def one_line(text: object) -> str:
    r"""Return a text without ends of lines.

    >>> one_line("sea\nside")
    'sea side'
    """
    return " ".join(str(text).split())


def printable(text: str) -> str:
    r"""Return a text that commands no terminal: control characters and lone surrogates as �.

    Ends of lines and tabs stay.

    >>> printable("a\x1b[31m b")
    'a�[31m b'
    """
    return "".join(
        "�" if unicodedata.category(x) in ("Cc", "Cs") and x not in "\n\t" else x for x in text
    )


def take_tuples_of_one(options: Any) -> None:
    """Put a tuple of one where a dataclass has a string and wants a tuple: a comma was forgotten.

    Args:
        options: the dataclass, frozen or not; called where it is made.
    """
    for option in fields(options):
        value = getattr(options, option.name)
        if isinstance(value, str) and str(option.type).startswith("tuple["):
            object.__setattr__(options, option.name, (value,))
