"""What a run came to: ``summary.json``, and the table at the end."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import torch

from mstgraph.derive.experiment import Experiment

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
        "metrics": [asdict(metric) for metric in experiment.task.metrics],
        "primary": experiment.task.primary.name,
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
            "mstgraph": version("mstgraph"),
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
    if alone := experiment.plan.alone.get(target):
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
                metrics = artefacts[plan.adapted[student][teacher.name]]["test"]["metrics"]
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
