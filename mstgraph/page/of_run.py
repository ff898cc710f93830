"""What a page says of a run from its folder alone: no store, no code of the run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from mstgraph.look.outcomes import routing_by_class, transfer
from mstgraph.look.records import Records
from mstgraph.page import charts
from mstgraph.page.parts import Block, Chart, Drawing, Rows, Section, Source, Words
from mstgraph.support.text import size_in_words
from mstgraph.viz.canvas import as_svg
from mstgraph.viz.paths.labels import percent
from mstgraph.viz.paths.paths import draw_paths

WITH_CLASSES = ("classification", "segmentation")  # of which a sample or pixel has one


def gain(run: Records) -> Section:
    """What distillation came to, and how surely."""
    if run.summary is None:
        return Section("Gain", [Words("Not known before the run is finished.")])
    blocks: list[Block] = []
    metrics = run.summary["metrics"]
    for target, student in run.summary["students"].items():
        if "certainty" in student:
            blocks.append(Words(f"{target}: {student['certainty']['sentence']}.", strong=True))
        blocks += _gain_chart(target, student, metrics)
    names = [metric["title"] for metric in metrics]
    rows = [[name, *_values(values, metrics)] for name, values in _measured(run.summary)]
    blocks.append(Rows(["on the test split", *names], rows))
    return Section("Gain", blocks)


def _gain_chart(
    target: str, student: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]
) -> list[Block]:
    known = student.get("certainty", {}).get("intervals") or {}
    data = [
        {
            "metric": metric["title"],
            "gain": student["gain"][metric["name"]],
            "low": known[metric["name"]][0],
            "high": known[metric["name"]][1],
        }
        for metric in metrics
        if known.get(metric["name"])
    ]
    words = (
        "Distilled less alone, with 95 % intervals over test samples; a line that crosses 0 is "
        "within noise."
    )
    spec = charts.intervals("metric", "gain", len(data))
    return [Chart(f"Gain of {target}", spec, data, words, wide=True)] if data else []


def _measured(summary: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    found: list[tuple[str, Mapping[str, Any]]] = []
    for target, student in summary["students"].items():
        found += [
            (f"{target} {how}", student[how]) for how in ("alone", "distilled") if how in student
        ]
    for teacher in summary["teachers"]:
        j = f"teacher {teacher['j']}" if "j" in teacher else "teacher"
        found.append((f"{j}: {teacher['name']}", teacher["metrics"]))
    return found


def _values(values: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]) -> list[str]:
    found = [values.get(metric["name"]) for metric in metrics]
    return ["—" if value is None else f"{value:.4f}" for value in found]


def paths(run: Records) -> Section:
    """The picture of the graph, whose teachers say how they teach."""
    summary = run.summary or {}
    routing = run.routing
    svg = as_svg(draw_paths(run.plan, routing))
    accuracy = {
        (row["student"], row["name"]): row["metrics"].get(summary["primary"])
        for row in summary.get("teachers", ())
    }
    marks, rows = {}, []
    for student, teachers in run.plan["teachers"].items():
        shares = {row["name"]: row["share"] for row in routing.get(student, ())}
        for teacher in teachers:
            share, value = shares.get(teacher["name"]), accuracy.get((student, teacher["name"]))
            cells = [
                "—" if share is None else percent(share),
                teacher["loss"],
                "—" if value is None else f"{value:.4f}",
            ]
            rows.append([f"{student} ← {teacher['j']}: {teacher['name']}", *cells])
            marks[f"path-{student}-{teacher['j']}-"] = (
                f"{teacher['name']} teaches {student} · routed {cells[0]} · loss {cells[1]} · "
                f"{summary.get('primary', 'metric')} {cells[2]}"
            )
    described = "Modalities, members, teachers, gate and student from left to right."
    metric = summary.get("primary", "metric")
    table = Rows(["teacher", "routed", "loss", metric], rows)
    return Section("Paths", [Drawing(svg[svg.index("<svg") :], described, marks), table])


def curves(run: Records) -> Section:
    """Every loss term and metric of every stage."""
    blocks: list[Block] = []
    for stage in run.stages:
        history = run.history(stage)
        if not history:
            continue
        losses = _series(history, lambda n: n.endswith("/value") or n == "validation/loss")
        metrics = _series(history, lambda name: name.startswith("validation/metrics/"))
        best = max((row["epoch"] for row in history if row["best"]), default=0)
        count = history[-1]["epoch"]
        epochs = f"{count} {'epoch' if count == 1 else 'epochs'}"
        words = f"{epochs}, {history[-1]['seconds']:.1f} s; best epoch {best}."
        shown = ["series", "epoch", "value"]
        spec = charts.lines("epoch", "value", count=len(history))
        blocks.append(Chart(f"{stage}: losses", spec, losses, words, shown))
        if metrics:
            title = f"{stage}: metrics on validation"
            blocks.append(Chart(title, spec, metrics, "", shown))
    return Section("Learning curves", blocks or [Words("No epoch is finished yet.")])


def _series(history: Sequence[Mapping[str, Any]], wanted: Any) -> list[dict[str, Any]]:
    """Return a row per epoch and name, names without what all have in common."""
    names = [name for name in history[0] if wanted(name)]
    return [
        {"series": _short(name), "epoch": row["epoch"], "value": row[name]}
        for name in names
        for row in history
        if not math.isnan(row.get(name, math.nan))
    ]


def _short(name: str) -> str:
    parts = name.removesuffix("/value").removeprefix("validation/metrics/").split("/")
    return " ".join(parts)


def routing(run: Records) -> list[Section]:
    """Which teachers the gate trusts."""
    sections = []
    for target in run.plan["gates"]:
        teachers = run.plan["teachers"][target]
        history = run.history(run.last(target))
        dashed = {teacher["name"]: teacher["member"] not in run.fused for teacher in teachers}
        blocks: list[Block] = []
        for key, title in (("confidence", "Gate's confidence"), ("share", "Share of samples")):
            data = [
                {
                    "series": teacher["name"],
                    "epoch": row["epoch"],
                    key: row[f"validation/{key}/{i}"],
                }
                for i, teacher in enumerate(teachers, 1)
                for row in history
                if f"validation/{key}/{i}" in row
            ]
            spec = charts.lines("epoch", key, zero=True, dashed=dashed, count=len(history))
            if data:
                blocks.append(Chart(title, spec, data, "Dashed: cross-modal teachers."))
        blocks += _by_class(run, target, [teacher["name"] for teacher in teachers])
        sections.append(Section(f"Routing of {target}", blocks or [Words("No epoch yet.")]))
    return sections


def _by_class(run: Records, target: str, teachers: Sequence[str]) -> list[Block]:
    found = routing_by_class(run, target) if run.artefact(run.last(target)) else None
    if run.plan["task"]["kind"] not in WITH_CLASSES:
        return []
    if found is None:
        return [Words("Routing by class is kept by runs that finish with this version or a later.")]
    data = [
        {"teacher": teacher, "class": name, "share": float(found[c, j])}
        for j, teacher in enumerate(teachers)
        for c, name in enumerate(run.classes)
        if not math.isnan(found[c, j])
    ]
    there = [*dict.fromkeys(str(row["class"]) for row in data)]
    spec = charts.heat("teacher", "class", "share", len(teachers), there)
    return [Chart("Share of test samples by class", spec, data, wide=True)]


def between(run: Records) -> Section:
    """Who is right where another errs."""
    found = transfer(run)
    if found is None:
        words = "Nothing is known of single test samples: no stage left any, or none is just right."
        return Section("Transfer", [Words(words)])
    names = found.names
    right = [{"network": n, "right": float(v)} for n, v in zip(names, found.accuracy, strict=True)]
    blocks: list[Block] = [
        Chart(
            "Right on test samples",
            charts.bars("network", "right", form=".1%", count=len(names)),
            right,
        )
    ]
    for values, title, words in (
        (
            found.told,
            "Told",
            "Share of a column's errors on which a row is right: what a student can gain from.",
        ),
        (found.agree, "Agreement", "Share on which both are right or both wrong."),
    ):
        data = [
            {"network": one, "another": other, "share": float(values[i, j])}
            for i, one in enumerate(names)
            for j, other in enumerate(names)
        ]
        spec = charts.heat("network", "another", "share", len(names), names)
        blocks.append(Chart(title, spec, data, words))
    return Section("Transfer between networks", blocks)


def cost(run: Records) -> Section:
    """Time and memory by stage."""
    data = []
    for stage in run.stages:
        artefact = run.artefact(stage)
        if artefact is None:
            continue
        data.append(
            {
                "stage": stage,
                "seconds": round(artefact["seconds"], 2),
                "epochs": artefact["epochs"],
                "best epoch": artefact["best_epoch"],
                "peak memory": size_in_words(artefact["peak_memory"]),
                "device": artefact["device"],
            }
        )
    if not data:
        return Section("Time and memory", [Words("No stage is finished yet.")])
    total = math.fsum(row["seconds"] for row in data)
    words = f"{total:.0f} s in {len(data)} stages; memory is that of the process at its highest."
    spec = charts.bars("stage", "seconds", count=len(data), form=".1f")
    return Section("Time and memory", [Chart("Seconds by stage", spec, data, words, wide=True)])


def configuration(run: Records) -> Section:
    """Data, settings and versions."""
    data, summary = run.plan["data"], run.summary or {}
    counted = summary.get("data", data)
    rows = [
        ["folder", str(run.path)],
        ["data", f"{data['title']}, split {data.get('split', '—')}"],
        ["samples", ", ".join(f"{k} {v:,}" for k, v in counted.get("samples", {}).items())],
        ["labelled", ", ".join(f"{k} {v:,}" for k, v in counted.get("labelled", {}).items())],
        *([name, str(value)] for name, value in summary.get("versions", {}).items()),
    ]
    return Section(
        "Configuration", [Rows(["of the run", "value"], rows), Source("config.gin", run.config)]
    )
