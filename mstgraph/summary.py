"""What a run came to: ``summary.json``, and the table at the end."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import torch
from rich.console import Console

from mstgraph import __version__
from mstgraph.experiment import Experiment
from mstgraph.show import table
from mstgraph.tasks import METRIC_TITLES

LIBRARIES = ("torch", "numpy", "gin-config", "networkx", "lmdb", "safetensors")

Artefacts = Mapping[str, Any]


def summarise(experiment: Experiment, artefacts: Artefacts, device: torch.device) -> dict[str, Any]:
    """Return a run's summary as plain data.

    Args:
        experiment: what was run.
        artefacts: stage → its artefact.
        device: where it was computed.
    """
    plan, source = experiment.plan, experiment.source
    return {
        "name": experiment.name,
        "data": {
            "title": source.title,
            "synthetic": source.synthetic,
            "fingerprint": source.fingerprint,
            "split": experiment.split,
        },
        "seed": plan.graph.seed,
        "metrics": list(experiment.task.metrics),
        "primary": experiment.task.primary,
        "students": {
            target: _student(experiment, artefacts, target) for target in plan.graph.targets
        },
        "teachers": _teachers(experiment, artefacts),
        "routing": _routing(experiment, artefacts),
        "stages": [
            {
                "name": name,
                "kind": node.kind,
                "hash": node.hash,
                **{
                    key: artefacts[name][key]
                    for key in ("epochs", "best_epoch", "seconds", "peak_memory", "device")
                },
            }
            for name, node in plan.stages.items()
        ],
        "versions": {
            "mstgraph": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
        "device": str(device),
        "threads": torch.get_num_threads(),
    }


def _student(experiment: Experiment, artefacts: Artefacts, target: str) -> dict[str, Any]:
    stage = experiment.plan.last[target]
    if not experiment.plan.graph.edges.degree(target):
        return {"stage": stage, "alone": artefacts[stage]["test"]["metrics"][target]}
    result = {"stage": stage, "distilled": artefacts[stage]["test"]["metrics"][target]}
    alone = f"alone-{target}"
    if alone in artefacts:
        result["alone"] = artefacts[alone]["test"]["metrics"][target]
        result["gain"] = {n: v - result["alone"][n] for n, v in result["distilled"].items()}
    return result


def _teachers(experiment: Experiment, artefacts: Artefacts) -> list[dict[str, Any]]:
    """Every teacher with its own accuracy: members as they teach, then specialised ones by j."""
    plan = experiment.plan
    rows = []
    for student, teachers in plan.teachers.items():
        sources = plan.stages[plan.last[student]].sources
        for member in dict.fromkeys(teacher.member for teacher in teachers):
            metrics = artefacts[sources[member]]["test"]["metrics"][member]
            rows.append({"student": student, "name": member, "member": member, "metrics": metrics})
        for teacher in teachers:
            if teacher.point:
                metrics = artefacts[f"sta-{student}-{teacher.name}"]["test"]["metrics"]
                rows.append(
                    {
                        "student": student,
                        "name": teacher.name,
                        "member": teacher.member,
                        "point": teacher.point,
                        "j": teacher.index,
                        "metrics": metrics[teacher.name],
                    }
                )
    return rows


def _routing(experiment: Experiment, artefacts: Artefacts) -> dict[str, list[dict[str, Any]]]:
    """Student → per teacher: share of validation samples routed to it, mean confidence."""
    plan = experiment.plan
    routing = {}
    for student, teachers in plan.teachers.items():
        validation = artefacts[plan.last[student]]["validation"]
        if "share" in validation:
            routing[student] = [
                {
                    "j": teacher.index,
                    "name": teacher.name,
                    "share": validation["share"][teacher.index - 1],
                    "confidence": validation["confidence"][teacher.index - 1],
                }
                for teacher in teachers
            ]
    return routing


def print_summary(summary: Mapping[str, Any], console: Console) -> None:
    """Print one table: the student alone, each teacher, the distilled student, the routing."""
    data = summary["data"]
    label = f" · {data['synthetic']}" if data["synthetic"] else ""
    title = f"{data['title']}{label} · test split {data['split']} · seed {summary['seed']}"
    metrics = summary["metrics"]
    columns = ("", *(METRIC_TITLES[name] for name in metrics), "routed")
    result = table(title, columns, right=columns[1:])
    for target, student in summary["students"].items():
        if "alone" in student:
            result.add_row(f"{target} alone", *_values(student["alone"], metrics), "")
        for teacher in (t for t in summary["teachers"] if t["student"] == target):
            name = (
                f"teacher {teacher['j']}: {teacher['name']}"
                if "j" in teacher
                else (f"teacher {teacher['name']}")
            )
            result.add_row(name, *_values(teacher["metrics"], metrics), _share(summary, teacher))
        if "distilled" in student:
            values = _values(student["distilled"], metrics)
            result.add_row(f"[bold]{target} distilled[/]", *values, "")
        if "gain" in student:
            gains = [f"{student['gain'][name]:+.4f}" for name in metrics]
            result.add_row("  gain", *gains, "", end_section=True)
    console.print(result)
    seconds = sum(stage["seconds"] for stage in summary["stages"])
    peak = max(stage["peak_memory"] for stage in summary["stages"])
    console.print(
        f"{seconds:.0f} s in {len(summary['stages'])} stages, peak memory {peak / 2**20:.0f} MB "
        f"on {summary['device']}",
        highlight=False,
    )


def _values(values: Mapping[str, float], names: Sequence[str]) -> list[str]:
    return [f"{values[name]:.4f}" for name in names]


def _share(summary: Mapping[str, Any], teacher: Mapping[str, Any]) -> str:
    for row in summary["routing"].get(teacher["student"], []):
        if row["name"] == teacher["name"]:
            return f"{row['share']:.1%}"
    return ""
