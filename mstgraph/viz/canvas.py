"""A page measured in inches, and the few marks that a diagram of boxes and edges is made of.

Nothing here knows what the marks stand for. Positions are inches from the top left corner; sizes
of type and widths of lines are points.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from mstgraph.support.errors import UserError
from mstgraph.support.files import write_atomically

try:
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import to_hex, to_rgb
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon, Rectangle
    from matplotlib.path import Path as Curve
    from matplotlib.textpath import TextToPath
except ImportError as error:
    raise UserError(
        f"pictures need matplotlib ({error}); install it with: pip install 'mstgraph[pictures]'"
    ) from error

Point = tuple[float, float]

INK, MUTED, FAINT, PAPER = "#1f2933", "#5f6c7b", "#c3cbd5", "#ffffff"
NEUTRAL = "#52606d"
DISC, STRIPE = 0.28, 0.07  # diameter of a disc; width of the stripe on the left of a box
MADE_BY = "mstgraph"  # stands in every picture
END_BYTES = 4096  # of a file, at its beginning or its end, in which it stands
ROUNDING = 1.04  # letters are moved to whole pixels, which makes a line this much wider at most


def blend(parts: Sequence[str]) -> str:
    """Return the one colour itself, or a muted mixture of several."""
    if len(parts) == 1:
        return parts[0]
    red, green, blue = (
        sum(channel) / len(parts) for channel in zip(*map(to_rgb, parts), strict=True)
    )
    return mix(to_hex((red, green, blue)), NEUTRAL, 0.5)


def mix(colour: str, other: str, share: float) -> str:
    """Return ``share`` of one colour over another."""
    pairs = zip(to_rgb(colour), to_rgb(other), strict=True)
    red, green, blue = (share * one + (1 - share) * two for one, two in pairs)
    return to_hex((red, green, blue))


@dataclass(frozen=True)
class Type:
    """A kind of type.

    Attributes:
        size: points.
        weight: "normal" or "bold".
        family: "sans-serif" or "monospace".
    """

    size: float
    weight: str = "normal"
    family: str = "sans-serif"

    def properties(self) -> FontProperties:
        """Return it as matplotlib wants it."""
        return FontProperties(family=self.family, weight=self.weight, size=self.size)

    def width(self, text: str) -> float:
        """Return the most that a line of text is wide, in inches, at any resolution."""
        points, _, _ = TextToPath().get_text_width_height_descent(text, self.properties(), False)
        return ROUNDING * float(points) / 72


@dataclass(frozen=True)
class Box:
    """A rectangle on the page, by its centre."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> float:
        """Left edge."""
        return self.x - self.width / 2

    @property
    def right(self) -> float:
        """Right edge."""
        return self.x + self.width / 2

    @property
    def top(self) -> float:
        """Upper edge; y grows downwards."""
        return self.y - self.height / 2

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return self.y + self.height / 2

    def moved(self, down: float) -> Box:
        """Return it further down."""
        return Box(self.x, self.y + down, self.width, self.height)


