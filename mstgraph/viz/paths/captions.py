"""What stands around a picture of distillation paths: the heading above, the legend below."""

from __future__ import annotations

from collections.abc import Sequence

from mstgraph.viz.canvas import (
    FAINT,
    MUTED,
    PAPER,
    Box,
    Canvas,
    Point,
    Type,
    pill_width,
    straight,
)
from mstgraph.viz.colours import colours
from mstgraph.viz.paths.labels import Document
from mstgraph.viz.paths.layout import MARGIN
from mstgraph.viz.paths.mutual import mutual_line

TITLE, BADGE, SUBTITLE = Type(17, "bold"), Type(10.5, "bold"), Type(10.5)
TEXT, WORD = Type(9), Type(9, "bold")
AMBER = "#9a5b00"
LINE, BETWEEN = 0.27, 0.35  # height of a line of the legend; space between two items

_MEANINGS = {
    "ci": ("CI", "collaborative initialisation"),
    "sta": ("STA", "specialised teacher adaptation"),
    "dkd": ("DKD", "dynamic knowledge distillation"),
}
_SWATCHES = ("fused", "mutual", "routed")

Item = tuple[str, str]  # a swatch or a word, and what it means


class Heading:
    """The title, and under it what the data is; says so if it is synthetic."""

    def __init__(self, document: Document):
        data, task = document["data"], document["task"]
        self.title = f"Distillation paths of {document['name']}"
        self.synthetic = data["synthetic"]
        self.subtitle = f"{data['title']} · {task['kind']}, {task['outputs']} outputs"

    @property
    def width(self) -> float:
        """Width in inches."""
        badge = 0.08 + pill_width(self.synthetic, BADGE) if self.synthetic else 0.0
        return max(TITLE.width(self.title) + badge, SUBTITLE.width(self.subtitle))

    def draw(self, canvas: Canvas) -> None:
        """Draw it at the top of a page."""
        canvas.text((MARGIN, 0.45), self.title, TITLE)
        canvas.text((MARGIN, 0.78), self.subtitle, SUBTITLE, MUTED)
        if self.synthetic:
            left = MARGIN + TITLE.width(self.title) + 0.08
            at = (left + pill_width(self.synthetic, BADGE) / 2, 0.45)
            canvas.pill(at, self.synthetic, BADGE, AMBER)


class Legend:
    """What the marks mean that this picture has, in lines no wider than the page.

    Args:
        document: see `mstgraph.derive.document.plan_document`.
        routed: whether widths show shares of the routing.
        width: of the lines.
    """

    def __init__(self, document: Document, routed: bool, width: float):
        items = _items(document, routed)
        self.lines = _wrapped(items, width)
        if len(self.lines) > 1:  # then rather marks apart from words
            marks = [item for item in items if item[0] in _SWATCHES]
            words = [item for item in items if item[0] not in _SWATCHES]
            self.lines = _wrapped(marks, width) + _wrapped(words, width)

    @property
    def height(self) -> float:
        """Height in inches."""
        return LINE * len(self.lines)

    def draw(self, canvas: Canvas, top: float) -> None:
        """Draw it from a height downwards."""
        for row, line in enumerate(self.lines):
            x, y = MARGIN, top + LINE * (row + 0.5)
            for mark, text in line:
                _mark(canvas, mark, (x, y))
                canvas.text((x + _lead(mark), y), text, TEXT, MUTED)
                x += _width((mark, text)) + BETWEEN


def _items(document: Document, routed: bool) -> list[Item]:
    items = []
    if any(len(member["inputs"]) > 1 for member in document["members"]):
        items.append(("fused", "fused member"))
    if any(edge["kind"] == "mutual" for edge in document["edges"]):
        items.append(("mutual", "mutual alignment"))
    if routed:
        items.append(("routed", "share of the samples routed to a teacher"))
    kinds = {stage["kind"] for stage in document["stages"]}
    return items + [meaning for kind, meaning in _MEANINGS.items() if kind in kinds]


def _lead(mark: str) -> float:
    """Return the width of what stands before an item's text."""
    return 0.42 if mark in _SWATCHES else WORD.width(mark) + 0.08


def _width(item: Item) -> float:
    return _lead(item[0]) + TEXT.width(item[1])


def _wrapped(items: Sequence[Item], width: float) -> list[list[Item]]:
    """Fill lines up to the width."""
    lines: list[list[Item]] = []
    room = 0.0
    for item in items:
        if _width(item) > room:
            lines.append([])
            room = width
        lines[-1].append(item)
        room -= _width(item) + BETWEEN
    return lines


def _mark(canvas: Canvas, mark: str, at: Point) -> None:
    x, y = at
    ends = straight(at, (x + 0.34, y))
    if mark == "fused":
        canvas.box(Box(x + 0.17, y, 0.34, 0.17), fill=PAPER, edge=FAINT, stripe=colours(2))
    elif mark == "mutual":
        mutual_line(canvas, ends)
    elif mark == "routed":
        canvas.line(ends, colour=FAINT, width=7, heads="")
    else:
        canvas.text(at, mark, WORD, MUTED)
