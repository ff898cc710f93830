"""Mutual edges beside the column of members: dashed arcs, or one bracket where all are aligned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mstgraph.viz.canvas import MUTED, Box, Canvas, Point, arc, straight
from mstgraph.viz.paths.labels import Document, stage_word
from mstgraph.viz.paths.layout import ARC_FIRST, LABEL, arc_reach

Pair = tuple[int, int]  # rows of the upper and of the lower member
Ends = Mapping[Pair, tuple[Point, Point]]


BRACKETED = (
    4  # members that are all aligned with each other: six arcs, of which none can be followed
)
TICK = -0.3  # where a bracket's ends are on a box, of its height from the middle


def mutual_line(canvas: Canvas, points: Sequence[Point]) -> None:
    """Draw a mutual edge along Bézier points."""
    canvas.line(points, colour=MUTED, width=1.1, dashes=(4.0, 2.6), heads="both", zorder=2)


def draw_mutual_edges(canvas: Canvas, document: Document, members: Mapping[str, Box]) -> None:
    """Draw all mutual edges, and one label for each stage on the longest of its arcs."""
    if one_bracket(document):
        _draw_bracket(canvas, document, sorted(members.values(), key=lambda box: box.y))
        return
    order = sorted(members, key=lambda name: members[name].y)
    boxes = [members[name] for name in order]
    arcs: dict[Pair, tuple[str, str]] = {}  # pair → stage, label
    for edge in document["edges"]:
        if edge["kind"] == "mutual":
            one, other = sorted((order.index(edge["source"]), order.index(edge["target"])))
            label = f"{edge['loss']} · {stage_word(document, edge['stage'])}"
            arcs[one, other] = (edge["stage"], label)
    ends = _ends(boxes, list(arcs))
    for pair in arcs:
        mutual_line(canvas, _curve(pair, ends, len(boxes)))
    for pair, gap in _labelled(arcs).items():
        y = (boxes[gap].bottom + boxes[gap + 1].top) / 2
        canvas.pill((_x_at(_curve(pair, ends, len(boxes)), y), y), arcs[pair][1], LABEL, MUTED)


def one_bracket(document: Document) -> bool:
    """Return whether every member is aligned with every other in one stage by one loss."""
    edges = [edge for edge in document["edges"] if edge["kind"] == "mutual"]
    count = len(document["members"])
    alike = len({(edge["stage"], edge["loss"]) for edge in edges}) == 1
    return alike and count >= BRACKETED and len(edges) == count * (count - 1) // 2


def _draw_bracket(canvas: Canvas, document: Document, boxes: Sequence[Box]) -> None:
    """Join all boxes by one line beside them, with a head at each."""
    edge = next(edge for edge in document["edges"] if edge["kind"] == "mutual")
    spine = boxes[0].right + ARC_FIRST
    heights = [box.y + TICK * box.height for box in boxes]
    style = {"colour": MUTED, "width": 1.1, "dashes": (4.0, 2.6), "zorder": 2}
    ends = (spine, heights[0]), (spine, heights[-1])
    canvas.line(straight(*ends), heads="", **style)  # type: ignore[arg-type]
    for box, y in zip(boxes, heights, strict=True):
        canvas.line(straight((spine, y), (box.right, y)), **style)  # type: ignore[arg-type]
    gap = (len(boxes) - 1) // 2
    middle = (boxes[gap].bottom + boxes[gap + 1].top) / 2
    label = f"{edge['loss']} · {stage_word(document, edge['stage'])}"
    canvas.pill((spine, middle), label, LABEL, MUTED)


def _curve(pair: Pair, ends: Ends, members: int) -> list[Point]:
    return arc(*ends[pair], arc_reach(pair[1] - pair[0], members))


def _ends(boxes: Sequence[Box], pairs: Sequence[Pair]) -> Ends:
    """Spread the ends of arcs over the right edges of their boxes so that nested arcs stay nested.

    Upward arcs leave the upper half, the shortest on top; downward ones mirror them. The middle
    stays free for the edge to the teachers.
    """
    ends: dict[Pair, list[Point]] = {pair: [] for pair in pairs}
    for i, box in enumerate(boxes):
        up = sorted((pair for pair in pairs if pair[1] == i), key=lambda pair: i - pair[0])
        down = sorted((pair for pair in pairs if pair[0] == i), key=lambda pair: pair[1] - i)
        for side, group in ((-1, up), (1, down)):
            for k, pair in enumerate(group):
                share = 0.40 - 0.28 * k / max(1, len(group) - 1)
                ends[pair].append((box.right, box.y + side * share * box.height))
    return {pair: (one, other) for pair, (one, other) in ends.items()}


def _labelled(arcs: Mapping[Pair, tuple[str, str]]) -> dict[Pair, int]:
    """Return the longest arc of each stage → the gap between two rows that the label goes to.

    No edge to a teacher passes between two rows. The shortest arcs choose first: the others have
    more gaps to choose from.
    """
    longest: dict[tuple[str, str], Pair] = {}
    for pair, stage in arcs.items():
        longest[stage] = max(longest.get(stage, pair), pair, key=lambda p: p[1] - p[0])
    chosen: dict[Pair, int] = {}
    for one, other in sorted(longest.values(), key=lambda p: p[1] - p[0]):
        gaps = [gap for gap in range(one, other) if gap not in chosen.values()]
        middle = (one + other - 1) / 2
        chosen[one, other] = min(gaps, key=lambda gap: abs(gap - middle))
    return chosen


def _x_at(points: Sequence[Point], y: float) -> float:
    """Return where a curve that only goes down crosses a height, by bisection."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if _bezier([point[1] for point in points], middle) < y:
            low = middle
        else:
            high = middle
    return _bezier([point[0] for point in points], low)


def _bezier(values: Sequence[float], t: float) -> float:
    a, b, c, d = values
    return (1 - t) ** 3 * a + 3 * (1 - t) ** 2 * t * b + 3 * (1 - t) * t**2 * c + t**3 * d
