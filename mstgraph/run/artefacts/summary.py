"""What a run came to: ``summary.json``, and the table at the end."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np
import torch

from mstgraph.certainty.verdict import (
    TeacherFacts,
    gain_over,
    right_samples,
    sentence,
    verdict_of,
)
from mstgraph.derive.experiment import Experiment
from mstgraph.tasks.task import Task

LIBRARIES = ("torch", "numpy", "gin-config", "networkx", "lmdb", "safetensors")

OF_STAGE = (
    *("epochs", "best_epoch", "seconds", "peak_memory", "device"),
    *("torch", "threads"),  # with which it was trained; null for stages of earlier versions
)

Artefacts = Mapping[str, Any]
Samples = Mapping[tuple[str, str], np.ndarray]
"""(stage, response) → what each test sample contributes, [samples, statistics]."""


def summarise(
    experiment: Experiment,
    artefacts: Artefacts,
    samples_of: Callable[[str], Mapping[str, np.ndarray]],
    device: torch.device,
) -> dict[str, Any]:
    """Return a run's summary as plain data.

    Args:
        experiment: what was run.
        artefacts: stage → its artefact.
        samples_of: stage → response → what each test sample contributes to the metrics.
        device: where it was computed.
    """
    plan, source = experiment.plan, experiment.source
    samples = {(stage, name): v for stage in plan.stages for name, v in samples_of(stage).items()}
    teachers = _teachers(experiment, artefacts, samples)
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
            target: _student(experiment, artefacts, samples, teachers, target)
            for target in plan.graph.targets
        },
        "teachers": teachers,
        "routing": _routing(experiment, artefacts),
        "stages": [
            {
                "name": name,
                "kind": node.kind,
                "hash": node.hash,
                **{key: artefacts[name].get(key) for key in OF_STAGE},
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


def _student(
    experiment: Experiment,
    artefacts: Artefacts,
    samples: Samples,
    teachers: list[dict[str, Any]],
    target: str,
) -> dict[str, Any]:
    plan = experiment.plan
    stage = plan.last[target]
    metrics = artefacts[stage]["test"]["metrics"][target]
    epochs = _epochs(experiment, artefacts, stage, target)
    if not plan.graph.edges.degree(target):
        return {"stage": stage, "alone": metrics, "epochs": {"alone": epochs}}
    result = {"stage": stage, "distilled": metrics, "epochs": {"distilled": epochs}}
    if alone := plan.alone.get(target):
        result["alone"] = artefacts[alone]["test"]["metrics"][target]
        result["epochs"]["alone"] = artefacts[alone]["epochs"]
        result["gain"] = {n: v - result["alone"][n] for n, v in result["distilled"].items()}
        own = [teacher for teacher in teachers if teacher["student"] == target]
        result["certainty"] = _certainty(experiment, samples, own, target, result)
    return result


def _certainty(
    experiment: Experiment,
    samples: Samples,
    teachers: list[dict[str, Any]],
    target: str,
    student: Mapping[str, Any],
) -> dict[str, Any]:
    """How sure a student's gain is: intervals, a test, a verdict, and the sentence of all that."""
    plan, task = experiment.plan, experiment.task
    one = samples.get((plan.last[target], target))
    other = samples.get((plan.alone[target], target))
    if one is None or other is None:
        lacking = (
            f"the task {type(task).__name__} says nothing of single test samples"
            if one is None
            else f"stage {plan.alone[target]} left nothing of single test samples"
        )
        return {"verdict": None, "sentence": f"nobody knows how sure the gain is: {lacking}"}
    gain = gain_over(task, one, other)
    ends = {name: found and list(found) for name, found in gain.intervals.items()}
    found = {
        "metric": task.primary.name,
        "samples": gain.samples,
        "intervals": ends,
        "p": gain.p,
    }
    if (interval := gain.intervals[task.primary.name]) is None:
        return {**found, "verdict": None, "sentence": f"{task.primary.title} is undefined"}
    values = student["distilled"][task.primary.name], student["alone"][task.primary.name]
    facts = [TeacherFacts(row["name"], row["metrics"][task.primary.name]) for row in teachers]
    told = _told(experiment, samples, target)
    return {
        **found,
        "told": told,
        "verdict": verdict_of(task.primary, interval),
        "sentence": sentence(task.primary, values, interval, facts, told),
    }


def _told(experiment: Experiment, samples: Samples, target: str) -> float | None:
    """Share of the errors of the student alone on which one of its teachers is right."""
    alone = _right(experiment.task, samples, experiment.plan.alone[target], target)
    places = experiment.plan.teaching(target)
    rights = [_right(experiment.task, samples, stage, name) for stage, name in places]
    known = [right for right in rights if right is not None]
    if alone is None or alone.all() or not known:
        return None
    return float(np.any(known, axis=0)[~alone].mean())


def _right(task: Task, samples: Samples, stage: str, response: str) -> np.ndarray | None:
    contributions = samples.get((stage, response))
    return None if contributions is None else right_samples(task, contributions)


def _teachers(
    experiment: Experiment, artefacts: Artefacts, samples: Samples
) -> list[dict[str, Any]]:
    """Every teacher with its own accuracy: members as they teach, then specialised ones by j."""
    plan = experiment.plan
    rows = []
    for student, teachers in plan.teachers.items():
        specialised = {t.name: {"point": t.point, "j": t.index} for t in teachers if t.point}
        for stage, name in plan.teaching(student):
            row = {
                "student": student,
                "name": name,
                "member": plan.stages[stage].forwards[name].member,
                **specialised.get(name, {}),
                "metrics": artefacts[stage]["test"]["metrics"][name],
                "epochs": _epochs(experiment, artefacts, stage, name),
            }
            rows.append(row | _beside_alone(experiment, samples, student, (stage, name)))
    return rows


def _beside_alone(
    experiment: Experiment, samples: Samples, student: str, teacher: tuple[str, str]
) -> dict[str, float]:
    """Shares of test samples on which only the teacher is right, and on which both answer alike."""
    alone = experiment.plan.alone.get(student)
    if alone is None:
        return {}
    right = _right(experiment.task, samples, *teacher)
    reference = _right(experiment.task, samples, alone, student)
    if right is None or reference is None:
        return {}
    alike = (samples[teacher] == samples[alone, student]).all(axis=1)
    return {
        "right_where_alone_errs": float((right & ~reference).mean()),
        "agrees_with_alone": float(alike.mean()),
    }


def _epochs(experiment: Experiment, artefacts: Artefacts, stage: str, response: str) -> int:
    """Epochs behind all the weights of a response: of its network, and of its MaskNet on top."""
    plan = experiment.plan
    node = plan.stages[stage]
    stages = {
        name
        for part in node.forwards[response].parts
        for name in plan.behind(stage if part in node.trains else node.sources[part], part)
    }
    return sum(artefacts[name]["epochs"] for name in stages)


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