class Canvas:
    """A figure of a given size with marks on it."""

    def __init__(self, width: float, height: float):
        self.figure = Figure(figsize=(width, height), facecolor=PAPER)
        FigureCanvasAgg(self.figure)
        self._axes = self.figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self._axes.set_xlim(0, width)
        self._axes.set_ylim(height, 0)
        self._axes.set_axis_off()

    @contextmanager
    def marked(self, name: str) -> Iterator[None]:
        """Name all that is drawn meanwhile, ``NAME--0``, ``NAME--1``, …: an SVG's groups have it.

        Whoever shows the picture can so find what belongs together.
        """
        before = set(self._axes.get_children())
        yield
        new = [artist for artist in self._axes.get_children() if artist not in before]
        for number, artist in enumerate(new):
            artist.set_gid(f"{name}--{number}")

    def text(
        self,
        at: Point,
        text: str,
        kind: Type,
        colour: str = INK,
        align: Literal["left", "center", "right"] = "left",
    ) -> None:
        """Write one line, centred vertically on a point."""
        self._axes.text(
            *at,
            text,
            fontproperties=kind.properties(),
            color=colour,
            ha=align,
            va="center_baseline",
            parse_math=False,
            zorder=6,
        )

    def pill(self, at: Point, text: str, kind: Type, colour: str) -> None:
        """Write a label on a white plate, centred on a point of the edge that it names."""
        box = Box(*at, pill_width(text, kind), kind.size / 72 * 1.55)
        self.box(box, fill=PAPER, edge=mix(colour, PAPER, 0.55), line=0.8, radius=1.0, zorder=4)
        self.text(at, text, kind, mix(colour, INK, 0.75), "center")

    def box(
        self,
        box: Box,
        *,
        fill: str,
        edge: str,
        line: float = 1.2,
        radius: float = 0.09,
        stripe: Sequence[str] = (),
        zorder: float = 3,
    ) -> None:
        """Draw a rounded rectangle.

        Args:
            box: where.
            fill: colour inside.
            edge: colour of the outline.
            line: width of the outline.
            radius: of the corners.
            stripe: colours of a stripe along the left edge, from the top.
            zorder: what is drawn later lies above.
        """
        shape = (box.left, box.top), box.width, box.height
        style = f"round,pad=0,rounding_size={min(radius, box.height / 2)}"
        outline = FancyBboxPatch(
            *shape, boxstyle=style, facecolor=fill, edgecolor=edge, linewidth=line, zorder=zorder
        )
        self._axes.add_patch(outline)
        part = box.height / max(1, len(stripe))
        for i, colour in enumerate(stripe):
            corner = (box.left, box.top + i * part)
            band = Rectangle(
                corner, STRIPE, part, facecolor=colour, linewidth=0, zorder=zorder + 0.1
            )
            self._axes.add_patch(band)
            band.set_clip_path(outline)

    def disc(self, at: Point, text: str, kind: Type, colour: str) -> None:
        """Write a word of few letters in white on a disc."""
        self._axes.add_patch(Circle(at, DISC / 2, facecolor=colour, linewidth=0, zorder=4))
        self.text(at, text, kind, PAPER, "center")

    def polygon(self, points: Sequence[Point], fill: str) -> None:
        """Draw a filled shape."""
        shape = Polygon(points, facecolor=fill, edgecolor=fill, linewidth=1.5, zorder=3)
        shape.set_joinstyle("round")
        self._axes.add_patch(shape)

    def line(
        self,
        points: Sequence[Point],
        *,
        colour: str,
        width: float = 1.6,
        dashes: tuple[float, ...] = (),
        heads: Literal["", "end", "both"] = "end",
        zorder: float = 1,
    ) -> None:
        """Draw a curve through Bézier points: a start, then three points for each piece.

        Args:
            points: 1 + 3 n points.
            colour: of the line and of its heads.
            width: points.
            dashes: lengths of dashes and gaps in points; none for a solid line.
            heads: where it has arrow heads; the first and last piece must arrive horizontally or
                vertically.
            zorder: what is drawn later lies above.
        """
        points = list(points)
        if heads:
            points[-1] = self._head(points[-2], points[-1], colour, width, zorder)
        if heads == "both":
            points[0] = self._head(points[1], points[0], colour, width, zorder)
        codes = [Curve.MOVETO, *[Curve.CURVE4] * (len(points) - 1)]
        curve = PathPatch(
            Curve(points, codes),
            facecolor="none",
            edgecolor=colour,
            linewidth=width,
            capstyle="butt",
            zorder=zorder,
        )
        if dashes:
            curve.set_linestyle((0, tuple(length / width for length in dashes)))
        self._axes.add_patch(curve)

    def _head(self, before: Point, tip: Point, colour: str, width: float, zorder: float) -> Point:
        """Draw an arrow head at the tip and return where the line has to end."""
        length = (3.2 + 1.5 * width) / 72
        half = (1.6 + 0.9 * width) / 72
        (x, y), dx, dy = tip, tip[0] - before[0], tip[1] - before[1]
        if abs(dx) >= abs(dy):
            back = x - length if dx > 0 else x + length
            corners = [tip, (back, y - half), (back, y + half)]
            end = ((x + back) / 2, y)
        else:
            back = y - length if dy > 0 else y + length
            corners = [tip, (x - half, back), (x + half, back)]
            end = (x, (y + back) / 2)
        self._axes.add_patch(
            Polygon(corners, facecolor=colour, edgecolor="none", zorder=zorder + 0.1)
        )
        return end


