"""A table of a bench, and how it is written: text, Markdown, LaTeX; results as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from mstgraph.benchmark.results.results import Column, Results
from mstgraph.report.show import table as styled_table

Emphasis = Literal["", "best", "second"]


@dataclass(frozen=True)
class Head:
    """The head of a column: what it shows, and under which name it stands with its neighbours."""

    name: str
    over: str = ""
    right: bool = False


@dataclass(frozen=True)
class Entry:
    """What stands in one place.

    Attributes:
        text: the value.
        emphasis: whether it is the best or second best of its column.
        gain: what it gains or loses over the student alone, with its sign, or "".
        better: whether that is for the better.
        marks: "*", "†", what the notes explain.
        footnotes: numbers, from 1.
    """

    text: str
    emphasis: Emphasis = ""
    gain: str = ""
    better: bool = False
    marks: str = ""
    footnotes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table, whatever it is written as.

    Attributes:
        title: above it.
        heads: of its columns.
        lead: how many columns on the left name a row.
        rows: an entry for each head.
        rules: rows that a line stands above, where another group begins.
        notes: sentences below it.
        footnotes: sentences, number 1 first.
        alone: name of the row that gains are over, or "".
    """

    title: str
    heads: tuple[Head, ...]
    lead: int
    rows: tuple[tuple[Entry, ...], ...]
    rules: frozenset[int]
    notes: tuple[str, ...]
    footnotes: tuple[str, ...] = ()
    alone: str = ""

    @property
    def ranked(self) -> bool:
        """Whether an entry is the best of its column."""
        return any(entry.emphasis for row in self.rows for entry in row)

    def legend(self, ranked: str, gain: str) -> list[str]:
        """Return all sentences below the table, given how a format shows ranks and gains."""
        gains = [entry.gain for row in self.rows for entry in row if entry.gain]
        if any(value.startswith("-") for value in gains):
            gain = gain.replace("+", "±")
        return [
            *([f"{ranked}, by means that are not rounded."] if self.ranked else []),
            *([f"{gain} over {self.alone}, on the seeds that both finished."] if gains else []),
            *self.notes,
        ]


_SIGNS = {"best": "◆", "second": "◇", "": " "}
_STYLES = {"best": "bold", "second": "underline", "": ""}
_PADDING = 3  # of a column of text: a blank on both sides and a line


def print_table(table: Table, console: Console) -> None:
    """Print a table as text, in several pieces where it is wider than the console.

    Emphasis is a style and a sign as well, so that it survives a pipe.
    """
    for i, block in enumerate(_blocks(table, console.width)):
        title = table.title if i == 0 else f"{table.title} (continued)"
        _print_block(table, title, block, console)
    ranked = "◆ best, ◇ second best"
    for sentence in [*table.legend(ranked, "+x: gain"), *_numbered(table, "[{}]")]:
        console.print(sentence, style="dim", markup=False, highlight=False)


def _blocks(table: Table, width: int) -> list[range]:
    """Pieces of the columns that name no row, each as wide as fits beside those that do."""
    widths = [_width(table, i) for i in range(len(table.heads))]
    room = width - sum(widths[: table.lead])
    blocks: list[range] = []
    start, used = table.lead, 0
    for i in range(table.lead, len(widths)):
        if used + widths[i] > room and i > start:
            blocks.append(range(start, i))
            start, used = i, 0
        used += widths[i]
    return [*blocks, range(start, len(widths))]


def _width(table: Table, column: int) -> int:
    head = table.heads[column]
    ranked = table.ranked and column >= table.lead
    entries = [_entry_text(row[column], ranked).plain for row in table.rows]
    return max(cell_len(text) for text in (head.over, head.name, *entries)) + _PADDING


def _print_block(table: Table, title: str, block: range, console: Console) -> None:
    shown = [*range(table.lead), *block]
    heads = [table.heads[i] for i in shown]
    result = styled_table(escape(title), [""] * len(heads))
    tall = any(head.over for head in heads)
    for column, head, i in zip(result.columns, heads, shown, strict=True):
        column.header = Text(f"{head.over}\n{head.name}" if tall else head.name)
        column.justify = "right" if head.right else "left"
        column.no_wrap = i >= table.lead
    for i, row in enumerate(table.rows):
        texts = [_entry_text(row[j], table.ranked and j >= table.lead) for j in shown]
        result.add_row(*texts, end_section=i + 1 in table.rules)
    console.print(result)


def _entry_text(entry: Entry, ranked: bool) -> Text:
    text = Text(f"{_SIGNS[entry.emphasis]} " if ranked else "")
    text.append(entry.text, style=_STYLES[entry.emphasis])
    if entry.gain:
        text.append(f" {entry.gain}", style="bright_blue" if entry.better else "dim")
    text.append(entry.marks)
    text.append("".join(f" [{number}]" for number in entry.footnotes), style="dim")
    return text


def _numbered(table: Table, form: str) -> list[str]:
    return [f"{form.format(i)} {sentence}" for i, sentence in enumerate(table.footnotes, 1)]


