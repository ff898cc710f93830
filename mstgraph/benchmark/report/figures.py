"""Figures of a bench: gains by teacher configuration, and a metric against a setting such as k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from mstgraph.benchmark.results.results import Column, Results, swept_values
from mstgraph.benchmark.results.statistics import spread
from mstgraph.support.errors import UserError, nearest
from mstgraph.viz.canvas import (
    FAINT,
    INK,
    MUTED,
    NEUTRAL,
    PAPER,
    Box,
    Canvas,
    Figure,
    Point,
    Type,
    mix,
    pill_width,
    straight,
)
from mstgraph.viz.colours import colours

TITLE, BADGE, TEXT, TICK = Type(13, "bold"), Type(9.5, "bold"), Type(9.5), Type(9)
AMBER = "#9a5b00"
MARGIN, LEFT, RIGHT = 0.3, 0.85, 0.25  # inches; room beside a panel
ABOVE, BELOW = 0.25, 0.55  # for its name and for its axis
HEADING, LINE, BETWEEN = 0.85, 0.26, 0.3
PANELS_ACROSS = 4
_MARKERS = "osD^vPX*"
AS_LONG = "alone, trained as long"
_ALONE, _THICK, _THIN = "alone", "thick", "thin"
_WIDTHS = {_THICK: 2.0, _THIN: 0.9}

Item = tuple[str, str]  # colour of a box or kind of a line, and what it means


def draw_gains(results: Results, method: str) -> Figure:
    """Draw box plots of the gain over the student alone by teacher configuration (paper, Fig. 5).

    A gain is the difference of two runs with the same seed that trained the student as long. Boxes
    span the quartiles, whiskers reach the furthest seed within 1.5 times as much, and every seed is
    a dot.

    Args:
        results: of a bench whose cells have trained the student alone, too.
        method: whose rows are shown, for each student one box per configuration.

    Raises:
        UserError: there is no row of the student alone, or no such method.
    """
    columns = results.columns()
    rows = [i for i, row in enumerate(results.rows) if row.method == method]
    if not rows:
        methods = [row.method for row in results.rows]
        raise UserError(
            f"the bench '{results.title}' has no method '{method}'{nearest(method, methods)}"
        )
    if results.baseline is None:
        raise UserError(
            f"the bench '{results.title}' has no row of the student alone; expected one, which "
            "gains are counted from"
        )
    hues = colours(len(rows))
    items = [(hue, results.rows[row].teachers or "—") for hue, row in zip(hues, rows, strict=True)]
    legend = [*items, (_ALONE, AS_LONG)]
    names = [_name(results, column, columns) for column in columns]
    room = max(0.4 + 0.45 * len(rows), *(TICK.width(name) + 0.25 for name in names))
    size = max(3.0, len(columns) * room), 2.7
    figure, (axes,) = _sheet(results, f"{method}: gains by teachers", legend, 1, size)
    step = 0.8 / len(rows)
    for at, column in enumerate(columns):
        for i, row in enumerate(rows):
            place = at + (i - (len(rows) - 1) / 2) * step
            gains = [*results.gains(row, column).values()]
            _box(axes, place, 0.62 * step, gains, hues[i])
    axes.axhline(0, color=MUTED, linewidth=1.1, dashes=(4, 2.5), zorder=1.5)
    axes.set_xticks(range(len(columns)), names)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.yaxis.set_major_formatter(
        lambda value, _: f"{value:+.3g}".replace("-", "−") if value else "0"
    )
    _style(axes, x="", y=f"gain in {_metric(results, columns)}")
    return figure


def _box(axes: Any, at: float, width: float, values: Sequence[float], colour: str) -> None:
    """Draw one box with its seeds beside each other, or say that no seed finished."""
    if not values:
        axes.annotate(
            "none",
            (at, 0),
            (0, 3),
            textcoords="offset points",
            ha="center",
            color=colour,
            fontproperties=_font(TICK),
        )
        return
    line = {"color": colour, "linewidth": 1.3}
    axes.boxplot(
        [values],
        positions=[at],
        widths=width,
        manage_ticks=False,
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": mix(colour, PAPER, 0.25), "edgecolor": colour, "linewidth": 1.3},
        medianprops={"color": mix(colour, INK, 0.6), "linewidth": 2},
        whiskerprops=line,
        capprops=line,
        zorder=2,
    )
    # From left to right by seed: chance would give another picture each time.
    spots = [at + width * 0.6 * ((i + 0.5) / len(values) - 0.5) for i in range(len(values))]
    axes.scatter(spots, values, s=13, color=mix(colour, INK, 0.6), linewidth=0, zorder=3)


def draw_sweep(results: Results, positions: Mapping[int, float], setting: str = "k") -> Figure:
    """Draw a metric against a setting, one panel and one line per student (paper, Fig. 6).

    The thick line joins means over seeds and the thin ones each seed: splits differ more than
    values of the setting do, so that a trend shows in every thin line or is none. The dashed line
    is the student alone, trained as long. Panels have scales of their own, as students are of
    different data sets.

    Args:
        results: of the bench.
        positions: row → value of the setting; see `swept_rows`.
        setting: its name.

    Raises:
        UserError: two rows have one value of the setting.
    """
    columns = results.columns()
    rows = sorted(positions, key=lambda row: positions[row])
    for one, other in pairwise(rows):
        if positions[one] == positions[other]:
            raise UserError(
                f"the rows '{results.rows[one].name}' and '{results.rows[other].name}' of the "
                f"bench '{results.title}' both have {setting} = {positions[one]:g}; expected one "
                "row for each value"
            )
    controls = [results.controls(row, c) for c in columns for row in rows]
    legend = [(_ALONE, AS_LONG)] if any(controls) else []
    legend = [(_THICK, "mean"), (_THIN, "each seed"), *legend]
    size = max(2.1, *(BADGE.width(column.student) for column in columns)), 2.1
    title = f"{_metric(results, columns)} against {setting}"
    figure, panels = _sheet(results, title, legend, len(columns), size)
    for i, (axes, column) in enumerate(zip(panels, columns, strict=True)):
        points = [(positions[row], results.values(row, column)) for row in rows]
        _trend(axes, points, colours(len(columns))[i], _MARKERS[i % len(_MARKERS)])
        lonely = spread([*results.controls(rows[0], column).values()])
        if lonely is not None:
            axes.axhline(lonely.mean, color=MUTED, linewidth=1.1, dashes=(4, 2.5), zorder=1.5)
        ends = positions[rows[0]], positions[rows[-1]]
        space = 0.07 * (ends[1] - ends[0] or 1)
        axes.set_xlim(ends[0] - space, ends[1] + space)
        axes.set_xticks([positions[row] for row in rows])
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_title(column.student, loc="left", color=INK, fontproperties=_font(BADGE))
        _style(axes, x=setting, y=results.metric(column).heading)
    return figure


def _trend(
    axes: Any, points: Sequence[tuple[float, Mapping[int, float]]], colour: str, marker: str
) -> None:
    found = [(x, one.mean) for x, values in points if (one := spread([*values.values()]))]
    if not found:
        axes.set_yticks([])
        middle = {"transform": axes.transAxes, "ha": "center", "va": "center"}
        axes.text(0.5, 0.5, "no seed finished", color=MUTED, fontproperties=_font(TEXT), **middle)
        return
    for seed in sorted({seed for _, values in points for seed in values}):
        line = [(x, values[seed]) for x, values in points if seed in values]
        axes.plot(*zip(*line, strict=True), color=mix(colour, PAPER, 0.4), linewidth=0.9, zorder=2)
    axes.plot(
        *zip(*found, strict=True),
        color=colour,
        marker=marker,
        markersize=6,
        linewidth=2,
        zorder=3,
    )


def swept_rows(results: Results, setting: str = "k") -> dict[int, float]:
    """Return row → value, for the rows whose method or teachers say "k = 2".

    Raises:
        UserError: fewer than two rows do.
    """
    found = swept_values([row.name for row in results.rows], setting)
    if len(found) < 2:
        raise UserError(
            f"the bench '{results.title}' has {len(found)} rows that name '{setting} = …' as "
            "method or teachers; expected two or more"
        )
    return found


def _sheet(
    results: Results, title: str, legend: Sequence[Item], count: int, size: tuple[float, float]
) -> tuple[Figure, list[Any]]:
    """Return a page with heading and legend, and panels of a size in inches on it."""
    across, down = min(count, PANELS_ACROSS), -(-count // PANELS_ACROSS)
    seeds = "seed" if len(results.seeds) == 1 else "seeds"
    subtitle = f"{results.title} · {len(results.seeds)} {seeds}"
    badge = pill_width(results.synthetic, BADGE) + 0.1 if results.synthetic else 0.0
    words = TITLE.width(title) + badge, TEXT.width(subtitle), sum(map(_item_width, legend))
    width = max(across * (LEFT + size[0] + RIGHT), max(words) + 2 * MARGIN)
    height = HEADING + down * (ABOVE + size[1] + BELOW) + LINE + 0.15
    canvas = Canvas(width, height)
    canvas.text((MARGIN, 0.36), title, TITLE)
    canvas.text((MARGIN, 0.64), subtitle, TEXT, MUTED)
    if results.synthetic:
        left = MARGIN + TITLE.width(title) + 0.1
        at = left + pill_width(results.synthetic, BADGE) / 2, 0.36
        canvas.pill(at, results.synthetic, BADGE, AMBER)
    _draw_legend(canvas, legend, (MARGIN, height - 0.15 - LINE / 2))
    share = width / across  # panels fill a page that its heading has made wider
    tall = ABOVE + size[1] + BELOW
    corners = [
        (i % across * share + LEFT, HEADING + ABOVE + i // across * tall) for i in range(count)
    ]
    frame = (share - LEFT - RIGHT) / width, size[1] / height
    return canvas.figure, [
        canvas.figure.add_axes((left / width, 1 - (top + size[1]) / height, *frame))
        for left, top in corners
    ]


def _item_width(item: Item) -> float:
    return 0.3 + TEXT.width(item[1]) + BETWEEN


def _draw_legend(canvas: Canvas, items: Sequence[Item], at: Point) -> None:
    x, y = at
    for mark, text in items:
        line = straight((x, y), (x + 0.22, y))
        if mark == _ALONE:
            canvas.line(line, colour=MUTED, width=1.1, dashes=(4.4, 2.75), heads="")
        elif mark in _WIDTHS:
            canvas.line(line, colour=NEUTRAL, width=_WIDTHS[mark], heads="")
        else:
            fill = mix(mark, PAPER, 0.25)
            canvas.box(Box(x + 0.11, y, 0.2, 0.14), fill=fill, edge=mark, radius=0.02)
        canvas.text((x + 0.3, y), text, TEXT, INK)
        x += _item_width((mark, text))


def _style(axes: Any, x: str, y: str) -> None:
    axes.set_facecolor("none")
    axes.set_xlabel(x, color=INK, fontproperties=_font(TEXT))
    axes.set_ylabel(y, color=INK, fontproperties=_font(TEXT))
    axes.grid(axis="y", color=FAINT, linewidth=0.6, alpha=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, labelsize=TICK.size, length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(FAINT)


def _font(kind: Type) -> Any:
    return kind.properties()


def _metric(results: Results, columns: Sequence[Column]) -> str:
    """Name of the metric that all columns have, else "metric"."""
    headings = {results.metric(column).heading for column in columns}
    return headings.pop() if len(headings) == 1 else "metric"


def _name(results: Results, column: Column, columns: Sequence[Column]) -> str:
    """Name of a column; with its metric where others have another one."""
    same = len({other.metric for other in columns}) == 1
    return column.student if same else f"{column.student}\n{results.metric(column).heading}"
