"""What the tables of a bench say: metrics, costs and differences between rows."""

from __future__ import annotations

from collections.abc import Sequence

from mstgraph.benchmark.report.table import Emphasis, Entry, Head, Table
from mstgraph.benchmark.results.ranking import Ranking, ranking
from mstgraph.benchmark.results.results import CellResult, Column, Results
from mstgraph.benchmark.results.statistics import (
    FEWEST,
    SIGNIFICANT,
    Comparison,
    Comparisons,
    Spread,
    against_alone,
    against_best,
    average_ranks,
    comparable,
    means,
    podium,
    spread,
)
from mstgraph.certainty.verdict import in_brackets
from mstgraph.support.text import size_in_words

ABSENT = "—"
MARKS = "*†"  # differs from the student alone, from the best
CONTROL = "the student alone, trained as long"


class _Footnotes:
    """Sentences, each with one number however often it is needed."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def of(self, sentence: str) -> tuple[int, ...]:
        """Return the sentence's number, nothing for an empty sentence."""
        return (self.numbers.setdefault(sentence, len(self.numbers) + 1),) if sentence else ()


def metrics_table(results: Results, metrics: Sequence[str] = ()) -> Table:
    """Return the main table (paper, Tables 1 and 2): mean ± std over seeds.

    A mean is over the seeds that finished; a gain and a test are over those that both rows
    finished, so a row with failures may gain although its mean is lower. Best, second best, rank
    and the comparison with the best are among rows with the same seeds.

    Args:
        results: of the bench.
        metrics: columns of each student; its primary metric if none is named.

    Raises:
        UserError: a metric is not among those measured.
    """
    columns = results.columns(metrics)
    alone, best = against_alone(results, columns), against_best(results, columns)
    footnotes, average = _Footnotes(), average_ranks(results, columns)
    podiums = {column: podium(results, column) for column in columns}

    def entry(row: int, column: Column) -> Entry:
        found = spread([*results.values(row, column).values()])
        notes = footnotes.of(_problem(results, row, column.student, column.metric))
        if found is None:
            return Entry(ABSENT, footnotes=notes)
        first, second = podiums[column]
        emphasis: Emphasis = "best" if row in first else "second" if row in second else ""
        versus = alone.get((row, column)), best.get((row, column))
        gain = _gain(versus[0])
        better = versus[0] is not None and results.metric(column).merit(versus[0].difference) > 0
        marks = "".join(m for m, c in zip(MARKS, versus, strict=True) if c and c.significant)
        text = _mean(found, len(results.seeds), ".4f")
        return Entry(text, emphasis, gain, better, marks, notes)

    heads, names, rules = _names(results)
    rows = tuple(
        (
            *names[row],
            *(entry(row, column) for column in columns),
            Entry(f"{average[row]:.2f}" if row in average else ABSENT),
            Entry(_epochs(results, row)),
        )
        for row in range(len(results.rows))
    )
    titled = [Head(results.metric(c).heading, c.student) for c in columns]
    return Table(
        title=_title(results),
        heads=(*heads, *titled, Head("rank", right=True), Head("epochs", right=True)),
        lead=len(heads),
        rows=rows,
        rules=rules,
        notes=(
            *_notes(results, alone, best),
            *_rank_note(ranking(results, columns)),
            *_epochs_note(results),
            *_left_out(results, columns),
        ),
        footnotes=tuple(footnotes.numbers),
        alone=CONTROL,
    )


def cost_table(results: Results) -> Table:
    """Return seconds and peak memory of each method (paper, Table 6), and what sharing saved."""
    footnotes = _Footnotes()

    def entry(row: int, student: str) -> Entry:
        cells = _finished(results, row, student)
        found = spread([cell.seconds for cell in cells])
        notes = footnotes.of(_problem(results, row, student))
        text = _mean(found, len(results.seeds), ",.1f") if found else ABSENT
        return Entry(text, footnotes=notes)

    def peak(row: int) -> Entry:
        cells = [c for s in results.students for c in _finished(results, row, s.name)]
        highest = max((cell.peak_memory for cell in cells), default=None)
        return Entry(ABSENT if highest is None else size_in_words(highest))

    heads, names, rules = _names(results)
    return Table(
        title=_title(results, "time and memory"),
        heads=(
            *heads,
            *(Head("seconds", student.name) for student in results.students),
            Head("peak memory", right=True),
        ),
        lead=len(heads),
        rows=tuple(
            (*names[row], *(entry(row, s.name) for s in results.students), peak(row))
            for row in range(len(results.rows))
        ),
        rules=rules,
        notes=(
            "Seconds of all stages that a student needs, as if it was trained alone; peak memory: "
            "the highest over students and seeds.",
            *([saved] if (saved := sharing_line(results)) else []),
        ),
        footnotes=tuple(footnotes.numbers),
    )


