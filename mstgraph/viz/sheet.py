"""A page of panels under one heading, in the style of all figures; sizes are inches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mstgraph.look.records import Records
from mstgraph.viz.canvas import FAINT, INK, MUTED, Canvas, Figure, Type, pill_width

TITLE, BADGE, TEXT, TICK = Type(13, "bold"), Type(9.5, "bold"), Type(9.5), Type(8.5)
AMBER = "#9a5b00"
HEADING, EDGE = 0.95, 0.3
DARK = 0.715  # a share on whose blue white is read better than black


@dataclass(frozen=True)
class Panels:
    """How panels stand on a page.

    Attributes:
        down: rows.
        across: columns.
        width: of a panel.
        height: of a panel.
        left: room beside a panel for its axis.
        right: room on its other side.
        above: room for its name.
        below: room for its axis.
    """

    down: int
    across: int
    width: float
    height: float
    left: float = 0.85
    right: float = 0.3
    above: float = 0.35
    below: float = 0.6


def sheet(run: Records, title: str, words: str, panels: Panels) -> tuple[Figure, list[list[Any]]]:
    """Return a page about a run with panels on it, row by row.

    Args:
        run: said in the heading, with what must be said of its data.
        title: what is shown.
        words: a line that says how to read it.
        panels: how they stand.
    """
    data = run.plan["data"]
    under = f"{run.plan['name']} · {data['title']} · seed {run.plan['seed']}"
    badge = pill_width(data["synthetic"], BADGE) + 0.15 if data["synthetic"] else 0.0
    lines = TITLE.width(title) + badge, TEXT.width(under), TEXT.width(words)
    across = panels.across * (panels.left + panels.width + panels.right)
    width = max(across, max(lines) + 2 * EDGE)
    tall = panels.above + panels.height + panels.below
    height = HEADING + panels.down * tall
    canvas = Canvas(width, height)
    canvas.text((EDGE, 0.34), title, TITLE)
    canvas.text((EDGE, 0.6), under, TEXT, MUTED)
    canvas.text((EDGE, 0.82), words, TEXT, MUTED)
    if data["synthetic"]:
        at = EDGE + TITLE.width(title) + 0.12 + pill_width(data["synthetic"], BADGE) / 2
        canvas.pill((at, 0.34), data["synthetic"], BADGE, AMBER)
    return canvas.figure, [
        [
            canvas.figure.add_axes(
                (
                    (column * (panels.left + panels.width + panels.right) + panels.left) / width,
                    1 - (HEADING + row * tall + panels.above + panels.height) / height,
                    panels.width / width,
                    panels.height / height,
                )
            )
            for column in range(panels.across)
        ]
        for row in range(panels.down)
    ]


def style(axes: Any, name: str = "", x: str = "", y: str = "") -> None:
    """Give axes the look of all figures, and names."""
    axes.set_facecolor("none")
    axes.set_title(name, loc="left", color=INK, fontproperties=BADGE.properties())
    axes.set_xlabel(x, color=INK, fontproperties=TEXT.properties())
    axes.set_ylabel(y, color=INK, fontproperties=TEXT.properties())
    axes.grid(axis="y", color=FAINT, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=TICK.size, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)


def bare(axes: Any, name: str = "", colour: str = INK) -> None:
    """Leave axes only a name: pictures and points on a plane have no scale."""
    axes.set_title(name, loc="left", color=colour, fontproperties=BADGE.properties())
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(FAINT)


def heat(axes: Any, values: Any, rows: Sequence[str], columns: Sequence[str], name: str) -> None:
    """Show shares in 0…1 as a table of colours with numbers in it.

    Args:
        axes: where.
        values: [rows, columns] float; nan is left out.
        rows: their names.
        columns: their names.
        name: what it is.
    """
    axes.imshow(values, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    style(axes, name)
    axes.grid(visible=False)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_xticks(range(len(columns)), columns, rotation=35, ha="right", rotation_mode="anchor")
    if len(rows) * len(columns) > 240:
        return
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            if value == value:
                colour = "white" if value > DARK else "black"
                text = f"{100 * value:.0f}"
                axes.text(j, i, text, ha="center", va="center", color=colour, fontsize=TICK.size)


def legend(axes: Any, **placed: Any) -> None:
    """Put a legend without a frame to the right of axes, or where it is said."""
    where = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5), "markerscale": 2, **placed}
    axes.legend(frameon=False, prop=TICK.properties(), labelcolor=INK, **where)
