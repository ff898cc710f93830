"""Several runs side by side: alone, distilled and how surely it gained, and what they differ in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mstgraph.look.records import Records
from mstgraph.look.settings import differences
from mstgraph.support.errors import UserError
from mstgraph.viz.canvas import INK, MUTED, Figure
from mstgraph.viz.colours import colours
from mstgraph.viz.sheet import TEXT, TICK, Panels, legend, sheet, style
from mstgraph.viz.wanted import Wanted

WORDS = "bars: 95 % interval of the gain over the same network trained as long alone"
SETTINGS = 14  # that fit on a page
LONGEST = 34


def draw(wanted: Wanted) -> Figure:
    """Draw a line per run and student.

    Raises:
        UserError: a run is not finished, or there are fewer than two.
    """
    if len(wanted.folders) < 2:
        raise UserError("a comparison needs two folders of runs at least")
    runs = [Records(folder) for folder in wanted.folders]
    lines = [line for run in runs for line in _lines(run)]
    rows = list(differences(runs).items())
    height = max(1.2, 0.36 * len(lines))
    left = 0.085 * max(len(line["name"]) for line in lines) + 0.3
    table = 0.24 * (min(len(rows), SETTINGS) + 2)
    page = Panels(1, 2, 3.0, height, left=left, right=0.5, above=0.35, below=0.85 + table)
    figure, ((values, gains),) = sheet(runs[0], "Runs side by side", WORDS, page)
    metric = lines[0]["metric"]
    _values(values, lines)
    style(values, f"{metric} on the test split", "")
    _gains(gains, lines)
    style(gains, f"gain in {metric}", "")
    gains.set_yticks([])
    _settings(values, rows, [run.path.name for run in runs], height)
    return figure


def _lines(run: Records) -> list[dict[str, Any]]:
    if run.summary is None:
        raise UserError(f"'{run.path}' is not finished; expected folders of finished runs")
    primary = run.summary["primary"]
    return [
        {
            "name": f"{run.path.name} · {target}",
            "metric": next(m["title"] for m in run.summary["metrics"] if m["name"] == primary),
            "alone": student.get("alone", {}).get(primary),
            "distilled": student.get("distilled", {}).get(primary),
            "gain": student.get("gain", {}).get(primary),
            "interval": (student.get("certainty", {}).get("intervals") or {}).get(primary),
        }
        for target, student in run.summary["students"].items()
    ]


def _values(axes: Any, lines: Sequence[dict[str, Any]]) -> None:
    hues = colours(2)
    for key, hue, mark in (("alone", MUTED, "o"), ("distilled", hues[0], "s")):
        points = [(line[key], i) for i, line in enumerate(lines) if line[key] is not None]
        if points:
            axes.scatter(*zip(*points, strict=True), color=hue, marker=mark, s=34, label=key)
    axes.set_yticks(range(len(lines)), [line["name"] for line in lines])
    axes.set_ylim(len(lines) - 0.5, -0.5)
    legend(axes, loc="upper left", bbox_to_anchor=(0, -0.18), ncols=2, markerscale=1)


def _gains(axes: Any, lines: Sequence[dict[str, Any]]) -> None:
    hue = colours(1)[0]
    for i, line in enumerate(lines):
        if line["interval"]:
            axes.plot(line["interval"], (i, i), color=hue, lw=2.2, solid_capstyle="butt")
        if line["gain"] is not None:
            axes.scatter(line["gain"], i, color=hue, s=34, zorder=3)
    axes.axvline(0, color=MUTED, linewidth=1, dashes=(4, 2.5))
    axes.set_ylim(len(lines) - 0.5, -0.5)


def _settings(
    axes: Any, rows: Sequence[tuple[str, list[str]]], names: Sequence[str], height: float
) -> None:
    """Write what differs under the panels; a page holds so many lines."""
    title = "settings that differ" if rows else "no setting differs"
    text = {"transform": axes.figure.dpi_scale_trans, "color": INK, "va": "top"}
    top = 0.24 * (min(len(rows), SETTINGS) + 2)
    axes.text(0.3, top, f"{title}: {' | '.join(names)}", fontproperties=TEXT.properties(), **text)
    for i, (name, values) in enumerate(rows[:SETTINGS], 1):
        line = f"{name}: {' | '.join(value[:LONGEST] for value in values)}"
        axes.text(0.3, top - 0.24 * i, line, fontproperties=TICK.properties(), **text)
    if len(rows) > SETTINGS:
        line = f"and {len(rows) - SETTINGS} more"
        axes.text(0.3, top - 0.24 * (SETTINGS + 1), line, fontproperties=TICK.properties(), **text)
