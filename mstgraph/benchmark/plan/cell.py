"""One of many runs, before it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One of many runs: a row's method for a student under a seed, or a trial of a search.

    Attributes:
        row: index of the row, or number of the trial.
        student: index of the student.
        seed: the seed.
        files: gin files, later ones win.
        bindings: bindings on top of them, later ones win.
        places: binding → where it was written, for those that no command line holds.
    """

    row: int
    student: int
    seed: int
    files: tuple[str, ...]
    bindings: tuple[str, ...]
    places: Mapping[str, str]