def markdown(table: Table) -> str:
    """Return a table as GitHub's Markdown: the best bold, the second best underlined."""
    names = [_markdown_text(f"{head.over} {head.name}".strip()) for head in table.heads]
    lines = [
        f"### {_markdown_text(table.title)}",
        "",
        _markdown_row(names),
        _markdown_row(["--:" if head.right else ":--" for head in table.heads]),
        *(_markdown_row([_markdown_entry(entry) for entry in row]) for row in table.rows),
        "",
    ]
    legend = table.legend("Bold: best; underlined: second best", "+x: gain")
    lines += [f"- {_markdown_text(sentence)}" for sentence in legend]
    lines += [
        f"- <sup>{i}</sup> {_markdown_text(note)}" for i, note in enumerate(table.footnotes, 1)
    ]
    return "\n".join(lines) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_entry(entry: Entry) -> str:
    text = _markdown_text(entry.text)
    text = {"best": f"**{text}**", "second": f"<ins>{text}</ins>", "": text}[entry.emphasis]
    gain = f" {entry.gain}" if entry.gain else ""
    numbers = ",".join(map(str, entry.footnotes))
    return f"{text}{gain}{_markdown_text(entry.marks)}{f' <sup>{numbers}</sup>' * bool(numbers)}"


def _markdown_text(text: str) -> str:
    return "".join(f"\\{letter}" if letter in r"\`*_[]<>|#~" else letter for letter in text)


_LATEX = {
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"},
    **{"[": "{[}", "]": "{]}"},  # else an option of the command before it
    **{"±": r"$\pm$", "×": r"$\times$", "·": r"$\cdot$", "−": "$-$", "²": "$^2$", "*": "$^{*}$"},
    **{"↓": r"$\downarrow$", "†": r"$^{\dagger}$"},
    **{"κ": r"$\kappa$", "λ": r"$\lambda$", "δ": r"$\delta$"},
    **{"—": "---", "–": "--", "…": r"\ldots{}", "‘": "`", "’": "'", "“": "``", "”": "''"},
}
_LATEX_TABLE = str.maketrans(_LATEX)


def latex(table: Table) -> str:
    """Return a table for LaTeX with booktabs and xcolor: gains blue, as the paper prints them.

    The best is bold and the second best underlined.
    """
    columns = "".join("r" if head.right else "l" for head in table.heads)
    tall = any(head.over for head in table.heads)
    lines = [
        r"% \usepackage{booktabs,xcolor}",
        r"\begin{table}[t]",
        r"\centering",
        rf"\caption{{{_latex_text(table.title)}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        *(_latex_over(table) if tall else []),
        _latex_row([_latex_text(head.name) for head in table.heads]),
    ]
    for i, row in enumerate(table.rows):
        if i == 0 or i in table.rules:
            lines.append(r"\midrule")
        lines.append(_latex_row([_latex_entry(entry) for entry in row]))
    lines += [r"\bottomrule", r"\end{tabular}"]
    legend = table.legend("Bold: best; underlined: second best", "Blue: gain")
    lines += [rf"\par{{\footnotesize {_latex_text(sentence)}}}" for sentence in legend]
    lines += [
        rf"\par{{\footnotesize \textsuperscript{{{i}}} {_latex_text(note)}}}"
        for i, note in enumerate(table.footnotes, 1)
    ]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _latex_over(table: Table) -> list[str]:
    """The upper line of the head, each name over all its columns, and lines below the names."""
    names, lines, at = [], [], 1
    for over, heads in groupby(table.heads, key=lambda head: head.over):
        count = len(list(heads))
        if over:
            names.append(rf"\multicolumn{{{count}}}{{c}}{{{_latex_text(over)}}}")
            lines.append(rf"\cmidrule(lr){{{at}-{at + count - 1}}}")
        else:
            names += [""] * count
        at += count
    return [_latex_row(names), "".join(lines)]


def _latex_row(cells: Sequence[str]) -> str:
    return rf"{' & '.join(cells)} \\"


def _latex_entry(entry: Entry) -> str:
    text = _latex_text(entry.text)
    if entry.better:
        text = rf"\textcolor{{blue}}{{{text}}}"
    commands = {"best": rf"\textbf{{{text}}}", "second": rf"\underline{{{text}}}", "": text}
    numbers = ",".join(map(str, entry.footnotes))
    note = rf"\textsuperscript{{{numbers}}}" if numbers else ""
    return commands[entry.emphasis] + _latex_text(entry.marks) + note


def _latex_text(text: str) -> str:
    return text.translate(_LATEX_TABLE)


CSV_FIELDS = (
    "group",
    "method",
    "teachers",
    "student",
    "seed",
    "metric",
    "value",
    "seconds",
    "peak_memory",
    "error",
    "synthetic",
)


def long_csv(results: Results) -> str:
    """Return one line for each cell that ran and each metric of its student, in full precision.

    A cell that failed has no values but an error; an undefined value is empty.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_FIELDS)
    for i, row in enumerate(results.rows):
        for student in results.students:
            columns = {name: Column(student.name, name) for name in student.metrics}
            values = {name: results.values(i, column) for name, column in columns.items()}
            for seed, cell in results.cells_of(i, student.name).items():
                for metric in student.metrics:
                    place = (row.group, row.method, row.teachers, student.name, seed, metric)
                    spent = (cell.seconds, cell.peak_memory, cell.error or "", results.synthetic)
                    writer.writerow((*place, values[metric].get(seed, ""), *spent))
    return stream.getvalue()
