"""Where everything of a distillation graph goes: a plan document → boxes on a page.

Columns from left to right: modalities, members, specialised teachers, gate, student. Each student
has a panel of its own teachers, in the order j = 1…N, and below them a lane on which its own
network comes through from the members. All lengths are inches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import numpy as np

from mstgraph.viz.canvas import DISC, Box, Type, pill_width
from mstgraph.viz.paths.labels import (
    Document,
    edge_label,
    modality_lines,
    students,
    teacher_lines,
    used_modalities,
)

HEADING = Type(10, "bold")
NAME, SUB, LABEL = Type(12, "bold"), Type(8.5), Type(9.5)
POINT = Type(10.5, family="monospace")

MARGIN, HEADER = 0.35, 1.5  # around the page; from its top to the first box
ROW, GROUP_GAP, LANE = 0.53, 0.13, 0.56
FRAME_SIDE, FRAME_HEAD, FRAME_FOOT, PANEL_GAP = 0.16, 0.38, 0.1, 0.34
MODALITY, MEMBER, TEACHER, STUDENT = 0.56, 0.78, 0.44, 0.8  # heights of the boxes
SPACING = 0.24  # least distance between two members
ARC_FIRST, ARC_MORE = 0.34, 0.8  # how far a mutual edge reaches: between neighbours, at most more
PLATE_GAP, PORT_GAP = 0.16, 0.09  # before and after a label; between edges at the gate
THIN, FULL = 0.022, 0.40  # width of an edge to the gate: a share of 0 %, of 100 %


@dataclass(frozen=True)
class Panel:
    """A student and its teachers.

    Attributes:
        student: its name.
        teachers: teachers as the document describes them, in order.
        shares: share of the samples that is routed to each teacher; empty before a run.
        rows: the teachers' boxes, in order.
        frame: around the teachers; None without any.
        gate: the gate's box; None without one.
        end: the student's box.
        lane: y of the student's own line.
    """

    student: str
    teachers: Sequence[Mapping[str, Any]]
    shares: Sequence[float]
    rows: tuple[Box, ...]
    frame: Box | None
    gate: Box | None
    end: Box
    lane: float

    @property
    def widths(self) -> list[float]:
        """Widths of the edges that leave the teachers, in inches."""
        return edge_widths(self.teachers, self.shares)

    @property
    def bottom(self) -> float:
        """Lowest point."""
        return max(self.lane + LANE / 4, self.end.bottom)

    def moved(self, down: float) -> Panel:
        """Return it further down."""
        return replace(
            self,
            rows=tuple(row.moved(down) for row in self.rows),
            frame=self.frame and self.frame.moved(down),
            gate=self.gate and self.gate.moved(down),
            end=self.end.moved(down),
            lane=self.lane + down,
        )


@dataclass(frozen=True)
class Columns:
    """Middles and widths of the columns; a column without boxes has no width.

    Attributes:
        modality: middle and width of the boxes.
        member: likewise.
        junction: x where a member's edges to its teachers part.
        teacher: middle and width of the boxes.
        gate: likewise.
        student: likewise.
        page: width of the page.
    """

    modality: tuple[float, float]
    member: tuple[float, float]
    junction: float
    teacher: tuple[float, float]
    gate: tuple[float, float]
    student: tuple[float, float]
    page: float


@dataclass(frozen=True)
class Layout:
    """A page: see `Panel` and `Columns`; boxes by the names of modalities and members."""

    columns: Columns
    modalities: Mapping[str, Box]
    members: Mapping[str, Box]
    panels: Sequence[Panel]
    bottom: float


def lay_out(document: Document, shares: Mapping[str, Sequence[float]], least: float) -> Layout:
    """Place everything.

    Args:
        document: see `mstgraph.derive.document.plan_document`.
        shares: student → share of each of its teachers, for the students that have been routed.
        least: the page is at least so wide.
    """
    columns = _columns(document, shares, least)
    panels = _panels(document, shares, columns)
    members = _member_boxes(document, panels, columns)
    panels = _straightened(panels, members)
    modalities = _modality_boxes(document, members, columns)
    boxes = [*members.values(), *modalities.values()]
    frames = [panel.frame or panel.end for panel in panels]
    down = HEADER - min(box.top for box in [*boxes, *frames])
    bottom = max([box.bottom for box in boxes] + [panel.bottom for panel in panels])
    return Layout(
        columns,
        {name: box.moved(down) for name, box in modalities.items()},
        {name: box.moved(down) for name, box in members.items()},
        [panel.moved(down) for panel in panels],
        bottom + down,
    )


def edge_widths(teachers: Sequence[Any], shares: Sequence[float]) -> list[float]:
    """Return the widths of the edges from teachers in inches, growing with their shares."""
    return [THIN + FULL * share for share in shares] or [THIN] * len(teachers)


def arc_reach(steps: int, members: int) -> float:
    """Return how far a mutual edge between members ``steps`` rows apart reaches."""
    return ARC_FIRST + min(0.3, ARC_MORE / members) * (steps - 1)


def _columns(document: Document, shares: Mapping[str, Any], least: float) -> Columns:
    modality, member, teacher, gate, student = _widths(document)
    mutual = any(edge["kind"] == "mutual" for edge in document["edges"])
    pretrained = any(stage["kind"] == "pretrain" for stage in document["stages"])
    count = len(document["members"])
    arcs = arc_reach(count - 1, count) + 0.25 if mutual else 0.0
    sta = pill_width("STA", LABEL) + 0.1
    labels = _label_width(document, shares)
    gaps = {
        "member": 0.72 + (pill_width("pretrain", LABEL) if pretrained else 0.0),
        "teacher": arcs + sta + (0.5 if len(students(document)) == 1 else 0.9) + FRAME_SIDE,
        "gate": FRAME_SIDE + labels + 0.75 if gate else 0.0,
        "student": pill_width("DKD", LABEL) + 0.5 if gate else FRAME_SIDE + labels + 0.85,
    }
    if not teacher:
        gaps["teacher"], gaps["student"] = 0.0, arcs + 1.9
    content = modality + member + teacher + gate + student + sum(gaps.values())
    page = max(content + 2 * MARGIN, least)
    left = (page - content) / 2
    places = {"modality": (left + modality / 2, modality)}
    left += modality
    widths = {"member": member, "teacher": teacher, "gate": gate, "student": student}
    for name, width in widths.items():
        left += gaps[name]
        places[name] = (left + width / 2, width)
        left += width
    junction = places["member"][0] + member / 2 + arcs + sta
    return Columns(**places, junction=junction, page=page)


def _widths(document: Document) -> tuple[float, float, float, float, float]:
    """Return the widths of the boxes: modality, member, teacher, gate, student."""
    modality = _widest([modality_lines(m) for m in used_modalities(document)], (NAME, SUB))
    lines = [(m["name"], m["role"], m["network"]) for m in document["members"]]
    member = _widest(lines, (NAME, SUB, SUB))
    described = [teacher_lines(t) for group in document["teachers"].values() for t in group]
    teacher = _widest(described, (POINT, SUB)) + DISC + 0.1 if described else 0.0
    gate = 0.82 if document["gates"] else 0.0
    student = _widest([(name, "student") for name in students(document)], (NAME, SUB))
    return modality + 0.4, member + 0.4, teacher and teacher + 0.3, gate, student + 0.5


def _widest(rows: Sequence[Sequence[str]], kinds: Sequence[Type]) -> float:
    return max(k.width(text) for row in rows for text, k in zip(row, kinds, strict=True))


def _label_width(document: Document, shares: Mapping[str, Sequence[float]]) -> float:
    """Return the width of the widest label of an edge that leaves a teacher."""
    widths = [0.0]
    for student, teachers in document["teachers"].items():
        for i, teacher in enumerate(teachers):
            share = shares[student][i] if student in shares else None
            widths.append(pill_width(edge_label(document, student, teacher, share), LABEL))
    return max(widths)


def _panels(
    document: Document, shares: Mapping[str, Sequence[float]], columns: Columns
) -> list[Panel]:
    panels, y = [], 0.0
    for student in students(document):
        teachers = document["teachers"].get(student, ())
        gated = student in document["gates"]
        panels.append(_panel(student, teachers, shares.get(student, ()), gated, columns).moved(y))
        y = panels[-1].bottom + PANEL_GAP
    return panels


def _panel(
    student: str,
    teachers: Sequence[Mapping[str, Any]],
    shares: Sequence[float],
    gated: bool,
    columns: Columns,
) -> Panel:
    """Stack a student's teachers from 0 downwards, members apart, and its lane below them."""
    ports = sum(edge_widths(teachers, shares)) + PORT_GAP * len(teachers)
    if not teachers:
        end = Box(columns.student[0], 0, columns.student[1], STUDENT)
        return Panel(student, teachers, shares, (), None, None, end, 0.0)
    rows, y = [], FRAME_HEAD
    for i, teacher in enumerate(teachers):
        if i and teachers[i - 1]["member"] != teacher["member"]:
            y += GROUP_GAP
        rows.append(Box(columns.teacher[0], y + ROW / 2, columns.teacher[1], TEACHER))
        y += ROW
    height, middle = y + FRAME_FOOT, fmean((rows[0].y, rows[-1].y))
    frame = Box(columns.teacher[0], height / 2, columns.teacher[1] + 2 * FRAME_SIDE, height)
    gate = Box(columns.gate[0], middle, columns.gate[1], max(1.0, ports + 0.3)) if gated else None
    end_height = STUDENT if gated else max(STUDENT, ports + 0.2)
    end = Box(columns.student[0], middle, columns.student[1], end_height)
    lane = max(box.bottom for box in (frame, end, gate or end)) + LANE / 2
    return Panel(student, teachers, shares, tuple(rows), frame, gate, end, lane)


