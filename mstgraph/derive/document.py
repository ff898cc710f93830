"""A plan as plain data: for ``show --json``, for ``plan.json``, and for pictures to read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from mstgraph.derive.experiment import Experiment
from mstgraph.derive.keeping.constants import Constants, find_constants
from mstgraph.derive.keeping.passes import group_stages
from mstgraph.stages.node import Part, Teacher
from mstgraph.stages.stage import StageNode

State = Callable[[StageNode], tuple[bool, str]]


def plan_document(
    experiment: Experiment, state: State, folder: Path = Path("runs")
) -> dict[str, Any]:
    """Return the derived graph as plain data.

    Args:
        experiment: the experiment.
        state: says of a stage whether its artefact can be used again, and why not.
        folder: where a run would leave what it keeps; its disk limits how much that may be.
    """
    plan, source = experiment.plan, experiment.source
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with experiment.entered():
        constants = constants_by_stage(experiment, device, folder)
    return {
        "name": experiment.name,
        "seed": plan.graph.seed,
        "data": {
            "title": source.title,
            "synthetic": source.synthetic,
            "store": experiment.data.store,
            "prepared": source.store is not None,
            "fingerprint": source.fingerprint,
            "split": experiment.split,
            "samples": source.samples(experiment.split),
            "labelled": source.labelled(experiment.data),
            **({"absent": dict(absent)} if (absent := experiment.data.absent) else {}),
        },
        "task": {
            "kind": experiment.task.kind,
            "outputs": experiment.task.num_outputs,
            "metrics": [metric.name for metric in experiment.task.measured],
            "primary": experiment.task.primary.name,
        },
        "targets": list(plan.graph.targets),
        "last": dict(plan.last),
        "alone": dict(plan.alone),
        "modalities": [
            {"name": m.name, "dtype": m.dtype, "shape": list(m.shape)}
            for m in source.modalities.values()
        ],
        "members": [_member(experiment, i, name) for i, name in enumerate(plan.graph.members)],
        "edges": _edges(experiment),
        "teachers": {
            student: [_teacher(experiment, student, teacher) for teacher in teachers]
            for student, teachers in plan.teachers.items()
        },
        "gates": {
            node.student: {
                "stage": node.name,
                "parameters": experiment.parts.parameters(node.parts[node.gate]),
            }
            for node in plan.stages.values()
            if node.gate
        },
        "stages": [
            {**_stage(experiment, node, state), "constants": constants[node.name]}
            for node in plan.stages.values()
        ],
    }


def _member(experiment: Experiment, index: int, name: str) -> dict[str, Any]:
    graph, shapes = experiment.plan.graph, experiment.parts.members[name]
    member, weights = graph.members[name], experiment.parts.weights.get(name)
    return {
        "index": index,
        "name": name,
        "role": _role(experiment, name),
        "network": shapes.network,
        "inputs": list(member.inputs),
        "parameters": shapes.parameters,
        "output": list(shapes.output),
        "masks": list(member.masks),
        "initialisation": shapes.initialisation,
        **({"weights": weights.document()} if weights else {}),
        **({"frozen": list(member.frozen)} if member.frozen else {}),
    }


def _role(experiment: Experiment, name: str) -> str:
    graph = experiment.plan.graph
    if name in graph.targets:
        return "student"
    if not any(kind == "teaches" for _, _, kind in graph.edges.out_edges(name, keys=True)):
        return "peer"
    if len(graph.members[name].inputs) > 1:
        return "multimodal teacher"
    return "auxiliary teacher"


def _edges(experiment: Experiment) -> list[dict[str, Any]]:
    plan = experiment.plan
    teaches = [
        {
            "source": teacher,
            "target": student,
            "kind": "teaches",
            "loss": type(plan.graph.members[teacher].loss).__name__,
            "stage": plan.last[student],
        }
        for student in plan.teachers
        for teacher in plan.graph.teachers_of(student)
    ]
    mutual = [
        {
            "source": one,
            "target": other,
            "kind": "mutual",
            # A stage of one's own may train members together and align them by itself.
            "loss": type(getattr(node.settings, "alignment", node.settings)).__name__,
            "stage": node.name,
        }
        for node in plan.stages.values()
        for one, other in node.mutual
    ]
    return teaches + mutual


def _teacher(experiment: Experiment, student: str, teacher: Teacher) -> dict[str, Any]:
    described: dict[str, Any] = {
        "j": teacher.index,
        "name": teacher.name,
        "member": teacher.member,
        "delta": experiment.plan.delta(student, teacher.index),
        "point": teacher.point,
        "loss": type(teacher.loss).__name__,
        "learns": teacher.loss.trains_teacher,
    }
    if teacher.point:
        part = Part("masknet", teacher.member, teacher.point, student)
        described |= {
            "feature": list(experiment.parts.feature(part)),
            "masknet_parameters": experiment.parts.parameters(part),
            "stage": experiment.plan.adapted[student][teacher.name],
        }
    return described


def _stage(experiment: Experiment, node: StageNode, state: State) -> dict[str, Any]:
    done, reason = state(node)
    return {
        "name": node.name,
        "kind": node.kind,
        "place": node.settings.place,
        "epochs": node.settings.epochs,
        "batch_size": node.settings.batch_size or experiment.data.batch_size,
        "learning_rate": node.settings.learning_rate,
        "trains": list(node.trains),
        **({"takes": list(node.takes)} if node.takes else {}),
        "freezes": list(node.freezes),
        "needs": list(node.needs),
        "responses": {name: list(forward.parts) for name, forward in node.forwards.items()},
        "student": node.student,
        "hash": node.hash,
        "done": done,
        "reason": reason,
    }


def constants_by_stage(
    experiment: Experiment, device: torch.device, folder: Path
) -> dict[str, list[dict[str, Any]]]:
    """Return stage → what is constant in it, and what would be done about it on this machine.

    Args:
        experiment: the experiment.
        device: where it would run.
        folder: where its values on disk would go.
    """
    engine = experiment.engine
    memory, disk = engine.memory_budget(device), engine.disk_budget(folder)
    found: dict[str, list[dict[str, Any]]] = {}
    for group in group_stages(list(experiment.plan.stages.values())):
        constants = constants_of(experiment, group, memory, disk)
        found |= {node.name: _concerning(node, constants) for node in group}
    return found


def constants_of(
    experiment: Experiment, group: Sequence[StageNode], memory: int, disk: int
) -> Constants:
    """Return what a group of stages keeps within so many bytes of memory and disk."""
    return find_constants(
        experiment.parts,
        experiment.engine,
        group,
        experiment.source.samples(experiment.split),
        augmentation=experiment.data.augmentation,
        memory=memory,
        disk=disk,
    )


def _concerning(node: StageNode, constants: Constants) -> list[dict[str, Any]]:
    """Return the decisions on values that a stage reads, as plain data."""
    forwards = set(node.forwards.values())
    members = {f.member for f in forwards if f.masknet}
    kept = {"trunk": members, "frozen": set(node.trains), "response": set[str]()}
    return [
        {
            "value": decision.value.name,
            "part": part,
            "placement": decision.placement,
            "bytes": decision.size,
            "reason": decision.reason,
        }
        for part, decisions in constants.decisions.items()
        for decision in decisions
        if decision.value.forward in forwards or decision.value.member in kept[decision.value.kind]
    ]
