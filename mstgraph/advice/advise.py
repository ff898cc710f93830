"""Advise: from members without distillation to what each teacher can tell its student."""

from __future__ import annotations

import numpy as np
import torch

from mstgraph.advice.answers import Answers, answers, member_networks
from mstgraph.advice.findings import Edge, Findings, Learner
from mstgraph.advice.measures import told, visible
from mstgraph.advice.prediction import predicted_gain
from mstgraph.data.feed import Pool
from mstgraph.derive.experiment import Experiment
from mstgraph.derive.plan import Plan
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.support.errors import UserError
from mstgraph.tasks.responses import mean_response

TOGETHER = " + "


def members_alone(experiment: Experiment, epochs: int | None) -> list[str]:
    """Return the bindings under which each member gets its first weights by itself.

    Args:
        experiment: what is asked about.
        epochs: of each member; None leaves what ``Pretrain.epochs`` says.

    Raises:
        UserError: there is nothing to advise on.
    """
    names = _involved(experiment)
    lengths = [] if epochs is None else [f"{name}/Pretrain.epochs = {epochs}" for name in names]
    # Who is aligned with somebody has first weights; nothing else follows from it here.
    aligned = [f"{name}/Member.mutual = 'all'" for name in names]
    return ["graph.initialisation = @Pretrain", "graph.alone = False", *aligned, *lengths]


def learning(experiment: Experiment) -> dict[str, tuple[str, ...]]:
    """Return student → whom it learns from: members that teach it or are aligned with it.

    Raises:
        UserError: nobody learns from anybody, or what is predicted is no class.
    """
    graph, task = experiment.plan.graph, experiment.task
    if not task.exclusive_classes:
        raise UserError(
            f"advice counts right answers, but the task '{task.kind}' has no exclusive classes; "
            "expected classification or segmentation"
        )
    students = dict.fromkeys((*graph.targets, *graph.students()))
    found = {
        student: tuple(name for name in graph.members if graph.edges.has_edge(name, student))
        for student in students
    }
    if not any(found.values()):
        raise UserError(
            "nobody teaches anybody in this graph, so there is nothing to advise on; expected "
            "graph.teachers = 'all', 'multimodal' or 'cross-modal'"
        )
    return {student: teachers for student, teachers in found.items() if teachers}


def _involved(experiment: Experiment) -> list[str]:
    """Return the members that learn or teach, in order."""
    names = {name for pair in learning(experiment).items() for name in (pair[0], *pair[1])}
    return [name for name in experiment.plan.graph.members if name in names]


def without_distillation(plan: Plan) -> dict[str, str]:
    """Return member → the stage that leaves what it is without distillation.

    That is the stage that trains a target alone, else the last one that gives first weights.
    """
    first = {
        member: node.name
        for node in plan.stages.values()
        if node.settings.place in ("members", "member")
        for member in node.leaves
    }
    return first | dict(plan.alone)


def advise(asked: Experiment, trained: Experiment, folder: RunFolder, pool: Pool) -> Findings:
    """Measure each edge on validation, and predict what it gains.

    Args:
        asked: whose edges are judged.
        trained: whose stages have left the members, see `members_alone`; of a finished run the
            same.
        folder: where these stages lie.
        pool: the data.

    Raises:
        UserError: there is nothing to advise on, or a stage is not finished.
    """
    pairs, names = learning(asked), _involved(asked)
    stages = _finished(trained, folder, names)
    networks = member_networks(trained, folder, stages, pool.device)
    found = answers(trained, networks, pool, "validation", names)
    seen = answers(trained, networks, pool, "train", list(pairs), features=False)
    students = {
        name: Learner(name, float(found.right(name).mean()), float(seen.right(name).mean()))
        for name in pairs
    }
    edges = [e for name in pairs for e in _edges(name, pairs[name], found, seen.unlabelled)]
    return Findings(
        title=trained.source.title,
        synthetic=trained.source.synthetic,
        split=trained.split,
        samples=len(found.labels),
        unlabelled=seen.unlabelled,
        students=students,
        edges=tuple(edges),
    )


def _finished(experiment: Experiment, folder: RunFolder, names: list[str]) -> dict[str, str]:
    """Return member → stage, all of them there."""
    stages = without_distillation(experiment.plan)
    for name in names:
        if name not in stages:
            raise UserError(
                f"the run '{folder.path}' never has member '{name}' without distillation; give "
                "its gin files in place of the run"
            )
        if not folder.state(experiment.plan.stages[stages[name]])[0]:
            raise UserError(
                f"the run '{folder.path}' is not finished: stage {stages[name]} is to be trained; "
                "run it to its end first"
            )
    return {name: stages[name] for name in names}


def _edges(
    student: str, teachers: tuple[str, ...], found: Answers, unlabelled: float
) -> list[Edge]:
    """Return a student's edges and all of them as one, the best first."""
    logits = {name: found.logits[name] for name in teachers}
    if len(teachers) > 1:
        logits[TOGETHER.join(teachers)] = _mean(list(logits.values()))
    edges = [measure(student, name, values, found, unlabelled) for name, values in logits.items()]
    return sorted(edges, key=lambda edge: -edge.gain)


def measure(
    student: str, teacher: str, logits: np.ndarray, found: Answers, unlabelled: float
) -> Edge:
    """Measure one edge.

    Args:
        student: who learns.
        teacher: a name for who teaches.
        logits: what it answers, [samples, num_outputs] float.
        found: the student's answers to the same samples.
        unlabelled: share of the training samples that have no label.
    """
    right, own = logits.argmax(axis=1) == found.labels, found.right(student)
    helps, harms = float((right & ~own).mean()), float((own & ~right).mean())
    return Edge(
        teacher=teacher,
        student=student,
        accuracy=float(right.mean()),
        told=told(right, own),
        untold=told(own, right),
        helps=helps,
        harms=harms,
        visible=visible(logits, found.labels, found.features[student]),
        gain=predicted_gain(helps, harms, unlabelled),
    )


def _mean(logits: list[np.ndarray]) -> np.ndarray:
    """Return the mean of log-probabilities, as `Distill.ensemble` takes it."""
    each = [torch.from_numpy(values) for values in logits]
    weights = torch.full((len(each[0]), len(each)), 1 / len(each))
    mean: np.ndarray = mean_response(each, weights).numpy()
    return mean
