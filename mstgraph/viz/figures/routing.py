"""Which teachers the gate trusts, over epochs and by class (paper, Fig. 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mstgraph.look.outcomes import routing_by_class
from mstgraph.viz.canvas import Figure
from mstgraph.viz.colours import TOLD, colours, markers
from mstgraph.viz.sheet import Panels, heat, legend, sheet, style
from mstgraph.viz.wanted import Wanted, nothing_to_show

MARKED = 6  # places along a line that is told from others by its marker
WORDS = "solid: multimodal teachers; dashed: cross-modal ones; validation split, then test by class"


def draw(wanted: Wanted) -> Figure:
    """Draw the gate's mean confidence and the share of samples, and the share by class.

    Raises:
        UserError: the run has no gate.
    """
    run = wanted.run()
    target = wanted.student(run)
    if target not in run.plan["gates"]:
        raise nothing_to_show(run, f"the student '{target}' has no gate")
    history = run.history(run.last(target))
    if not history:
        raise nothing_to_show(run, "the stage with the gate has no epoch yet")
    by_class = routing_by_class(run, target)
    down = 2 if by_class is None else 3
    teachers = run.plan["teachers"][target]
    longest = max(len(teacher["name"]) for teacher in teachers)
    room = 0.3 + 0.085 * longest + 0.4
    page = Panels(down, 1, 5.2, 2.0, left=max(0.85, 0.085 * longest + 0.3), right=room)
    figure, panels = sheet(run, f"Routing of {target}", WORDS, page)
    for (axes,), (key, name) in zip(
        panels,
        (("confidence", "gate's confidence, mean"), ("share", "share of samples")),
        strict=False,
    ):
        _over_epochs(axes, history, key, teachers, run.fused)
        style(axes, name, "epoch")
    legend(panels[0][0])
    if by_class is not None:
        heat(
            panels[2][0],
            np.asarray(by_class).T,
            [teacher["name"] for teacher in teachers],
            run.classes,
            "share of samples by class, %",
        )
    return figure


def _over_epochs(
    axes: Any,
    history: Sequence[Mapping[str, Any]],
    key: str,
    teachers: Sequence[Mapping[str, Any]],
    fused: set[str],
) -> None:
    epochs = [row["epoch"] for row in history]
    looks = zip(teachers, colours(len(teachers)), markers(len(teachers)), strict=True)
    for i, (teacher, colour, marker) in enumerate(looks):
        values = [row.get(f"validation/{key}/{i + 1}", np.nan) for row in history]
        line = "-" if teacher["member"] in fused else (0, (4, 2))
        axes.plot(
            epochs,
            values,
            color=colour,
            linestyle=line,
            marker=marker if len(epochs) == 1 or i >= TOLD else "",
            markevery=max(1, len(epochs) // MARKED),
            label=teacher["name"],
            lw=1.8,
        )
    axes.set_ylim(0, None)
    axes.locator_params(axis="x", integer=True)  # there is no epoch 1.5
