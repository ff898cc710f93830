"""What a figure is asked for: of which runs, and how."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mstgraph.look.opened import Opened
from mstgraph.look.opening import opened_run
from mstgraph.look.records import Records
from mstgraph.support.errors import UserError, nearest
from mstgraph.support.numerics import choose_device

DIGITS = 16  # that tell runs apart


@dataclass(frozen=True)
class Wanted:
    """What somebody asked for.

    Attributes:
        folders: of the runs.
        plan: of gin files, in place of runs; see `mstgraph.derive.document.plan_document`.
        target: which student, where a run has several; None takes the first.
        method: how features are laid out, see `mstgraph.look.features.flat`.
        samples: how many test samples at most; None leaves it to the figure.
        device: where to compute.
        notice: is told what the user should know.
    """

    folders: tuple[Path, ...]
    plan: Mapping[str, Any] | None = None
    target: str | None = None
    method: str = "pca"
    samples: int | None = None
    device: str = "auto"
    notice: Callable[[str], None] = lambda _: None

    def run(self) -> Records:
        """Return the one run that is asked for.

        Raises:
            UserError: there are several, or none.
        """
        if len(self.folders) != 1:
            raise UserError(
                f"this figure shows one run, not {len(self.folders)}; expected one folder"
            )
        return Records(self.folders[0])

    def name(self) -> str:
        """Return what a picture is named after: the folder of the first run, or the graph."""
        return self.folders[0].resolve().name if self.plan is None else str(self.plan["name"])

    def source(self) -> str:
        """Return which runs these are, in hexadecimal digits; "" of a graph."""
        places = "\n".join(str(folder.resolve()) for folder in self.folders)
        return hashlib.sha256(places.encode()).hexdigest()[:DIGITS] if places else ""

    def student(self, run: Records) -> str:
        """Return the student that is asked for.

        Raises:
            UserError: the run has no such student.
        """
        name = self.target or run.targets[0]
        if name not in run.targets:
            raise UserError(f"'{run.path}' has no student '{name}'{nearest(name, run.targets)}")
        return name

    @contextmanager
    def opened(self, run: Records) -> Iterator[Opened]:
        """Open a run with its networks and its store.

        Raises:
            UserError: it is not finished, or its store is gone.
        """
        if not run.finished:
            raise UserError(
                f"'{run.path}' has no summary.json; expected the folder of a finished run"
            )
        with opened_run(run.path, choose_device(self.device), None, self.notice) as found:
            yield found


def nothing_to_show(run: Records, what: str) -> UserError:
    """Return what a figure raises that a run has nothing for."""
    return UserError(f"'{run.path}' has nothing to draw here: {what}")