def differences_table(results: Results, metrics: Sequence[str] = ()) -> Table:
    """Return every comparison behind the marks of `metrics_table`, with n, p and interval; long.

    Arguments and errors are those of `metrics_table`.
    """
    columns = results.columns(metrics)
    families = against_alone(results, columns), against_best(results, columns)
    others = ("alone", "the best")
    numbers = ("difference", "n", "p", "p (Holm)", "95 % interval", "epochs")
    names = ("row", "against", "student", "metric", *numbers)
    shown = [
        [
            (
                Entry(results.rows[row].name),
                Entry(other),
                Entry(column.student),
                Entry(results.metric(column).heading),
                *_difference(comparison, mark),
                Entry(_interval(results, row, column) if other == "alone" else ABSENT),
                Entry(_epochs(results, row, column.student)),
            )
            for (row, column), comparison in family.items()
        ]
        for family, other, mark in zip(families, others, MARKS, strict=True)
    ]
    return Table(
        title=_title(results, "differences"),
        heads=tuple(Head(name, right=i >= 4) for i, name in enumerate(names)),
        lead=4,
        rows=tuple(row for rows in shown for row in rows),
        rules=frozenset({len(shown[0])} if all(shown) else ()),
        notes=(
            *_test_notes(*families),
            *_interval_note(results),
            *_epochs_note(results),
            *_left_out(results, columns),
        ),
    )


def _gain(found: Comparison | None) -> str:
    """A difference from the student alone, for better or worse, "" for none."""
    return f"{found.difference:+.4f}" if found is not None and found.difference else ""


def _difference(found: Comparison, mark: str) -> list[Entry]:
    difference = Entry(f"{found.difference:+.4f}", marks=mark if found.significant else "")
    return [difference, Entry(str(found.count)), Entry(_p(found.p)), Entry(_p(found.corrected))]


def sharing_line(results: Results) -> str:
    """Return what sharing artefacts saved in one sentence, "" if it is nothing that shows."""
    shared, separate = results.shared_seconds, results.separate_seconds
    if round(shared, 1) <= 0 or round(separate, 1) <= round(shared, 1):
        return ""
    return (
        f"Artefacts shared between cells: {shared:,.1f} s instead of {separate:,.1f} s, "
        f"{separate / shared:.2f}× less."
    )


def _title(results: Results, of: str = "") -> str:
    parts = (results.title, of, results.synthetic)
    return " · ".join(part for part in parts if part)


def _interval(results: Results, row: int, column: Column) -> str:
    found = results.interval(row, column)
    return ABSENT if found is None else in_brackets(found)


def _epochs(results: Results, row: int, student: str = "") -> str:
    """Epochs behind a row's student, one number or from the fewest to the most."""
    students = [student] if student else [one.name for one in results.students]
    cells = [cell for name in students for cell in _finished(results, row, name)]
    found = sorted({cell.epochs for cell in cells if cell.epochs})
    if not found:
        return ABSENT
    return str(found[0]) if len(found) == 1 else f"{found[0]}–{found[-1]}"


def _mean(found: Spread, asked: int, form: str) -> str:
    std = "" if found.std is None else f" ± {found.std:{form}}"
    fewer = f" (n={found.count})" if found.count < asked else ""
    return f"{found.mean:{form}}{std}{fewer}"


def _names(
    results: Results,
) -> tuple[tuple[Head, ...], list[tuple[Entry, ...]], frozenset[int]]:
    """Heads and entries of the columns that name a row, and where groups begin."""
    groups = [row.group for row in results.rows]
    begin = [i == 0 or group != groups[i - 1] for i, group in enumerate(groups)]
    names: list[tuple[Entry, ...]] = [
        (Entry(row.method), Entry(row.teachers or ABSENT)) for row in results.rows
    ]
    heads: tuple[Head, ...] = (Head("Method"), Head("T-Config"))
    if any(groups):
        heads = (Head("Group"), *heads)
        shown = zip(groups, begin, names, strict=True)
        names = [(Entry(group if first else ""), *name) for group, first, name in shown]
    return heads, names, frozenset(i for i, first in enumerate(begin) if first and i)


def _finished(results: Results, row: int, student: str) -> list[CellResult]:
    return [c for c in results.cells_of(row, student).values() if c.metrics is not None]


