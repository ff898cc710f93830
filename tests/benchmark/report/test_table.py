"""Tables of a bench as text, Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bench_samples import bench, drawn, lower_is_better
from markdown_it import MarkdownIt
from rich.cells import cell_len
from rich.console import Console

from mstgraph.benchmark.report.table import Table, latex, long_csv, markdown, print_table
from mstgraph.benchmark.report.table_contents import (
    cost_table,
    differences_table,
    metrics_table,
    sharing_line,
)
from mstgraph.benchmark.results.results import Results, Row, StudentMetrics
from mstgraph.support.errors import UserError
from mstgraph.tasks.confusion import KAPPA, OA

TABLES: tuple[Callable[[Results], Table], ...] = (metrics_table, cost_table, differences_table)
AWKWARD = r"C²KD_1 & 50% #1 $x$ {a} ~^\ <b> | *y* [z]"


def text(table: Table, width: int = 200, styles: bool = False) -> str:
    """The table as text."""
    system: Any = "256" if styles else None
    console = Console(file=io.StringIO(), width=width, color_system=system, force_terminal=styles)
    print_table(table, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def line(table: Table, start: str) -> str:
    """The line of the text that names a row."""
    return next(one for one in text(table).splitlines() if start in one.split("┃")[0])


def html_rows(table: Table) -> list[list[str]]:
    """Cells of the Markdown's table, as a parser of Markdown reads them, as HTML."""
    html = MarkdownIt("commonmark").enable("table").render(markdown(table))
    assert html.count("<table>") == 1
    rows = re.findall(r"<tr>(.*?)</tr>", html, flags=re.DOTALL)
    return [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows]


def test_a_cell_is_mean_and_deviation_over_seeds() -> None:
    """Four decimals of what numpy computes; the order of rows and students is kept."""
    results = drawn()
    table = metrics_table(results)
    for row in range(4):
        for i, student in enumerate(results.students):
            values = [c.metrics["OA"] for c in results.cells_of(row, student.name).values()]
            expected = f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"
            assert table.rows[row][3 + i].text == expected
    assert [head.over for head in table.heads if head.over] == ["student 0", "student 1"]
    assert [row[1].text for row in table.rows] == ["w/o KD", "KD", "KD", "MST-Distill"]


def test_gains_ranks_and_marks() -> None:
    """What differs from the student alone says by how much; what is significant is marked."""
    table = metrics_table(drawn())
    best = table.rows[3][3]
    assert (best.emphasis, best.marks) == ("best", "*")
    assert re.fullmatch(r"\+0\.02\d\d", best.gain)
    assert best.better
    worse = table.rows[2][3]
    assert (worse.emphasis, worse.better) == ("", False)
    assert re.fullmatch(r"-0\.00\d\d", worse.gain)
    assert "†" in worse.marks
    assert [entry.text for entry in table.rows[3][-2:]] == ["1.00", "60"]
    shown = text(table)
    assert "◆ best, ◇ second best, by means that are not rounded." in shown
    assert (
        "* differs from the student alone, trained as long: paired t-test over seeds whose splits "
        "share samples (Nadeau and Bengio), p < 0.05 after Holm's correction for 6 comparisons."
    ) in " ".join(shown.split())
    assert "Ranks: averaged over 10 columns and seeds; Friedman's p <0.0001; two differ" in shown
    epochs = "Epochs: what a row's student had in all its stages; the student alone that it is "
    assert f"{epochs}compared with has as many." in shown


def test_marks_are_by_values_that_are_not_rounded() -> None:
    """Two cells that print alike are still best and second best, and a gain is still one."""
    table = metrics_table(bench({"zer": [[0.8], [0.8 + 1e-9], [0.7]]}))
    alone, best = table.rows[0][3], table.rows[1][3]
    assert alone.text == best.text == "0.8000"
    assert (alone.emphasis, best.emphasis) == ("second", "best")
    assert best.gain == "+0.0000"


def test_the_same_values_are_best_together_and_no_gain() -> None:
    """Ties: both are best, nobody is second, and the rank is shared."""
    table = metrics_table(bench({"zer": [[0.8], [0.8], [0.7]]}))
    assert [row[3].emphasis for row in table.rows] == ["best", "best", ""]
    assert [row[4].text for row in table.rows] == ["1.50", "1.50", "3.00"]
    assert table.rows[1][3].gain == ""


def test_one_seed_has_neither_deviation_nor_test() -> None:
    """They are absent, not nan, and a note says so."""
    results = bench({"zer": [[0.8], [0.9]]})
    shown = text(metrics_table(results))
    assert "One seed (0): no spread and no test." in shown
    for word in ("±", "nan", "†", "Holm"):
        assert word not in shown
    assert "—" in text(differences_table(results))


