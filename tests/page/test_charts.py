"""What charts tell apart, and by what."""

from __future__ import annotations

from mstgraph.page import charts
from mstgraph.viz.colours import LIGHT


def test_lines_that_are_said_to_be_dashed_are() -> None:
    """The others are solid; where colours begin again, each kind has a stroke of its own."""
    dashed = {f"teacher {i}": i % 2 == 1 for i in range(len(LIGHT) + 2)}
    encoding = charts.lines("epoch", "share", dashed=dashed)["encoding"]
    scale = encoding["strokeDash"]["scale"]
    assert scale["domain"] == encoding["color"]["scale"]["domain"] == list(dashed)
    strokes = dict(zip(scale["domain"], scale["range"], strict=True))
    assert strokes["teacher 0"] == strokes["teacher 2"] == [1, 0]
    assert strokes["teacher 1"] == strokes["teacher 3"] == [6, 3]
    looks = [(LIGHT[i % len(LIGHT)], *stroke) for i, stroke in enumerate(strokes.values())]
    assert len(set(looks)) == len(dashed)


def test_lines_of_one_kind_have_other_dashes_where_colours_grow_alike() -> None:
    """After eight: solid first, then strokes that are no two alike."""
    encoding = charts.lines("epoch", "value")["encoding"]
    strokes = encoding["strokeDash"]["scale"]["range"]
    assert strokes[:8] == [[1, 0]] * 8
    assert len({tuple(stroke) for stroke in strokes}) == len(strokes) // 8 == 4