def _problem(results: Results, row: int, student: str, metric: str = "") -> str:
    """Why values are missing: "seeds 1, 2: <sentence>; seed 3: <sentence>", "" if none is."""
    cells = results.cells_of(row, student)
    column = Column(student, metric)
    seeds: dict[str, list[int]] = {}
    for seed in results.seeds:
        reason = ""
        if seed not in cells:
            reason = "not run"
        elif (error := cells[seed].error) is not None:
            reason = " ".join(error.split()) or "failed"
        elif metric and seed not in results.values(row, column):
            reason = f"{metric} is undefined"
        if reason:
            seeds.setdefault(reason, []).append(seed)
    if [*seeds.values()] == [[*results.seeds]]:
        return next(iter(seeds))
    return "; ".join(
        f"{'seeds' if len(some) > 1 else 'seed'} {', '.join(map(str, some))}: {reason}"
        for reason, some in seeds.items()
    )


def _p(value: float | None) -> str:
    if value is None:
        return ABSENT
    return f"{value:.4f}" if value >= 5e-5 else "<0.0001"


def _notes(results: Results, alone: Comparisons, best: Comparisons) -> list[str]:
    seeds = ", ".join(map(str, results.seeds))
    if len(results.seeds) == 1:
        return [f"One seed ({seeds}): no spread and no test."]
    return [
        f"Mean ± standard deviation over {len(results.seeds)} seeds ({seeds}); n: how many "
        "finished, where fewer.",
        *_test_notes(alone, best),
    ]


def _left_out(results: Results, columns: Sequence[Column]) -> list[str]:
    """Say which rows have values but over fewer or other seeds than those that are compared."""
    lacking: dict[str, list[str]] = {}
    for column in columns:
        for row in means(results, column).keys() - comparable(results, column).keys():
            name = _column_name(results, column, columns)
            lacking.setdefault(results.rows[row].name, []).append(name)
    if not lacking:
        return []
    # In the order of the table, whatever the order in which jobs ended.
    names = [row.name for row in results.rows if row.name in lacking]
    rows = "; ".join(f"{name} ({', '.join(lacking[name])})" for name in names)
    return [
        "Best, second best, rank and † are among rows that finished the same seeds, those of the "
        f"most complete row; left out: {rows}."
    ]


def _column_name(results: Results, column: Column, columns: Sequence[Column]) -> str:
    """Name of a column; with its metric where its student has several."""
    several = sum(other.student == column.student for other in columns) > 1
    return f"{column.student} {results.metric(column).title}" if several else column.student


def _test_notes(alone: Comparisons, best: Comparisons) -> list[str]:
    return [
        *_test_note(MARKS[0], CONTROL, alone),
        *_test_note(MARKS[1], "the best of the column", best),
    ]


def _test_note(mark: str, other: str, family: Comparisons) -> list[str]:
    """What a mark means, and of how many comparisons; nothing if there is nothing to compare."""
    if not family:
        return []
    tested = [comparison for comparison in family.values() if comparison.p is not None]
    if not tested:
        return [
            f"Nothing could be tested against {other}: the paired t-test needs "
            f"{FEWEST} seeds that both rows finished and differences that vary."
        ]
    count = f"{len(tested)} comparisons" if len(tested) > 1 else "1 comparison"
    none = "" if any(comparison.significant for comparison in tested) else "; none does"
    return [
        f"{mark} differs from {other}: paired t-test over seeds whose splits share samples (Nadeau "
        f"and Bengio), p < {SIGNIFICANT} after Holm's correction for {count}{none}."
    ]


def _rank_note(found: Ranking | None) -> list[str]:
    if found is None:
        return []
    p = _p(found.p) if found.p < 5e-5 else f"= {_p(found.p)}"
    return [
        f"Ranks: averaged over {found.blocks} columns and seeds; Friedman's p {p}; two differ at "
        f"the 5 % level from {found.difference:.2f} on (Nemenyi)."
    ]


def _interval_note(results: Results) -> list[str]:
    if not results.intervals:
        return []
    return [
        "95 % interval: of the mean gain, by a bootstrap of seeds and, within each, of its test "
        "samples, on which a row and its control are measured together; with few seeds it is "
        "rather too narrow."
    ]


def _epochs_note(results: Results) -> list[str]:
    """What the numbers of epochs are, where any cell has some."""
    if not any(cell.epochs for cell in results.cells):
        return []
    alone = any(cell.control for cell in results.cells)
    control = "; the student alone that it is compared with has as many" if alone else ""
    return [f"Epochs: what a row's student had in all its stages{control}."]
