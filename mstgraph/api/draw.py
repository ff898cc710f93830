"""A figure of runs as pictures, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mstgraph.viz import figures
from mstgraph.viz.canvas import write_picture
from mstgraph.viz.wanted import Wanted


def draw(
    figure: str,
    *runs: Path | str,
    plan: Mapping[str, Any] | None = None,
    out: Path | None = None,
    formats: Sequence[str] = ("svg", "png"),
    student: str | None = None,
    method: str = "pca",
    samples: int | None = None,
    device: str = "auto",
    notice: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """Draw a figure and return the files that were written.

    Args:
        figure: its name, one of `mstgraph.viz.figures.names`.
        runs: folders of runs.
        plan: in their place, for the paths: `Experiment.document`.
        out: where to write, without an ending; default: ``RUN-FIGURE`` after the run's folder,
            with student and method where they are given; another run's picture is not overwritten.
        formats: which of ``svg``, ``png`` and ``pdf``.
        student: which, where a run has several; None takes the first.
        method: how features are laid out: ``pca``, ``tsne`` or ``umap``.
        samples: how many test samples at most; None leaves it to the figure.
        device: see `Experiment.run`.
        notice: is told what the user should know.

    Raises:
        UserError: a run has nothing for this figure, its store is gone, or a library is missing.
    """
    wanted = Wanted(
        tuple(map(Path, runs)), plan, student, method, samples, device=device, notice=notice
    )
    picture = figures.figure(figure)(wanted)
    if out is not None:
        return write_picture(picture, out, formats)
    named = [
        wanted.name(),
        figure,
        *([student] if student else []),
        *([method] * (method != "pca")),
    ]
    return write_picture(picture, Path("-".join(named)), formats, wanted.source())