def test_too_few_seeds_for_a_test_are_said() -> None:
    """Two seeds were asked for, but no row finished both."""
    results = bench({"zer": [[0.8, 0.7], [0.9, "out of memory"]]})
    note = (
        "Nothing could be tested against the student alone, trained as long: the paired t-test "
        "needs 2 seeds that both rows finished and differences that vary."
    )
    assert note in text(metrics_table(results))


def test_a_test_that_finds_nothing_says_so() -> None:
    """Differences of either sign."""
    table = metrics_table(bench({"zer": [[0.8, 0.7, 0.6], [0.81, 0.69, 0.6]]}))
    note = "p < 0.05 after Holm's correction for 1 comparison; none does."
    assert note in text(table)
    assert table.rows[1][3].marks == ""


def test_failures_are_footnotes() -> None:
    """A cell without a value is a dash; each sentence has one number, however often it occurs."""
    results = bench(
        {
            "zer": [[0.8, 0.7, 0.6], [0.9, "out of\n memory", 0.7], ["no loss"] * 3],
            "kar": [[0.8, 0.7, 0.6], ["no loss"] * 3, [0.7, None, 0.9]],
        }
    )
    table = metrics_table(results)
    assert table.rows[1][3].text == f"0.8000 ± {np.std([0.9, 0.7], ddof=1):.4f} (n=2)"
    assert [row[4].text == "—" for row in table.rows] == [False, True, False]
    assert table.footnotes == ("seed 1: out of memory", "no loss", "seed 1: not run")
    assert table.rows[1][4].footnotes == table.rows[2][3].footnotes == (2,)
    shown = text(table)
    assert "— [2]" in shown
    assert "[2] no loss" in shown
    assert [row[5].text for row in table.rows] == ["1.00", "—", "—"]


def test_a_row_with_fewer_seeds_has_no_mark_and_no_rank() -> None:
    """It finished the easiest split alone; it is shown, and a note says that it is not compared."""
    values = [[0.80, 0.40, 0.42], [0.90, 0.50, 0.53], [0.95, "x", "x"]]
    table = metrics_table(bench({"zer": values, "kar": [*values[:2], [0.1, 0.1, 0.1]]}))
    assert [row[3].emphasis for row in table.rows] == ["second", "best", ""]
    assert table.rows[2][3].text == "0.9500 (n=1)"
    assert [row[5].text for row in table.rows] == ["2.00", "1.00", "—"]
    note = (
        "Best, second best, rank and † are among rows that finished the same seeds, those of the "
        "most complete row; left out: KD CM (zer)."
    )
    assert table.notes[-1] == note
    complete = metrics_table(bench({"zer": values[:2]}))
    assert not any("left out" in note for note in complete.notes)


def test_a_gain_is_over_the_seeds_that_both_finished() -> None:
    """The row failed on the easiest split: a lower mean, and a gain on every other one."""
    table = metrics_table(bench({"zer": [[0.9, 0.5, 0.6], ["x", 0.51, 0.63]]}))
    assert table.rows[1][3].text.startswith("0.5700")
    assert table.rows[1][3].gain == "+0.0200"


def test_an_undefined_metric_is_a_footnote() -> None:
    """The cell finished, the metric has no value."""
    table = metrics_table(bench({"zer": [[0.5, float("nan")], [0.6, 0.7]]}))
    assert table.rows[0][3].text == "0.5000 (n=1)"
    assert table.footnotes == ("seed 1: OA is undefined",)


@pytest.mark.parametrize("make", TABLES)
def test_all_cells_failed(make: Callable[[Results], Table]) -> None:
    """Every format writes a table of dashes."""
    table = make(bench({"zer": [["x"] * 3] * 3, "kar": [["x"] * 3] * 3}))
    for written in (text(table), markdown(table), latex(table)):
        assert "nan" not in written
        assert "best" not in written
    if table.rows:
        assert {entry.text for row in table.rows for entry in row[3:]} == {"—"}
        assert table.footnotes == ("x",)


@pytest.mark.parametrize("make", TABLES)
@pytest.mark.parametrize("write", [text, markdown, latex])
def test_synthetic_data_is_named(
    make: Callable[[Results], Table], write: Callable[[Table], str]
) -> None:
    """Wherever numbers appear; and nothing is said of real data."""
    assert "synthetic rooms" in write(make(drawn(synthetic="synthetic rooms")))
    assert "synthetic" not in write(make(drawn()))


