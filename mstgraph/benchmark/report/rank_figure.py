"""The critical-difference diagram of a bench: average ranks, and which of them do not differ.

Demšar 2006, "Statistical comparisons of classifiers over multiple data sets", figure 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

from mstgraph.benchmark.report.figures import AMBER, BADGE, MARGIN, TEXT, TICK, TITLE
from mstgraph.benchmark.results.ranking import Ranking
from mstgraph.benchmark.results.results import Results
from mstgraph.viz.canvas import (
    INK,
    MUTED,
    NEUTRAL,
    Canvas,
    Figure,
    Point,
    pill_width,
    straight,
)
from mstgraph.viz.colours import colours

AXIS, SCALE = 1.5, 5.0  # where the axis lies; its least width in inches
BAR, LINE, GAP = 0.1, 0.25, 0.08  # between bars, between names, beside a name
Place = Callable[[float], float]  # rank → inches
Side = Literal["left", "right"]  # of a name that touches the end of its line


def draw_ranks(results: Results, ranking: Ranking) -> Figure:
    """Draw the axis of ranks, a line to each row's name, and a bar over rows that do not differ.

    Args:
        results: of the bench, for names and title.
        ranking: of its rows, see `mstgraph.benchmark.results.ranking.ranking`.
    """
    order = sorted(ranking.ranks, key=lambda row: (ranking.ranks[row], row))
    names = {row: f"{results.rows[row].name}  {ranking.ranks[row]:.2f}" for row in order}
    half = -(-len(order) // 2)
    subtitle = (
        f"{results.title} · {ranking.blocks} columns and seeds · a bar joins rows that do not "
        "differ at the 5 % level"
    )
    said = max(TITLE.width("Average ranks") + _badge(results), TEXT.width(subtitle))
    beside = MARGIN + max(map(TEXT.width, names.values())) + GAP
    width = max(2 * beside + SCALE, said + 2 * MARGIN)
    top = AXIS + 0.2 + BAR * len(ranking.cliques())
    canvas = Canvas(width, top + LINE * half + 0.15)
    _draw_heading(canvas, results, subtitle)
    step = (width - 2 * beside) / (len(order) - 1)

    def place(rank: float) -> float:
        return beside + (rank - 1) * step

    _draw_axis(canvas, len(order), place)
    _draw_difference(canvas, ranking.difference, (beside, width - beside), step)
    sides: tuple[tuple[list[int], float, Side], ...]
    sides = (order[:half], beside, "right"), (order[half:][::-1], width - beside, "left")
    for rows, end, align in sides:
        for i, row in enumerate(rows):
            at = end, top + LINE * (i + 0.5)
            _draw_name(canvas, place(ranking.ranks[row]), at, names[row], align)
    for i, clique in enumerate(ranking.cliques()):
        y, best, worst = AXIS + 0.16 + BAR * i, clique[0], clique[-1]
        bar = (place(ranking.ranks[best]) - 0.04, y), (place(ranking.ranks[worst]) + 0.04, y)
        canvas.line(straight(*bar), colour=colours(1)[0], width=3.2, heads="", zorder=3)
    return canvas.figure


def _badge(results: Results) -> float:
    return pill_width(results.synthetic, BADGE) + 0.1 if results.synthetic else 0.0


def _draw_heading(canvas: Canvas, results: Results, subtitle: str) -> None:
    canvas.text((MARGIN, 0.36), "Average ranks", TITLE)
    canvas.text((MARGIN, 0.64), subtitle, TEXT, MUTED)
    if results.synthetic:
        right = MARGIN + TITLE.width("Average ranks") + _badge(results)
        at = right - pill_width(results.synthetic, BADGE) / 2, 0.36
        canvas.pill(at, results.synthetic, BADGE, AMBER)


def _draw_axis(canvas: Canvas, ranks: int, place: Place) -> None:
    """A line with a tick for each rank; every second number where there are many."""
    _stroke(canvas, [(place(1), AXIS), (place(ranks), AXIS)])
    every = 1 if ranks <= 12 else 2
    for rank in range(1, ranks + 1):
        _stroke(canvas, [(place(rank), AXIS - 0.06), (place(rank), AXIS)])
        if (rank - 1) % every == 0:
            canvas.text((place(rank), AXIS - 0.17), str(rank), TICK, MUTED, "center")


def _draw_difference(
    canvas: Canvas, difference: float, ends: tuple[float, float], step: float
) -> None:
    """The critical difference as a length, cut off where no two ranks can differ as much."""
    left, y = ends[0], AXIS - 0.42
    right = min(left + difference * step, ends[1])
    reached = left + difference * step <= ends[1]
    _stroke(canvas, [(left, y), (right, y)], 1.6)
    for x in (left, right) if reached else (left,):
        _stroke(canvas, [(x, y - 0.05), (x, y + 0.05)], 1.6)
    said = f"critical difference {difference:.2f}" + ("" if reached else ", more than can be")
    canvas.text((left, y - 0.16), said, TICK, INK)


def _draw_name(canvas: Canvas, x: float, end: Point, name: str, align: Side) -> None:
    """A line from a row's rank down and to the side, and its name there."""
    _stroke(canvas, [(x, AXIS), (x, end[1]), end])
    at = end[0] + (-GAP if align == "right" else GAP), end[1]
    canvas.text(at, name, TEXT, INK, align)


def _stroke(canvas: Canvas, points: Sequence[Point], width: float = 1.0) -> None:
    for one, other in pairwise(points):
        canvas.line(straight(one, other), colour=NEUTRAL, width=width, heads="")
