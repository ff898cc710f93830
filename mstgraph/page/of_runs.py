"""What a page says of several runs side by side: results, and the settings that differ."""

from __future__ import annotations

from collections.abc import Sequence

from mstgraph.look.records import Records
from mstgraph.look.settings import differences
from mstgraph.page import charts
from mstgraph.page.parts import Article, Block, Chart, Rows, Section, Words


def side_by_side(runs: Sequence[Records]) -> Article:
    """Return the article that stands before those of single runs."""
    rows, gains = [], []
    for run in runs:
        if run.summary is None:
            rows.append([run.path.name, "—", "—", "—", "not finished"])
            continue
        primary = run.summary["primary"]
        for target, student in run.summary["students"].items():
            certainty = student.get("certainty", {})
            values = [student.get(how, {}).get(primary) for how in ("alone", "distilled", "gain")]
            cells = ["—" if v is None else f"{v:.4f}" for v in values]
            rows.append([f"{run.path.name} · {target}", *cells, certainty.get("sentence", "")])
            interval = (certainty.get("intervals") or {}).get(primary)
            if interval:
                place = {"run": f"{run.path.name} · {target}", "gain": values[2]}
                gains.append({**place, "low": interval[0], "high": interval[1]})
    names = [run.path.name for run in runs]
    differing = [[name, *values] for name, values in differences(runs).items()]
    chart = charts.intervals("run", "gain", len(gains))
    results: list[Block] = [
        Rows(["run", "alone", "distilled", "gain", "how sure"], rows),
        *([Chart("Gains with 95 % intervals", chart, gains, wide=True)] if gains else []),
    ]
    settings = Rows(["setting", *names], differing) if differing else Words("None differs.")
    synthetic = "; ".join(
        dict.fromkeys(r.plan["data"]["synthetic"] for r in runs if r.plan["data"]["synthetic"])
    )
    sections = [Section("Results", results), Section("Settings that differ", [settings])]
    return Article("Side by side", ", ".join(names), synthetic, sections)
