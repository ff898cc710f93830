"""Where networks look: Grad-CAM of teachers, student and student alone (paper, Fig. 9 and 11)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mstgraph.look.items import Kind, kind_of, picture
from mstgraph.look.saliency import SHOWN, Looks, looks
from mstgraph.viz.canvas import INK, Figure
from mstgraph.viz.sheet import TICK, Panels, bare, sheet
from mstgraph.viz.wanted import Wanted, nothing_to_show

RIGHT, WRONG = "#2f9e62", "#c92a2a"
WORDS = "red speaks for what the network says; frames: green right, red wrong"


def draw(wanted: Wanted) -> Figure:
    """Draw a row per network and a column per test sample, those that distillation changed first.

    Raises:
        UserError: no network has a map to look at, or the store is gone.
    """
    run = wanted.run()
    target = wanted.student(run)
    with wanted.opened(run) as opened:
        found = looks(run, opened, target, wanted.samples or SHOWN)
    if not found.rows:
        raise nothing_to_show(run, "its networks see vectors, which have no places to look at")
    size = (1.15, 1.15) if len(found.positions) > 4 else (1.6, 1.3)
    page = Panels(len(found.rows), len(found.positions), *size, 0.12, 0.12, 0.27, 0.06)
    figure, panels = sheet(run, f"Where networks look, for {target}", WORDS, page)
    single = found.labels.ndim == 1
    for i, (row, axes_row) in enumerate(zip(found.rows, panels, strict=True)):
        for j, axes in enumerate(axes_row):
            _show(axes, found, i, j)
            bare(axes, f"{row.title} · {row.modality}" if j == 0 else "")
            if single:
                right = row.predicted[j] == found.labels[j]
                axes.spines[:].set_color(RIGHT if right else WRONG)
                axes.spines[:].set_linewidth(1.6)
            if single and i == 0:
                _label(axes, run.classes[int(found.labels[j])][:16])
    return figure


def _label(axes: Any, text: str) -> None:
    """Write a column's label into its first picture."""
    plate = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 1}
    place = {"transform": axes.transAxes, "ha": "right", "va": "top", "bbox": plate}
    axes.text(0.97, 0.96, text, color=INK, fontsize=TICK.size, **place)


def _show(axes: Any, found: Looks, i: int, j: int) -> None:
    row = found.rows[i]
    values, shown = found.raw[row.modality][j], row.maps[j]
    kind = kind_of(values.shape)
    if kind == Kind.TRACES:
        axes.imshow(
            shown[None], cmap="Reds", vmin=0, vmax=1.3, aspect="auto", extent=(0, len(shown), 0, 1)
        )
        low, high = values.min(), values.max()
        scaled = (values - low) / max(high - low, 1e-12)
        for trace in scaled:
            axes.plot(np.arange(len(trace)) + 0.5, trace, lw=0.8, color=INK, alpha=0.75)
        axes.set_xlim(0, len(shown))
        axes.set_ylim(0, 1)
        return
    image = picture(values)
    axes.imshow(image, cmap="gray", aspect="auto")
    axes.imshow(shown, cmap="jet", vmin=0, vmax=1, alpha=0.42 * (shown > 0.02), aspect="auto")
