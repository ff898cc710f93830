"""The distillation paths of a graph as one picture: who sees what, who teaches whom, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mstgraph.support.errors import UserError, nearest
from mstgraph.viz.canvas import (
    INK,
    MUTED,
    PAPER,
    STRIPE,
    Box,
    Canvas,
    Figure,
    Type,
    blend,
    mix,
    pill_width,
    sideways,
    straight,
)
from mstgraph.viz.colours import colours
from mstgraph.viz.paths.captions import Heading, Legend
from mstgraph.viz.paths.labels import Document, modality_lines, stage_word, used_modalities
from mstgraph.viz.paths.layout import HEADER, HEADING, LABEL, MARGIN, NAME, SUB, Layout, lay_out
from mstgraph.viz.paths.mutual import draw_mutual_edges
from mstgraph.viz.paths.panel import PanelPicture


def draw_paths(
    document: Document, routing: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> Figure:
    """Draw modalities → members → specialised teachers → gate → student.

    Args:
        document: see `mstgraph.derive.document.plan_document`.
        routing: student → for each teacher its ``name`` and ``share``, in 0…1, of the samples
            that the gate routes to it, as in a run's ``summary.json``; gives the edges to the
            gate their widths.

    Raises:
        UserError: the routing is of other students or teachers than the document.
    """
    shares = {name: _shares(document, name, rows) for name, rows in (routing or {}).items()}
    heading = Heading(document)
    layout = lay_out(document, shares, heading.width + 2 * MARGIN)
    legend = Legend(document, bool(shares), layout.columns.page - 2 * MARGIN)
    below = layout.bottom + 0.3
    canvas = Canvas(layout.columns.page, below + legend.height + MARGIN)
    heading.draw(canvas)
    _Graph(document, layout, canvas).draw()
    legend.draw(canvas, below)
    return canvas.figure


def _shares(
    document: Document, student: str, rows: Sequence[Mapping[str, Any]]
) -> tuple[float, ...]:
    if student not in document["gates"]:
        raise UserError(
            f"the routing is of the student '{student}', who has no gate in the plan"
            f"{nearest(student, document['gates'])}"
        )
    shares = {row["name"]: float(row["share"]) for row in rows}
    names = [teacher["name"] for teacher in document["teachers"][student]]
    for name in sorted(shares.keys() ^ set(names)):
        raise UserError(
            f"the routing and the plan of the student '{student}' do not agree on the teacher "
            f"'{name}'; expected one share for each teacher of the plan{nearest(name, names)}"
        )
    return tuple(shares[name] for name in names)


class _Graph:
    """Everything between heading and legend, on a canvas."""

    def __init__(self, document: Document, layout: Layout, canvas: Canvas):
        self.document, self.layout, self.canvas = document, layout, canvas
        used = [modality["name"] for modality in used_modalities(document)]
        self.colours = dict(zip(used, colours(len(used)), strict=True))
        self.stripes = {
            member["name"]: [self.colours[name] for name in self._from_top(member["inputs"])]
            for member in document["members"]
        }

    def _from_top(self, modalities: Sequence[str]) -> list[str]:
        return sorted(modalities, key=lambda name: self.layout.modalities[name].y)

    def draw(self) -> None:
        self._column_names()
        self._modalities()
        self._members()
        draw_mutual_edges(self.canvas, self.document, self.layout.members)
        self._edges_to_teachers()
        for panel in self.layout.panels:
            member = self.layout.members[panel.student]
            picture = PanelPicture(self.canvas, self.document, panel, self.stripes)
            picture.draw((member.right, member.y), self.layout.columns.junction)

    def _column_names(self) -> None:
        columns = self.layout.columns
        masked = any(t["point"] for group in self.document["teachers"].values() for t in group)
        names = {
            "modalities": columns.modality,
            "members": columns.member,
            "specialised teachers" if masked else "teachers": columns.teacher,
            "gate": columns.gate,
            "students" if len(self.layout.panels) > 1 else "student": columns.student,
        }
        for name, (x, width) in names.items():
            if width:
                self.canvas.text((x, HEADER - 0.24), name, HEADING, MUTED, "center")

    def _card(self, box: Box, lines: Sequence[tuple[str, Type]], stripe: Sequence[str]) -> None:
        """A box with centred lines of text: the first one strong, the others muted."""
        fill, edge = mix(blend(stripe), PAPER, 0.10), mix(blend(stripe), PAPER, 0.75)
        self.canvas.box(box, fill=fill, edge=edge, stripe=stripe)
        step = (box.height - 0.08) / (len(lines) + 1) + 0.02
        for i, (text, kind) in enumerate(lines):
            y = box.y + (i - (len(lines) - 1) / 2) * step
            self.canvas.text((box.x + STRIPE / 2, y), text, kind, MUTED if i else INK, "center")

    def _modalities(self) -> None:
        for modality in used_modalities(self.document):
            name, detail = modality_lines(modality)
            lines = [(name, NAME), (detail, SUB)]
            self._card(self.layout.modalities[name], lines, [self.colours[name]])

    def _members(self) -> None:
        stages = self.document["stages"]
        pretrained = {name for s in stages if s["kind"] == "pretrain" for name in s["trains"]}
        for member in self.document["members"]:
            name, box = member["name"], self.layout.members[member["name"]]
            lines = [(name, NAME), (member["role"], SUB), (member["network"], SUB)]
            self._card(box, lines, self.stripes[name])
            self._inputs(member["inputs"], box)
            if name in pretrained:
                x = box.left - 0.18 - pill_width("pretrain", LABEL) / 2
                self.canvas.pill((x, box.y), "pretrain", LABEL, blend(self.stripes[name]))

    def _inputs(self, modalities: Sequence[str], box: Box) -> None:
        """Edges from modalities, each to its part of the stripe."""
        part = box.height / len(modalities)
        for i, name in enumerate(self._from_top(modalities)):
            start = self.layout.modalities[name]
            end = (box.left, box.top + (i + 0.5) * part)
            points = sideways((start.right, start.y), end)
            self.canvas.line(points, colour=self.colours[name])

    def _edges_to_teachers(self) -> None:
        """One line from each member to the junction, where it parts; labelled with the stage."""
        junction = self.layout.columns.junction
        for panel in self.layout.panels:
            for teacher, row in zip(panel.teachers, panel.rows, strict=True):
                box = self.layout.members[teacher["member"]]
                split = (junction, box.y)
                parts = sideways(split, (row.left, row.y))[1:]
                colour = blend(self.stripes[teacher["member"]])
                self.canvas.line([*straight((box.right, box.y), split), *parts], colour=colour)
        for name, stage in self._adaptations().items():
            at = (junction - pill_width(stage, LABEL) / 2, self.layout.members[name].y)
            self.canvas.pill(at, stage, LABEL, blend(self.stripes[name]))

    def _adaptations(self) -> dict[str, str]:
        """Member → the stage that makes its specialised teachers."""
        return {
            teacher["member"]: stage_word(self.document, teacher["stage"])
            for group in self.document["teachers"].values()
            for teacher in group
            if teacher["point"]
        }
