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
    RIGHT,
    WRONG,
    TeacherFacts,
    gain_over,
    marks_of,
    sentence,
    told_share,
    verdict_of,
)
from mstgraph.derive.experiment import Experiment
from mstgraph.derive.plan import Plan
from mstgraph.tasks.task import Task

LIBRARIES = ("torch", "numpy", "gin-config", "networkx", "lmdb", "safetensors")

OF_STAGE = (
    *("epochs", "best_epoch", "seconds", "peak_memory", "device"),
    # With which it was trained; null for stages of earlier versions.
    *("torch", "threads", "processes"),
)

Artefacts = Mapping[str, Any]
Samples = Mapping[tuple[str, str], np.ndarray]
"""(stage, response) → what each test sample contributes, [samples, statistics]."""
Marks = Mapping[tuple[str, str], np.ndarray]
"""(stage, response) → where it is right in each test sample, [samples, places]."""


def collect(
    plan: Plan, found: Callable[[str], Mapping[str, np.ndarray]]
) -> dict[tuple[str, str], np.ndarray]:
    """Return what is found for each response of each stage under (stage, response)."""
    return {(stage, name): v for stage in plan.stages for name, v in found(stage).items()}


def summarise(
    experiment: Experiment,
    artefacts: Artefacts,
    samples: Samples,
    marks: Marks,
    device: torch.device,
) -> dict[str, Any]:
    """Return a run's summary as plain data.

    Args:
        experiment: what was run.
        artefacts: stage → its artefact.
        samples: what each test sample contributes to the metrics.
        marks: where responses are right, in tasks whose samples have places.
        device: where it was computed.
    """
    plan, source = experiment.plan, experiment.source
    teachers, students = compare(experiment, artefacts, samples, marks)
    return {
        "name": experiment.name,
        "data": {
            "title": source.title,
            "synthetic": source.synthetic,
            "fingerprint": source.fingerprint,
            "split": experiment.split,
            "samples": source.samples(experiment.split),
            "labelled": source.labelled(experiment.data),
            **({"absent": dict(absent)} if (absent := experiment.data.absent) else {}),
        },
        "seed": plan.graph.seed,
        "metrics": [asdict(metric) for metric in experiment.task.measured],
        "primary": experiment.task.primary.name,
        "students": students,
        "teachers": teachers,
        "routing": _routing(experiment, artefacts),
        **patterns_of({name: found["test"] for name, found in artefacts.items()}),
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


def patterns_of(results: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return under ``patterns`` stage → metrics by pattern of presence; {} where there is one."""
    found = {name: result["patterns"] for name, result in results.items() if "patterns" in result}
    return {"patterns": found} if found else {}


def compare(
    experiment: Experiment, artefacts: Artefacts, samples: Samples, marks: Marks
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return every teacher, and every student with and without them, as plain data.

    Args:
        experiment: what was run.
        artefacts: stage → its artefact; what is compared stands under ``test``.
        samples: what each sample of that part contributes.
        marks: where responses are right, in tasks whose samples have places.
    """
    known = {
        key: found
        for key, v in samples.items()
        if (found := marks_of(experiment.task, v)) is not None
    }
    marks = {**known, **marks}
    teachers = _teachers(experiment, artefacts, samples, marks)
    students = {
        target: _student(experiment, artefacts, samples, marks, teachers, target)
        for target in experiment.plan.graph.targets
    }
    return teachers, students


def _student(
    experiment: Experiment,
    artefacts: Artefacts,
    samples: Samples,
    marks: Marks,
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
        result["certainty"] = _certainty(experiment, samples, marks, own, target, result)
    return result


def _certainty(
    experiment: Experiment,
    samples: Samples,
    marks: Marks,
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
    told = _told(experiment.plan, marks, target)
    return {
        **found,
        "told": told,
        "verdict": verdict_of(task.primary, interval),
        "sentence": sentence(task.primary, values, interval, facts, told),
    }


def _told(plan: Plan, marks: Marks, target: str) -> float | None:
    """Share of the errors of the student alone on which one of its teachers is right."""
    alone = marks.get((plan.alone[target], target))
    teachers = [marks[place] for place in plan.teaching(target) if place in marks]
    return None if alone is None else told_share(alone, teachers)


def _teachers(
    experiment: Experiment, artefacts: Artefacts, samples: Samples, marks: Marks
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
            alone = experiment.plan.alone.get(student, ""), student
            rows.append(row | _beside_alone(experiment.task, samples, marks, alone, (stage, name)))
    return rows


def _beside_alone(
    task: Task, samples: Samples, marks: Marks, alone: tuple[str, str], teacher: tuple[str, str]
) -> dict[str, float]:
    """Shares of samples or pixels where only the teacher is right, and of samples alike to both."""
    if alone not in marks or teacher not in marks:
        return {}
    reference = marks[alone]
    only = ((marks[teacher] == RIGHT) & (reference == WRONG)).sum() / (reference > 0).sum()
    found = {"right_where_alone_errs": float(only)}
    if reference.shape[1] == 1:
        there = (marks[teacher] > 0).all(axis=1) & (reference > 0).all(axis=1)
        both = (samples[name][there].astype(np.float64) for name in (teacher, alone))
        alike = task.alike(*map(torch.from_numpy, both))
        found["agrees_with_alone"] = float(alike.double().mean()) if len(alike) else 0.0
    return found


def _epochs(experiment: Experiment, artefacts: Artefacts, stage: str, response: str) -> int:
    """Epochs behind all the weights of a response: of its network, and of its MaskNet on top."""
    plan = experiment.plan
    node = plan.stages[stage]
    stages = {
        name
        for part in node.forwards[response].parts
        for name in plan.behind(stage if part in node.leaves else node.sources[part], part)
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
