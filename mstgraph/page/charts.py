"""Charts in Vega-Lite, the grammar that the page's library draws; colours are the page's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mstgraph.viz.colours import DASHES, LIGHT, SHAPES, TOLD

Spec = dict[str, Any]

# A click in the legend picks a series, and another one lets it go.
_PICK = {
    "name": "picked",
    "select": {"type": "point", "fields": ["series"], "toggle": "true"},
    "bind": "legend",
}
_LEGEND = {"orient": "bottom", "labelLimit": 240, "title": None}
# Colours come with the theme, see ``page.js``; where they grow alike, something else tells series.
_COLOUR: Spec = {"field": "series", "type": "nominal", "legend": _LEGEND, "sort": None}
_OWN, _AGAIN = ([1, 0], [6, 3]), ([14, 2], [2, 2])  # solid and dashed; where colours begin again
_DASH: Spec = {**_COLOUR, "scale": {"range": [list(d) for d in DASHES for _ in range(TOLD)]}}
_SHAPE: Spec = {**_COLOUR, "scale": {"range": [shape for shape in SHAPES for _ in range(TOLD)]}}
BLUES = ["#f4f8fc", "#c9dff2", "#4a95cb", "#0a4a90"]  # of no share to all
RED_BLUE = ["#a11a2b", "#f6f6f6", "#1a5a9c"]  # of less to more
DARK, DARK_RED, DARK_BLUE = 0.745, 0.725, 0.805  # where white is read better than black
UPRIGHT = 3  # letters of a column's name
NONE = 0.005  # a share that is written as 0 %; that many of them hide the others
MOST_NUMBERED = 16  # rows or columns of a heat map whose numbers still fit


def lines(
    x: str, y: str, *, zero: bool = False, dashed: Mapping[str, bool] | None = None, count: int = 2
) -> Spec:
    """Return lines of ``y`` over ``x`` by ``series``; a click in the legend picks one.

    Args:
        x: name of a number, from 1 upwards in whole steps.
        y: name of a number.
        zero: whether the axis begins at 0.
        dashed: series → whether its line is dashed, in the order of the data; None leaves dashes to
            tell apart what colours do not.
        count: how many values of ``x`` there are; of one, no line is seen.
    """
    encoding = {
        "x": {
            "field": x,
            "type": "quantitative",
            "axis": {"tickCount": min(8, max(1, count - 1)), "format": ".3~g"},
            "title": x,
        },
        "y": {"field": y, "type": "quantitative", "scale": {"zero": zero}, "title": y},
        **_strokes(dashed),
        "opacity": {"condition": {"param": "picked", "value": 1}, "value": 0.12},
        "tooltip": [{"field": name} for name in ("series", x)]
        + [{"field": y, "format": ".4f", "type": "quantitative"}],
    }
    mark = {"type": "line", "point": {"size": 14 if count > 1 else 60}, "strokeWidth": 1.8}
    return {"params": [_PICK], "mark": mark, "encoding": encoding, "height": 210}


def _strokes(dashed: Mapping[str, bool] | None) -> Spec:
    legend = {**_LEGEND, "symbolType": "stroke", "symbolSize": 250, "symbolStrokeWidth": 2.5}
    colour, dash = {**_COLOUR, "legend": legend}, {**_DASH, "legend": legend}
    if dashed is not None:
        kinds = [
            _AGAIN[own] if i >= len(LIGHT) else _OWN[own] for i, own in enumerate(dashed.values())
        ]
        colour["scale"] = {"domain": list(dashed)}
        dash["scale"] = {"domain": list(dashed), "range": kinds}
    return {"color": colour, "strokeDash": dash}


def bars(y: str, x: str, *, form: str = ".3f", count: int = 8) -> Spec:
    """Return horizontal bars of ``x``, one for each ``y`` in the order of the data.

    Args:
        y: name of the bars.
        x: name of a number.
        form: of the number.
        count: how many bars there are, which gives the height.
    """
    encoding: Spec = {
        "y": {"field": y, "type": "nominal", "sort": None, "title": None},
        "x": {"field": x, "type": "quantitative"},
        "tooltip": [{"field": y}, {"field": x, "type": "quantitative", "format": form}],
    }
    encoding["y"]["axis"] = {"labelLimit": 170}
    return {"mark": {"type": "bar"}, "encoding": encoding, "height": max(60, 24 * count)}


def grouped_bars(y: str, x: str, count: int) -> Spec:
    """Return horizontal bars of a share ``x`` for each ``series`` of each ``y``.

    Args:
        y: name of the groups.
        x: name of a share.
        count: how many bars there are in all, which gives the height.
    """
    spec = bars(y, x, form=".1%", count=count)
    beside = {"yOffset": {"field": "series", "sort": None}, "color": _COLOUR}
    spec["encoding"]["x"]["scale"] = {"domain": [0, 1]}
    spec["encoding"]["tooltip"].insert(1, {"field": "series"})
    return {**spec, "encoding": {**spec["encoding"], **beside}, "height": max(80, 14 * count)}


def against(x: str, y: str, data: Sequence[Mapping[str, Any]]) -> Spec:
    """Return points of ``y`` against ``x`` by ``series``, and the line on which both are alike.

    Args:
        x: name of a number.
        y: name of a number of the same unit.
        data: whose extent the line and both axes have.
    """
    values = [row[name] for row in data for name in (x, y)]
    line = {x: min(values), y: min(values), "end": max(values)}
    along = {
        name: {"field": name, "type": "quantitative", "scale": {"zero": False}, "title": name}
        for name in (x, y)
    }
    ends = {end: {"field": "end", "title": None} for end in ("x2", "y2")}
    shown = [{"field": "series"}, *({"field": name, "format": ".4~g"} for name in (x, y))]
    return {
        "layer": [
            {
                "data": {"values": [line]},
                "mark": {"type": "rule", "strokeDash": [4, 3], "aria": False},
                "encoding": {**ends, "x": along[x], "y": along[y]},
            },
            {
                "params": [_PICK],
                "mark": {"type": "point", "size": 26, "filled": True, "aria": False},
                "encoding": {
                    "x": along[x],
                    "y": along[y],
                    "color": _COLOUR,
                    "opacity": {"condition": {"param": "picked", "value": 0.7}, "value": 0.05},
                    "tooltip": shown,
                },
            },
        ],
        "height": 260,
    }


def heat(
    row: str,
    column: str,
    value: str,
    rows: int,
    columns: Sequence[str],
    *,
    most: float | None = None,
) -> Spec:
    """Return a table of colours, with numbers where they fit.

    Args:
        row: name of the rows.
        column: name of the columns.
        value: a share in 0…1; or, with ``most``, a difference.
        rows: how many rows there are.
        columns: names of the columns, which stand upright where they are short.
        most: the greatest difference, whichever its sign; 0 then lies in the middle of the colours.
    """
    scale: Spec = {"domain": [0, 0.2, 0.6, 1], "range": BLUES}
    if most is not None:
        scale = {"domain": [-most or -1, 0, most or 1], "range": RED_BLUE}
    form = ".0%" if most is None else "+.0%"
    place: Spec = {
        "x": {"field": column, "type": "nominal", "sort": None, "title": column},
        "y": {"field": row, "type": "nominal", "sort": None, "title": row},
    }
    crowded = max(rows, len(columns)) > MOST_NUMBERED
    angle = -40 if max(map(len, columns), default=0) > UPRIGHT else 0
    place["x"]["axis"] = {"labelAngle": angle, "labelLimit": 150, "labelOverlap": crowded}
    place["y"]["axis"] = {"labelLimit": 130, "labelOverlap": crowded}
    number = {"field": value, "type": "quantitative", "format": form}
    tooltip = [{"field": row}, {"field": column}, {**number, "format": form.replace("0", "1")}]
    colour = {"field": value, "type": "quantitative", "scale": scale, "legend": None}
    layers: list[Spec] = [
        {"mark": {"type": "rect"}, "encoding": {"color": colour, "tooltip": tooltip}}
    ]
    if not crowded:
        limits = (-DARK_RED * most, DARK_BLUE * most) if most else (0, DARK)
        dark = f"datum['{value}'] < {limits[0]} || datum['{value}'] > {limits[1]}"
        ink = {"condition": {"test": dark, "value": "white"}, "value": "black"}
        text = {"type": "text", "aria": False}
        some = f"abs(datum['{value}']) >= {NONE}"
        told = {"condition": {**number, "test": some}, "value": ""}
        layers.append({"mark": text, "encoding": {"text": told, "color": ink}})
    height = min(620, max(90, (26 if rows <= MOST_NUMBERED else 13) * rows))
    return {"encoding": place, "layer": layers, "height": height}


def intervals(y: str, x: str, count: int) -> Spec:
    """Return points with the lines from ``low`` to ``high``, and a line at 0.

    Args:
        y: name of the points, in the order of the data.
        x: name of a number.
        count: how many there are, which gives the height.
    """
    along: Spec = {"field": y, "type": "nominal", "sort": None, "title": None}
    along["axis"] = {"labelLimit": 190}
    ends = {"x": {"field": "low", "type": "quantitative", "title": x}, "x2": {"field": "high"}}
    shown = [
        {"field": n, **({} if n == y else {"type": "quantitative", "format": "+.4f"})}
        for n in (y, x, "low", "high")
    ]
    return {
        "layer": [
            {
                "data": {"values": [{"none": 0}]},
                "mark": {"type": "rule", "strokeDash": [4, 3], "aria": False},
                "encoding": {"x": {"field": "none", "type": "quantitative"}},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"y": along, **ends},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 55},
                "encoding": {
                    "y": along,
                    "x": {"field": x, "type": "quantitative"},
                    "tooltip": shown,
                },
            },
        ],
        "height": max(70, 26 * count),
    }


def band(x: str, y: str) -> Spec:
    """Return a line with a band from ``low`` to ``high``, of shares in 0…1."""
    along = {"field": x, "type": "quantitative", "axis": {"tickMinStep": 1}}
    limits = {"domain": [0, 1]}
    high = {"field": "high", "type": "quantitative", "scale": limits, "title": y}
    return {
        "layer": [
            {
                "mark": {"type": "area", "opacity": 0.25, "interpolate": "step", "aria": False},
                "encoding": {"x": along, "y": high, "y2": {"field": "low"}},
            },
            {
                "mark": {"type": "line", "interpolate": "step", "strokeWidth": 1.4},
                "encoding": {
                    "x": along,
                    "y": {"field": y, "type": "quantitative"},
                    "tooltip": [{"field": n} for n in (x, y, "low", "high")],
                },
            },
        ],
        "height": 130,
    }


def plane(choices: Mapping[str, str]) -> Spec:
    """Return points at ``x`` and ``y``, coloured by what is chosen below the chart.

    Args:
        choices: what a person chooses → name of the data that it is.
    """
    (first, *_), names = choices, list(choices)
    bind = {"input": "radio", "options": names, "name": "colours: "}
    by = {"name": "by", "value": first, **({"bind": bind} if len(names) > 1 else {})}
    chosen = " : ".join(f"by === '{name}' ? datum['{field}']" for name, field in choices.items())
    hidden = {"axis": None, "scale": {"zero": False}, "type": "quantitative"}
    return {
        "params": [by, _PICK],
        "transform": [{"calculate": f"{chosen} : ''", "as": "series"}],
        "mark": {"type": "point", "filled": True, "size": 22, "aria": False},
        "encoding": {
            "x": {"field": "x", **hidden},
            "y": {"field": "y", **hidden},
            "color": _in_order(_COLOUR),
            "shape": _in_order(_SHAPE),
            "opacity": {"condition": {"param": "picked", "value": 0.7}, "value": 0.05},
            "tooltip": [{"field": field} for field in choices.values()],
        },
        "height": 280,
    }


def _in_order(channel: Spec) -> Spec:
    """Have series in the order of their names, not of the data."""
    return {name: value for name, value in channel.items() if name != "sort"}


def boxes(y: str, x: str, count: int) -> Spec:
    """Return box plots of ``x``, one for each ``y``, and a line at 0.

    Boxes span the quartiles, whiskers all there is, and every value is a dot.
    """
    along: Spec = {"field": y, "type": "nominal", "sort": None, "title": None}
    along["axis"] = {"labelLimit": 190}
    across = {"field": x, "type": "quantitative"}
    return {
        "layer": [
            {
                "data": {"values": [{"none": 0}]},
                "mark": {"type": "rule", "strokeDash": [4, 3], "aria": False},
                "encoding": {"x": {"field": "none", "type": "quantitative", "title": x}},
            },
            {
                "mark": {"type": "boxplot", "extent": "min-max", "size": 12, "opacity": 0.55},
                "encoding": {"y": along, "x": across},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 24},
                "encoding": {
                    "y": along,
                    "x": across,
                    "tooltip": [{"field": y}, {"field": "seed"}, {"field": x}],
                },
            },
        ],
        "height": max(80, 28 * count),
    }