def test_several_metrics_and_their_signs() -> None:
    """Columns are students × metrics, κ under its sign; one unknown is named."""
    results = drawn(students=1)
    both = {"OA": 0.6, "kappa": 0.5}
    cells = tuple(replace(c, metrics=both, control=both) for c in results.cells)
    student = StudentMetrics("student 0", "OA", ("OA", "kappa"))
    results = replace(results, metrics=(OA, KAPPA), students=(student,), cells=cells)
    table = metrics_table(results, ["kappa", "OA"])
    assert [head.name for head in table.heads[3:]] == ["κ", "OA", "rank", "epochs"]
    assert r"\multicolumn{2}{c}{student 0}" in latex(table)
    assert r"\cmidrule(lr){4-5}" in latex(table)
    assert r"$\kappa$ & OA" in latex(table)
    with pytest.raises(UserError, match="no metric 'AO'; did you mean 'OA'"):
        metrics_table(results, ["AO"])


def test_a_gain_in_an_error_lowers_it() -> None:
    """An arrow in the head, the lowest marked, and only what is lower than alone is better."""
    results = lower_is_better(bench({"zer": [[0.3], [0.1], [0.5]]}))
    table = metrics_table(results)
    heads = ["Group", "Method", "T-Config", "error ↓", "rank", "epochs"]
    assert [head.name for head in table.heads] == heads
    assert [row[3].gain for row in table.rows] == ["", "-0.2000", "+0.2000"]
    assert [row[3].better for row in table.rows] == [False, True, False]
    assert [row[3].emphasis for row in table.rows] == ["second", "best", ""]
    assert "±x: gain over the student alone, trained as long" in text(table)
    assert r"error $\downarrow$" in latex(table)
    assert "±" not in text(metrics_table(bench({"zer": [[0.3], [0.4]]})))


def test_emphasis_survives_a_pipe() -> None:
    """Signs in plain text; styles besides on a terminal."""
    table = metrics_table(drawn())
    plain = text(table)
    assert "\x1b" not in plain
    assert f"◆ {table.rows[3][3].text} {table.rows[3][3].gain}*" in plain
    styled = text(table, styles=True)
    assert f"\x1b[1m{table.rows[3][3].text}\x1b[0m" in styled
    second = next(row[3].text for row in table.rows if row[3].emphasis == "second")
    assert f"\x1b[4m{second}\x1b[0m" in styled
    assert f"\x1b[94m {table.rows[3][3].gain}\x1b[0m" in styled


@pytest.mark.parametrize("width", [70, 80, 120])
def test_a_wide_table_is_printed_in_pieces(width: int) -> None:
    """No line of the table is wider than the console and no number is folded."""
    table = metrics_table(drawn(students=8))
    shown = text(table, width)
    assert max(map(cell_len, shown.splitlines())) <= width
    for row in table.rows:
        for entry in row[3:-2]:
            assert entry.text in shown
    assert "(continued)" in shown
    assert "(continued)" not in text(table, 400)


def test_text_is_not_read_as_markup() -> None:
    """Brackets in names and errors stay."""
    results = replace(bench({"[red]zer": [["[bold]x"], [0.5]]}), title="[i]bench")
    shown = text(metrics_table(results))
    for words in ("[i]bench", "[red]zer", "[bold]x"):
        assert words in shown


def test_groups_are_named_once_and_divided() -> None:
    """A line stands where a group begins; without groups there is no such column."""
    table = metrics_table(drawn())
    assert [row[0].text for row in table.rows] == ["", "Response-Based", "", "Cross-Modal"]
    assert table.rules == {1, 3}
    assert latex(table).count(r"\midrule") == 3
    plain = metrics_table(bench({"zer": [[0.5], [0.6]]}, rows=[Row("a", ""), Row("b", "MM")]))
    assert [head.name for head in plain.heads] == ["Method", "T-Config", "OA", "rank", "epochs"]


def test_markdown_is_read_as_it_is_meant() -> None:
    """A parser finds every cell, the best bold and the second best underlined."""
    table = metrics_table(drawn())
    rows = html_rows(table)
    assert [len(row) for row in rows] == [7] * 5
    assert rows[0][3] == "student 0 OA"
    assert rows[4][3] == f"<strong>{table.rows[3][3].text}</strong> {table.rows[3][3].gain}*"
    second = next(i for i, row in enumerate(table.rows) if row[3].emphasis == "second")
    assert rows[second + 1][3].startswith(f"<ins>{table.rows[second][3].text}</ins>")


def test_markdown_escapes_names() -> None:
    """Pipes, stars and brackets in names do not become marks."""
    results = bench({AWKWARD: [["a | b"], [0.5]]}, rows=[Row(AWKWARD, "M|M"), Row("b", "")])
    rows = html_rows(metrics_table(results))
    assert [len(row) for row in rows] == [5] * 3
    expected = AWKWARD.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert rows[1][0] == expected
    assert rows[0][2] == f"{expected} OA"
    assert rows[1][1] == "M|M"