def _member_boxes(document: Document, panels: Sequence[Panel], columns: Columns) -> dict[str, Box]:
    """Put each member beside what it leads to; those that lead nowhere on top."""
    wanted: dict[str, list[float]] = {member["name"]: [] for member in document["members"]}
    for panel in panels:
        wanted[panel.student].append(panel.lane)
        for teacher, row in zip(panel.teachers, panel.rows, strict=True):
            wanted[teacher["member"]].append(row.y)
    middles = {name: fmean(ys) if ys else 0.0 for name, ys in wanted.items()}
    return _column(middles, columns.member, MEMBER)


def _straightened(panels: Sequence[Panel], members: Mapping[str, Box]) -> list[Panel]:
    """Bring students level with their members where nothing is in the way."""
    if not any(panel.rows for panel in panels):
        return [panel.moved(members[panel.student].y - panel.lane) for panel in panels]
    *others, last = panels
    lane = max(last.lane, members[last.student].y) if last.rows else last.lane
    return [*others, replace(last, lane=lane)]


def _modality_boxes(
    document: Document, members: Mapping[str, Box], columns: Columns
) -> dict[str, Box]:
    """Put each modality beside the members that see it alone, else beside all that see it."""
    middles = {}
    for modality in used_modalities(document):
        name = modality["name"]
        seeing = [m for m in document["members"] if name in m["inputs"]]
        alone = [m for m in seeing if len(m["inputs"]) == 1]
        middles[name] = fmean(members[m["name"]].y for m in alone or seeing)
    return _column(middles, columns.modality, MODALITY)


def _column(
    middles: Mapping[str, float], column: tuple[float, float], height: float
) -> dict[str, Box]:
    order = sorted(middles, key=lambda name: middles[name])
    spread = _spread([middles[name] for name in order], height + SPACING)
    return {
        name: Box(column[0], y, column[1], height) for name, y in zip(order, spread, strict=True)
    }


def _spread(wanted: Sequence[float], distance: float) -> list[float]:
    """Return the nearest positions (least squares) in the same order, at least so far apart."""
    from scipy.optimize import (  # type: ignore[import-untyped, unused-ignore]
        isotonic_regression,
    )

    steps = distance * np.arange(len(wanted))
    spread: list[float] = (isotonic_regression(wanted - steps).x + steps).tolist()
    return spread
