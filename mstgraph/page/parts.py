"""What a page is made of: sections of charts, tables, galleries and words, as plain values.

The template turns them into HTML, and escapes all text on the way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

NUMBERS = tuple("0123456789.+-−—")  # what they begin with, and what stands where none is known


@dataclass(frozen=True)
class Words:
    """A paragraph.

    Attributes:
        text: what it says.
        strong: whether it is what a reader came for.
    """

    text: str
    strong: bool = False
    kind: str = "words"


@dataclass(frozen=True)
class Rows:
    """A table.

    Attributes:
        heads: of its columns.
        rows: cells as text; the first names the row.
        caption: above it.
        notes: sentences below it.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    notes: Sequence[str] = ()
    kind: str = "rows"

    @property
    def of_words(self) -> list[bool]:
        """Whether each column holds words, which begin at one edge, and not numbers alone."""
        cells = zip(*self.rows, strict=True) if self.rows else ((),) * len(self.heads)
        return [any(cell and not cell.startswith(NUMBERS) for cell in own) for own in cells]


@dataclass(frozen=True)
class Chart:
    """A chart, and the same numbers as a table for those who cannot see or point at it.

    Attributes:
        title: what is shown.
        spec: in Vega-Lite, without data, size and colours.
        data: a mapping for each row.
        words: how to read it.
        columns: names of the data that the table shows, in order; all if none is named.
        wide: whether it takes the whole width of a page.
        numbers: whether the table is of use: points on a plane are not.
    """

    title: str
    spec: Mapping[str, Any]
    data: Sequence[Mapping[str, Any]]
    words: str = ""
    columns: Sequence[str] = ()
    wide: bool = False
    numbers: bool = True
    kind: str = "chart"

    @property
    def table(self) -> Rows:
        """The numbers."""
        names = list(self.columns or (self.data[0] if self.data else ()))
        return Rows(names, [[_cell(row.get(name)) for name in names] for row in self.data])


@dataclass(frozen=True)
class Picture:
    """A small picture with a name below it.

    Attributes:
        name: below it.
        described: for those who do not see it.
        source: a data URI; or "" for one that is an SVG or a text.
        svg: the SVG, made here.
        text: what a person reads.
    """

    name: str
    described: str
    source: str = ""
    svg: str = ""
    text: str = ""


@dataclass(frozen=True)
class Card:
    """A sample: pictures, and what was said of it.

    Attributes:
        title: what it is.
        pictures: of what networks see.
        facts: (name, what is said, whether it is right or None).
        mark: "mended" or "spoilt", or "".
    """

    title: str
    pictures: Sequence[Picture]
    facts: Sequence[tuple[str, str, bool | None]] = ()
    mark: str = ""


@dataclass(frozen=True)
class Gallery:
    """Cards beside each other.

    Attributes:
        title: what they are.
        cards: the cards.
        key: what colours in their pictures stand for: name → colour.
    """

    title: str
    cards: Sequence[Card]
    key: Mapping[str, str] = field(default_factory=dict)
    kind: str = "gallery"


@dataclass(frozen=True)
class Grid:
    """Pictures in rows and columns that each have a name.

    Attributes:
        columns: their names.
        rows: name → a picture for each column, and whether the network is right, or None.
        words: how to read it.
    """

    columns: Sequence[str]
    rows: Mapping[str, Sequence[tuple[Picture, bool | None]]]
    words: str = ""
    kind: str = "grid"


@dataclass(frozen=True)
class Drawing:
    """An SVG whose groups say something when they are pointed at or focused.

    Attributes:
        svg: the SVG, made here.
        described: the whole of it in words.
        marks: beginning of a group's id → what it says.
    """

    svg: str
    described: str
    marks: Mapping[str, str] = field(default_factory=dict)
    kind: str = "drawing"


@dataclass(frozen=True)
class Source:
    """Text that is shown as it is, folded.

    Attributes:
        title: what it is.
        text: the text.
    """

    title: str
    text: str
    kind: str = "source"


Block = Words | Rows | Chart | Gallery | Grid | Drawing | Source


@dataclass(frozen=True)
class Section:
    """A part of a page with a heading.

    Attributes:
        title: the heading.
        blocks: what stands below it.
    """

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Article:
    """All about one run, one benchmark, or several runs side by side.

    Attributes:
        title: the heading.
        under: a line below it.
        synthetic: what must be said of the data; empty for real data.
        sections: in order.
        unfinished: what is said of a run that is at work; empty of a finished one.
    """

    title: str
    under: str
    synthetic: str
    sections: Sequence[Section]
    unfinished: str = ""


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "—" if value != value else f"{value:.4g}"
    return "—" if value is None else str(value)
