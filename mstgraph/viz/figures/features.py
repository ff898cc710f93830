"""A teacher's features before and after its MaskNet, on a plane (paper, Fig. 10)."""

from __future__ import annotations

from typing import Any

import numpy as np

from mstgraph.look.features import flat
from mstgraph.look.masks import Masked, every_mask
from mstgraph.viz.canvas import Figure
from mstgraph.viz.colours import LIGHT, colours, markers
from mstgraph.viz.sheet import Panels, bare, legend, sheet
from mstgraph.viz.wanted import Wanted, nothing_to_show

SAMPLES = 512
METHODS = {"pca": "principal components", "tsne": "t-SNE", "umap": "UMAP"}


def draw(wanted: Wanted) -> Figure:
    """Draw both features of each specialised teacher in one plane.

    Left by whether the MaskNet was there, right by class.

    Raises:
        UserError: no teacher has a MaskNet, the store is gone, or the method's library is.
    """
    run = wanted.run()
    target = wanted.student(run)
    with wanted.opened(run) as opened:
        found = list(every_mask(opened, run.plan, target, wanted.samples or SAMPLES))
    if not found:
        raise nothing_to_show(run, f"no teacher of '{target}' has a MaskNet")
    method = METHODS.get(wanted.method, wanted.method)
    words = f"test samples by {method}; left: before and after the MaskNet; right: by class"
    page = Panels(len(found), 2, 2.7, 2.5, left=0.3, right=0.9, below=0.15)
    figure, panels = sheet(run, f"Features of the teachers of {target}", words, page)
    for row, masked in zip(panels, found, strict=True):
        points = flat(np.concatenate([masked.before, masked.after]), wanted.method)
        _by_status(row[0], points, masked)
        _by_class(row[1], points, masked, run.classes)
    return figure


def _by_status(axes: Any, points: np.ndarray, masked: Masked) -> None:
    half = len(masked.before)
    for part, name, colour in zip(
        (points[:half], points[half:]), ("before", "after"), colours(2), strict=True
    ):
        axes.scatter(*part.T, s=6, color=colour, alpha=0.55, linewidth=0, label=name)
    bare(axes, masked.teacher)
    legend(axes)


def _by_class(axes: Any, points: np.ndarray, masked: Masked, classes: list[str]) -> None:
    if masked.labels.ndim > 1:  # a map has no one class
        axes.set_axis_off()
        return
    shown = [c for c in range(len(classes)) if (masked.labels == c).any()]
    for c, colour, marker in zip(shown, colours(len(shown)), markers(len(shown)), strict=True):
        own = np.tile(masked.labels == c, 2)
        look = {"color": colour, "marker": marker, "alpha": 0.6, "linewidth": 0}
        axes.scatter(*points[own].T, s=6, label=classes[c], **look)
    bare(axes)
    if len(shown) <= len(LIGHT):
        legend(axes, labelspacing=0.5 if len(shown) <= 12 else 0.1)
