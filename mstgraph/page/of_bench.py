"""What a page says of a benchmark: tables, intervals, ranks, box plots and trends."""

from __future__ import annotations

from pathlib import Path

from mstgraph.benchmark.report.table import Entry, Table
from mstgraph.benchmark.report.table_contents import cost_table, differences_table, metrics_table
from mstgraph.benchmark.results.ranking import ranking
from mstgraph.benchmark.results.results import Column, Results, load_results, swept_values
from mstgraph.page import charts
from mstgraph.page.parts import Article, Block, Chart, Rows, Section, Source, Words

RESULTS, CONFIG = "results.json", "bench.gin"
SETTINGS = ("k", "labelled", "samples", "epochs")  # whose values rows may name


def of_bench(folder: Path) -> Article:
    """Return all about a benchmark's results, as far as it came."""
    results = load_results(folder / RESULTS)
    ended = {(cell.row, cell.student, cell.seed) for cell in results.cells}
    wanted = len(results.rows) * len(results.students) * len(results.seeds)
    failed = [cell for cell in results.cells if cell.metrics is None]
    sections = [
        Section("Tables", [_rows(metrics_table(results)), *_differences_of(results)]),
        Section("Gains over the student alone", _gains(results)),
        Section("Ranks", _ranks(results)),
        *_trends(results),
        Section("Time and memory", [_rows(cost_table(results)), *_costs(results)]),
    ]
    if failed:
        rows = [[results.rows[c.row].name, c.student, str(c.seed), c.error or ""] for c in failed]
        sections.append(
            Section("Cells that failed", [Rows(["row", "student", "seed", "why"], rows)])
        )
    config = folder / CONFIG
    if config.is_file():
        text = config.read_text(encoding="utf-8")
        sections.append(Section("Configuration", [Source(CONFIG, text)]))
    left = wanted - len(ended)
    return Article(
        results.title,
        _extent(results),
        results.synthetic,
        sections,
        f"{left} of {wanted} cells are not finished." if left else "",
    )


def _extent(results: Results) -> str:
    found = {"row": results.rows, "student": results.students, "seed": results.seeds}
    return " × ".join(f"{len(own)} {name}{'s' * (len(own) != 1)}" for name, own in found.items())


def _differences_of(results: Results) -> list[Rows]:
    table = differences_table(results)
    return [_rows(table)] if table.rows else []


def _rows(table: Table) -> Rows:
    heads = [f"{head.over} {head.name}".strip() for head in table.heads]
    notes = [*table.notes, *(f"{i}: {note}" for i, note in enumerate(table.footnotes, 1))]
    return Rows(heads, [[_entry(e) for e in row] for row in table.rows], table.title, notes)


def _entry(entry: Entry) -> str:
    best = {"best": " ①", "second": " ②"}.get(entry.emphasis, "")
    notes = "".join(f" [{number}]" for number in entry.footnotes)
    return f"{entry.text}{f' ({entry.gain})' if entry.gain else ''}{entry.marks}{best}{notes}"


def _gains(results: Results) -> list[Block]:
    blocks: list[Block] = []
    for column in results.columns():
        values = _differences(results, column)
        if not values:
            continue
        count = len({row["row"] for row in values})
        title = f"{column.student}: gains in {results.metric(column).title}"
        words = "Each dot is a seed, against the same network trained as long alone."
        spec = charts.boxes("row", "gain", count)
        blocks.append(Chart(title, spec, values, words, ["row", "seed", "gain"], wide=True))
        sure = _intervals(results, column)
        if sure:
            words = "Mean gain with its 95 % interval over seeds and test samples."
            spec = charts.intervals("row", "gain", len(sure))
            blocks.append(Chart(f"{title}, how sure", spec, sure, words, wide=True))
    return blocks or [Words("No cell has a control yet, which gains are counted from.")]


def _differences(results: Results, column: Column) -> list[dict[str, object]]:
    return [
        {"row": row.name, "seed": seed, "gain": gain}
        for index, row in enumerate(results.rows)
        if index != results.baseline
        for seed, gain in results.gains(index, column).items()
    ]


def _intervals(results: Results, column: Column) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for index, row in enumerate(results.rows):
        interval = results.interval(index, column)
        gains = [*results.gains(index, column).values()]
        if interval and gains:
            ends = {"low": interval[0], "high": interval[1]}
            found.append({"row": row.name, "gain": sum(gains) / len(gains), **ends})
    return found


def _ranks(results: Results) -> list[Block]:
    found = ranking(results, results.columns())
    if found is None:
        return [Words("Ranks need three rows and several blocks of the same seeds.")]
    half = found.difference / 2
    order = sorted(found.ranks, key=lambda row: found.ranks[row])
    data = [
        {
            "row": results.rows[row].name,
            "rank": found.ranks[row],
            "low": found.ranks[row] - half,
            "high": found.ranks[row] + half,
        }
        for row in order
    ]
    words = (
        f"Average over {found.blocks} blocks (a column under a seed); Friedman's p = "
        f"{found.p:.3g}. Rows whose bars do not overlap differ by more than Nemenyi's "
        f"critical difference, {found.difference:.2f}."
    )
    spec = charts.intervals("row", "rank", len(data))
    spec["layer"] = spec["layer"][1:]
    spec["layer"][0]["encoding"]["x"]["scale"] = {"zero": False}
    return [Chart("Average ranks, 1 is best", spec, data, words, wide=True)]


def _trends(results: Results) -> list[Section]:
    blocks: list[Block] = []
    for setting in SETTINGS:
        swept = swept_values([row.name for row in results.rows], setting)
        if len(swept) < 2:
            continue
        for column in results.columns():
            data = [
                {"series": f"seed {seed}", setting: position, "value": value}
                for row, position in swept.items()
                for seed, value in results.values(row, column).items()
            ]
            title = f"{column.student}: {results.metric(column).title} against {setting}"
            if data:
                blocks.append(Chart(title, charts.lines(setting, "value"), data))
    return [Section("Trends", blocks)] if blocks else []


def _costs(results: Results) -> list[Block]:
    data = [
        {"row": row.name, "seconds": sum(c.seconds for c in cells) / len(cells)}
        for index, row in enumerate(results.rows)
        if (cells := [c for c in results.cells if c.row == index and c.metrics is not None])
    ]
    spec = charts.bars("row", "seconds", count=len(data), form=".1f")
    return [Chart("Seconds of a cell, mean", spec, data, wide=True)] if data else []
