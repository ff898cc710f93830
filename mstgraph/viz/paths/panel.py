"""One student's panel: its specialised teachers, the gate, and what reaches the student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mstgraph.viz.canvas import (
    DISC,
    INK,
    MUTED,
    NEUTRAL,
    PAPER,
    STRIPE,
    Box,
    Canvas,
    Point,
    Type,
    blend,
    mix,
    pill_width,
    sideways,
    straight,
)
from mstgraph.viz.paths.labels import Document, edge_label, end_label, start_label, teacher_lines
from mstgraph.viz.paths.layout import (
    FRAME_HEAD,
    LABEL,
    NAME,
    PLATE_GAP,
    POINT,
    PORT_GAP,
    SUB,
    Panel,
)

INDEX = Type(9.5, "bold")
CORNER = 0.25  # radius of the bend below the student


class PanelPicture:
    """Draws one panel.

    Args:
        canvas: where to.
        document: see `mstgraph.derive.document.plan_document`.
        panel: the panel.
        stripes: member → colours of its modalities.
    """

    def __init__(
        self,
        canvas: Canvas,
        document: Document,
        panel: Panel,
        stripes: Mapping[str, Sequence[str]],
    ):
        self.canvas, self.document, self.panel, self.stripes = canvas, document, panel, stripes
        self.colour = blend(stripes[panel.student])

    def draw(self, member: Point, junction: float) -> None:
        """Draw it.

        Args:
            member: where the student's own line leaves its member.
            junction: x where it turns towards the panel.
        """
        self._frame()
        for teacher, row in zip(self.panel.teachers, self.panel.rows, strict=True):
            with self.canvas.marked(self._mark(teacher)):
                self._teacher(teacher, row)
        self._own_line(member, junction)
        self._edges()
        if self.panel.gate is not None:
            self._gate(self.panel.gate)
        self._student(self.panel.end)

    def _frame(self) -> None:
        frame = self.panel.frame
        if frame is not None:
            self.canvas.box(frame, fill="#f6f8fa", edge="#dde3ea", line=1.0, zorder=0)
            text = f"for {self.panel.student}: N = {len(self.panel.teachers)}"
            at = (frame.x, frame.top + FRAME_HEAD / 2 + 0.02)
            self.canvas.text(at, text, LABEL, MUTED, "center")

    def _teacher(self, teacher: Mapping[str, Any], row: Box) -> None:
        stripe = self.stripes[teacher["member"]]
        colour = blend(stripe)
        self.canvas.box(row, fill=PAPER, edge=mix(colour, PAPER, 0.75), stripe=stripe)
        middle = row.left + STRIPE + 0.1 + DISC / 2
        self.canvas.disc((middle, row.y), str(teacher["j"]), INDEX, colour)
        point, detail = teacher_lines(teacher)
        left = middle + DISC / 2 + 0.1
        kind = POINT if teacher["point"] else NAME
        self.canvas.text((left, row.y - 0.085), point, kind, INK)
        self.canvas.text((left, row.y + 0.105), detail, SUB, MUTED)

    def _own_line(self, member: Point, junction: float) -> None:
        """The student's own network, from its member below all teachers to its end."""
        panel, end = self.panel, self.panel.end
        label = start_label(self.document, panel.student)
        if panel.frame is None:
            self.canvas.line(sideways(member, (end.left, end.y)), colour=self.colour)
            x = end.left - 0.3 - pill_width(label, LABEL) / 2
            self.canvas.pill((x, end.y), label, LABEL, self.colour)
            return
        split, start = (junction, member[1]), (panel.frame.left, panel.lane)
        bend, turn = (end.x - CORNER, panel.lane), (end.x, panel.lane)
        rise = (end.x, panel.lane - CORNER)
        points = [
            *straight(member, split),
            *sideways(split, start)[1:],
            *straight(start, bend)[1:],
            *(turn, turn, rise),
            *straight(rise, (end.x, end.bottom))[1:],
        ]
        self.canvas.line(points, colour=self.colour)
        self.canvas.pill((panel.frame.x, panel.lane), label, LABEL, self.colour)

    def _edges(self) -> None:
        """From the teachers to the gate, or to the student; as wide as they are routed."""
        widths, end = self.panel.widths, self.panel.gate or self.panel.end
        y = end.y - (sum(widths) + PORT_GAP * (len(widths) - 1)) / 2
        for i, width in enumerate(widths):
            with self.canvas.marked(f"{self._mark(self.panel.teachers[i])}-edge"):
                self._edge(i, (end.left, y + width / 2), width)
            y += width + PORT_GAP

    def _mark(self, teacher: Mapping[str, Any]) -> str:
        return f"path-{self.panel.student}-{teacher['j']}"

    def _edge(self, index: int, port: Point, width: float) -> None:
        panel = self.panel
        teacher, row = panel.teachers[index], panel.rows[index]
        share = panel.shares[index] if panel.shares else None
        label = edge_label(self.document, panel.student, teacher, share)
        colour = blend(self.stripes[teacher["member"]])
        left = row.right + PLATE_GAP
        right = left + pill_width(label, LABEL)
        split = (right + PLATE_GAP, row.y)
        self.canvas.line(
            [*straight((row.right, row.y), split), *sideways(split, port)[1:]],
            colour=mix(colour, PAPER, 1.0 if share is None else 0.6),
            width=72 * width,
            heads="end" if share is None else "",
        )
        self.canvas.pill(((left + right) / 2, row.y), label, LABEL, colour)

    def _gate(self, gate: Box) -> None:
        """A funnel, and the edge from it to the student."""
        half, end = max(0.3, gate.height * 0.3), self.panel.end
        corners = [
            (gate.left, gate.top),
            (gate.right, gate.y - half),
            (gate.right, gate.y + half),
            (gate.left, gate.bottom),
        ]
        self.canvas.polygon(corners, NEUTRAL)
        self.canvas.text((gate.x, gate.y), "gate", NAME, PAPER, "center")
        ends = (gate.right, gate.y), (end.left, end.y)
        self.canvas.line(straight(*ends), colour=self.colour, width=3)
        label = end_label(self.document, self.panel.student)
        middle = (gate.right + end.left) / 2 - 0.05
        self.canvas.pill((middle, end.y), label, LABEL, self.colour)

    def _student(self, end: Box) -> None:
        self.canvas.box(end, fill=self.colour, edge=self.colour)
        target = self.panel.student in self.document["targets"]
        self.canvas.text((end.x, end.y - 0.11), self.panel.student, NAME, PAPER, "center")
        role = "student" if target else "assistant"
        self.canvas.text((end.x, end.y + 0.13), role, SUB, PAPER, "center")