def test_latex_has_the_paper_s_marks() -> None:
    """Rules of booktabs; best bold, second best underlined, gains blue; all braces are closed."""
    table = metrics_table(drawn())
    written = latex(table)
    number = table.rows[3][3].text.replace("±", r"$\pm$")
    assert rf"\textbf{{\textcolor{{blue}}{{{number}}}}}$^{{*}}$" in written
    assert r"\underline{" in written
    for command in ("toprule", "midrule", "bottomrule", "caption", "end{table}"):
        assert f"\\{command}" in written
    body = [one for one in written.splitlines() if one.endswith(r"\\")]
    assert {one.count("&") for one in body} == {6}
    assert len(body) == 2 + 4


def test_latex_escapes_names() -> None:
    """Nothing of a name is read as a command; what is left is ASCII."""
    results = bench({"zer": [[AWKWARD], [0.5]]}, rows=[Row(AWKWARD, "λ, δ"), Row("b", "")])
    written = latex(metrics_table(results))
    escaped = (
        r"C$^2$KD\_1 \& 50\% \#1 \$x\$ \{a\} \textasciitilde{}\textasciicircum{}\textbackslash{} "
        r"\textless{}b\textgreater{} \textbar{} $^{*}$y$^{*}$ {[}z{]}"
    )
    assert written.count(escaped) == 2
    assert r"$\lambda$, $\delta$" in written
    assert written.isascii()
    bare = re.sub(r"\\[\\&%$#_{}]", "", written)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0


def test_csv_has_every_value_in_full() -> None:
    """One line for each cell and metric; failures have an error and no value."""
    results = bench({"zer": [[0.1 + 0.2, 'a, "b"\nc'], [None, 1 / 3]]}, synthetic="drawn")
    lines = [*csv.DictReader(io.StringIO(long_csv(results)))]
    assert [(one["method"], one["seed"]) for one in lines] == [
        ("w/o KD", "0"),
        ("w/o KD", "1"),
        ("KD", "1"),
    ]
    assert float(lines[0]["value"]) == 0.1 + 0.2
    assert float(lines[2]["value"]) == 1 / 3
    assert lines[1]["value"] == ""
    assert lines[1]["error"] == 'a, "b"\nc'
    assert {one["synthetic"] for one in lines} == {"drawn"}
    assert lines[2]["seconds"] == "21.0"
    assert lines[2]["peak_memory"] == "2000000001"


def test_costs_are_seconds_per_student_and_the_highest_memory() -> None:
    """By hand; a failed cell costs nothing that a reader could compare."""
    results = bench({"a": [[0.5, 0.6], [0.5, "x"]], "b": [[0.5, 0.6], [0.5, 0.6]]})
    table = cost_table(results)
    assert [entry.text for entry in table.rows[0][3:]] == ["10.5 ± 0.7", "10.5 ± 0.7", "1.0 GB"]
    assert [entry.text for entry in table.rows[1][3:]] == ["20.0 (n=1)", "20.5 ± 0.7", "2.0 GB"]
    assert table.footnotes == ("seed 1: x",)
    assert sharing_line(results) in text(table)


def test_what_sharing_saved() -> None:
    """Separate ÷ shared; nothing is said where nothing was measured, or nothing shared."""
    results = drawn()
    line = "Artefacts shared between cells: 100.0 s instead of 250.0 s, 2.50× less."
    assert sharing_line(results) == line
    assert sharing_line(replace(results, shared_seconds=0.0)) == ""
    assert sharing_line(replace(results, shared_seconds=0.02, separate_seconds=0.04)) == ""
    assert sharing_line(replace(results, shared_seconds=250.0)) == ""


def test_differences_have_their_numbers() -> None:
    """Every comparison behind a mark: n, p, and p corrected."""
    table = differences_table(drawn())
    assert len(table.rows) == 6 + 6
    assert table.rules == {6}
    marked = {(r[0].text, r[1].text, r[2].text) for r in table.rows if r[4].marks}
    assert ("MST-Distill MM+CM", "alone", "student 0") in marked
    for row in table.rows:
        assert row[5].text == "5"
        p, corrected = (0.0 if e.text == "<0.0001" else float(e.text) for e in row[6:8])
        assert p <= corrected
        assert bool(row[4].marks) == (corrected < 0.05)


def test_the_order_of_cells_does_not_matter() -> None:
    """Jobs finish in any order and the table is the same."""
    results = drawn()
    shuffled = replace(results, cells=tuple(reversed(results.cells)))
    for make in TABLES:
        for write in (text, markdown, latex):
            assert write(make(shuffled)) == write(make(results))
    assert long_csv(shuffled) == long_csv(results)
