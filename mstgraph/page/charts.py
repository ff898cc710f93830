"""Charts in Vega-Lite, the grammar that the page's library draws; colours are the page's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Spec = dict[str, Any]

_PICK = {"name": "picked", "select": {"type": "point", "fields": ["series"]}, "bind": "legend"}
_LEGEND = {"orient": "bottom", "labelLimit": 240, "title": None}
MOST_NUMBERED = 16  # rows or columns of a heat map whose numbers still fit


def lines(
    x: str, y: str, *, zero: bool = False, dashes: Sequence[str] = (), count: int = 2
) -> Spec:
    """Return lines of ``y`` over ``x`` by ``series``; a click in the legend picks one.

    Args:
        x: name of a number, from 1 upwards in whole steps.
        y: name of a number.
        zero: whether the axis begins at 0.
        dashes: names of the series that are dashed.
        count: how many values of ``x`` there are; of one, no line is seen.
    """
    encoding = {
        "x": {
            "field": x,
            "type": "quantitative",
            "axis": {"tickMinStep": 1, "format": ".3~g"},
            "title": x,
        },
        "y": {"field": y, "type": "quantitative", "scale": {"zero": zero}, "title": y},
        "color": {"field": "series", "type": "nominal", "legend": _LEGEND, "sort": None},
        "opacity": {"condition": {"param": "picked", "value": 1}, "value": 0.12},
        "tooltip": [{"field": name} for name in ("series", x)]
        + [{"field": y, "format": ".4f", "type": "quantitative"}],
    }
    if dashes:
        test = {"test": {"field": "series", "oneOf": list(dashes)}, "value": [5, 3]}
        encoding["strokeDash"] = {"condition": test, "value": [1, 0]}
    mark = {"type": "line", "point": {"size": 14 if count > 1 else 60}, "strokeWidth": 1.8}
    return {"params": [_PICK], "mark": mark, "encoding": encoding, "height": 210}


def bars(y: str, x: str, *, colour: str = "", form: str = ".3f", count: int = 8) -> Spec:
    """Return horizontal bars of ``x``, one for each ``y`` in the order of the data.

    Args:
        y: name of the bars.
        x: name of a number.
        colour: name of what colours them.
        form: of the number.
        count: how many bars there are, which gives the height.
    """
    encoding: Spec = {
        "y": {"field": y, "type": "nominal", "sort": None, "title": None},
        "x": {"field": x, "type": "quantitative"},
        "tooltip": [{"field": y}, {"field": x, "type": "quantitative", "format": form}],
    }
    encoding["y"]["axis"] = {"labelLimit": 170}
    if colour:
        encoding["color"] = {"field": colour, "type": "nominal", "legend": _LEGEND, "sort": None}
    return {"mark": {"type": "bar"}, "encoding": encoding, "height": max(60, 24 * count)}


def heat(
    row: str, column: str, value: str, size: tuple[int, ...], *, most: float | None = None
) -> Spec:
    """Return a table of colours, with numbers where they fit.

    Args:
        row: name of the rows.
        column: name of the columns.
        value: a share in 0…1; or, with ``most``, a difference.
        size: how many rows and columns there are.
        most: the greatest difference, whichever its sign; 0 then lies in the middle of the colours.
    """
    scale: Spec = {"scheme": "blues", "domain": [0, 1]}
    if most is not None:
        scale = {"scheme": "redblue", "domain": [-most or -1, most or 1]}
    form = ".0%" if most is None else "+.0%"
    place: Spec = {
        "x": {"field": column, "type": "nominal", "sort": None, "title": column},
        "y": {"field": row, "type": "nominal", "sort": None, "title": row},
    }
    crowded = max(size) > MOST_NUMBERED
    place["x"]["axis"] = {"labelAngle": -40, "labelLimit": 110, "labelOverlap": crowded}
    place["y"]["axis"] = {"labelLimit": 130, "labelOverlap": crowded}
    number = {"field": value, "type": "quantitative", "format": form}
    tooltip = [{"field": row}, {"field": column}, {**number, "format": form.replace("0", "1")}]
    colour = {"field": value, "type": "quantitative", "scale": scale, "legend": None}
    layers: list[Spec] = [
        {"mark": {"type": "rect"}, "encoding": {"color": colour, "tooltip": tooltip}}
    ]
    if not crowded:
        dark = f"abs(datum['{value}']) > {0.55 if most is None else 0.6 * most}"
        ink = {"condition": {"test": dark, "value": "white"}, "value": "#1f2933"}
        text = {"type": "text", "fontSize": 10, "aria": False}
        layers.append({"mark": text, "encoding": {"text": number, "color": ink}})
    height = min(620, max(90, (26 if size[0] <= MOST_NUMBERED else 13) * size[0]))
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
    chosen = " : ".join(f"by === '{name}' ? datum['{field}']" for name, field in choices.items())
    hidden = {"axis": None, "scale": {"zero": False}, "type": "quantitative"}
    return {
        "params": [{"name": "by", "value": first, "bind": bind}, _PICK],
        "transform": [{"calculate": f"{chosen} : ''", "as": "series"}],
        "mark": {"type": "circle", "size": 22, "aria": False},
        "encoding": {
            "x": {"field": "x", **hidden},
            "y": {"field": "y", **hidden},
            "color": {"field": "series", "type": "nominal", "legend": _LEGEND},
            "opacity": {"condition": {"param": "picked", "value": 0.7}, "value": 0.05},
            "tooltip": [{"field": field} for field in choices.values()],
        },
        "height": 280,
    }


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