def write_picture(
    figure: Figure, stem: Path, formats: Sequence[str] = ("svg", "png"), source: str = ""
) -> list[Path]:
    """Write a figure as SVG and PDF, whose text is text, and as PNG; the same bytes every time.

    Args:
        figure: the figure.
        stem: path without an ending; folders that are missing are made.
        formats: which of ``svg``, ``png`` and ``pdf``.
        source: what is drawn, in hexadecimal digits: a picture of another one stays; "" for any.

    Returns:
        The files written.

    Raises:
        UserError: they cannot be written, or are there already and were not drawn by mstgraph, or
            of another source.
    """
    paths = {ending: stem.with_name(f"{stem.name}.{ending}") for ending in formats}
    _refuse_others(stem, list(paths.values()), source)
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"the folder '{stem.parent}' cannot be made ({error.strerror}); choose another place "
            "with --out"
        ) from error
    with rc_context(_SETTINGS):
        for ending, path in paths.items():
            said = {**_SAID[ending], _MAKER[ending]: f"{MADE_BY} {source}".strip()}
            save = partial(figure.savefig, format=ending, dpi=160, metadata=said)
            write_atomically(path, save)
    return list(paths.values())


def as_svg(figure: Figure) -> str:
    """Return a figure as SVG, whose text is text."""
    stream = io.StringIO()
    with rc_context(_SETTINGS):
        figure.savefig(stream, format="svg", metadata=_SAID["svg"])
    return stream.getvalue()


_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "mstgraph",
    "pdf.fonttype": 42,
}
_SAID: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": MADE_BY},
    "png": {"Software": MADE_BY},
    "pdf": {"CreationDate": None, "Creator": MADE_BY},
}
_MAKER = {"svg": "Creator", "png": "Software", "pdf": "Creator"}


def _refuse_others(stem: Path, paths: Sequence[Path], source: str) -> None:
    """Refuse to overwrite pictures of other hands; those of earlier versions said nothing."""
    parts = {path: _ends(path) for path in paths if path.exists() or path.is_symlink()}
    own = {path for path, part in parts.items() if MADE_BY.encode() in part}
    svg = stem.with_name(f"{stem.name}.svg")
    old = parts.get(svg, b"")
    if b"*{stroke-linejoin" in old and b"<dc:creator>" not in old and b"<dc:date>" not in old:
        own |= {svg, stem.with_name(f"{stem.name}.png")}
    for path in parts.keys() - own:
        raise UserError(
            f"'{path}' is there already and was not drawn by mstgraph; expected another place with "
            "--out, or that you move it"
        )
    for path, part in parts.items():
        found = re.search(rf"{MADE_BY} ([0-9a-f]{{16}})".encode(), part)
        if source and found and found[1] != source.encode():
            raise UserError(
                f"'{path}' is there already and shows another run; expected another place with "
                "--out, or that you move it"
            )


def _ends(path: Path) -> bytes:
    """Return what a file begins and ends with; a PDF says at its end who made it."""
    try:
        with path.open("rb") as stream:
            head = stream.read(END_BYTES)
            stream.seek(-min(END_BYTES, path.stat().st_size), os.SEEK_END)
            return head + stream.read(END_BYTES)
    except OSError:
        return b""


def pill_width(text: str, kind: Type) -> float:
    """Return the width of a label's plate in inches."""
    return kind.width(text) + kind.size / 72 * 1.1


def sideways(start: Point, end: Point) -> list[Point]:
    """Return an S from left to right that leaves and arrives horizontally."""
    middle = (start[0] + end[0]) / 2
    return [start, (middle, start[1]), (middle, end[1]), end]


def straight(start: Point, end: Point) -> list[Point]:
    """Return a straight piece."""
    third = ((end[0] - start[0]) / 3, (end[1] - start[1]) / 3)
    return [
        start,
        (start[0] + third[0], start[1] + third[1]),
        (end[0] - third[0], end[1] - third[1]),
        end,
    ]


def arc(start: Point, end: Point, bulge: float) -> list[Point]:
    """Return an arc between two points of one vertical, reaching ``bulge`` to the right."""
    reach = max(start[0], end[0]) + bulge * 4 / 3
    return [start, (reach, start[1]), (reach, end[1]), end]
