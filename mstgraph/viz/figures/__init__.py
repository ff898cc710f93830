"""The figures of runs, one file each: ``draw(wanted)`` returns it, the file's name is its name.

``mstgraph draw NAME RUN`` finds a file here by its name, and so do the scripts in ``tools/``: a new
figure is a new file, and no list names it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any


def names() -> list[str]:
    """Return the names of all figures; imports none of them."""
    return sorted(file.stem for file in Path(__file__).parent.glob("[a-z]*.py"))


def figure(name: str) -> Callable[..., Any]:
    """Return what draws a figure: `mstgraph.viz.wanted.Wanted` → matplotlib's ``Figure``."""
    draw: Callable[..., Any] = importlib.import_module(f"{__name__}.{name}").draw
    return draw


def meaning(name: str) -> str:
    """Return what a figure shows, from the first line of its file; imports none of them."""
    with Path(__file__).with_name(f"{name}.py").open(encoding="utf-8") as stream:
        return stream.readline().strip().strip('"')
