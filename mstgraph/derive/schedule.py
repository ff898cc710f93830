"""Derive: from a graph to its specialised teachers and the schedule of stages.

Nobody writes the schedule. Each stage needs weights, and whoever leaves them comes first, as in a
build system; independent stages stay independent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import gin
import networkx as nx

from mstgraph.declare.graph import Graph
from mstgraph.derive.plan import Plan
from mstgraph.methods.loss import ROLES
from mstgraph.stages.ci import CI
from mstgraph.stages.distill import Distill
from mstgraph.stages.dkd import DKD
from mstgraph.stages.hint import Hint
from mstgraph.stages.node import Forward, Part, Teacher
from mstgraph.stages.pretrain import Pretrain
from mstgraph.stages.sta import STA
from mstgraph.stages.stage import Stage, StageNode


def specialised_teachers(graph: Graph, student: str) -> tuple[Teacher, ...]:
    """Return the teachers of a student: one per mask point of each member that teaches it (Eq. 5).

    A teaching member without a mask point is one plain, frozen teacher.
    """
    pairs = [
        (name, point)
        for name in graph.teachers_of(student)
        for point in graph.members[name].masks or ("",)
    ]
    return tuple(
        Teacher(j, name, point, graph.members[name].loss)
        for j, (name, point) in enumerate(pairs, 1)
    )


def derive(graph: Graph) -> Plan:
    """Derive the plan of a graph; a pure function of it and of gin's settings of the stages.

    1. Members joined by mutual edges train together (CI, one per connected component); one that
       needs weights before its last stage and has no mutual edge is pre-trained alone.
    2. Each specialised teacher with a mask point needs its member and the student: STA.
    3. A student whose teachers' losses want it has a hint stage before its last one.
    4. A student's last stage needs all its teachers: DKD under a gate, else distill.
    5. A student starts its last stage from the weights it has, else from scratch.
    """
    teachers = {student: specialised_teachers(graph, student) for student in graph.students()}
    builder = _Builder(graph, teachers)
    for component in graph.mutual_components():
        builder.add_ci(component)
    for name in _needing_pretraining(graph, teachers, builder.initial):
        builder.add_pretrain(name)
    for student in _assistants_first(graph):
        builder.add_student(student)
    last = {name: builder.initial[name] for name in graph.targets if name in builder.initial}
    last |= builder.last
    if graph.alone:
        for target in graph.targets:
            if graph.edges.degree(target):
                builder.add_alone(target, last[target])
    plan = Plan(graph, teachers, builder.stages, last)
    ordered = nx.lexicographical_topological_sort(plan.dag(), key=list(plan.stages).index)
    return replace(plan, stages={name: plan.stages[name] for name in ordered})


def _needing_pretraining(
    graph: Graph, teachers: Mapping[str, tuple[Teacher, ...]], initial: Mapping[str, str]
) -> list[str]:
    """Teachers that nobody else trains, students whose responses STA needs, and the untaught."""
    ready_later = {name for name in graph.students() if name not in graph.targets}
    needed = {teacher.member for group in teachers.values() for teacher in group} - ready_later
    needed |= {student for student, group in teachers.items() if any(t.point for t in group)}
    needed |= {target for target in graph.targets if not graph.edges.degree(target)}
    return [name for name in graph.members if name in needed and name not in initial]


def _assistants_first(graph: Graph) -> list[str]:
    """Order students such that one who teaches after being taught comes before its students."""
    students = graph.students()
    waits = nx.DiGraph()
    waits.add_nodes_from(students)
    waits.add_edges_from(
        (teacher, student)
        for student in students
        for teacher in graph.teachers_of(student)
        if teacher in students and teacher not in graph.targets
    )
    return list(nx.lexicographical_topological_sort(waits, key=students.index))


class _Builder:
    """Adds stages one by one; knows who leaves which weights."""

    def __init__(self, graph: Graph, teachers: Mapping[str, tuple[Teacher, ...]]):
        self.graph = graph
        self.teachers = teachers
        self.stages: dict[str, StageNode] = {}
        self.initial: dict[str, str] = {}  # member → stage that leaves its first weights
        self.hinted: dict[str, str] = {}  # student → its hint stage
        self.last: dict[str, str] = {}  # student → its last stage

    def add_ci(self, component: tuple[str, ...]) -> None:
        edges = self.graph.edges
        mutual = tuple(
            (one, other)
            for i, one in enumerate(component)
            for other in component[i + 1 :]
            if edges.has_edge(one, other, key="mutual")
        )
        # The name of the target's component does not change when another one comes or goes.
        name = "ci" if self.graph.targets[0] in component else f"ci-{component[0]}"
        # Whom nobody teaches afterwards, as in mutual learning, has only this stage.
        final = [t for t in self.graph.targets if t in component and t not in self.teachers]
        node = self._node(name, "ci", _settings(CI, ""), members=component)
        student = final[0] if len(final) == 1 else ""
        self._add(replace(node, mutual=mutual, trains=component, student=student))
        self.initial |= dict.fromkeys(component, name)

    def add_pretrain(self, member: str) -> None:
        name = f"pretrain-{member}"
        settings = _settings(Pretrain, member)
        node = self._node(name, "pretrain", settings, scope=member, members=(member,))
        self._add(replace(node, trains=(member,)))
        self.initial[member] = name

    def add_student(self, student: str) -> None:
        """Add all that comes before a student's last stage and is its own, and that stage."""
        teachers = self.teachers[student]
        for teacher in teachers:
            if teacher.point:
                self._add_sta(student, teacher)
        hinting = [teacher for teacher in teachers if teacher.loss.hinted]
        if hinting:
            name = f"hint-{student}"
            self._add_with_adapters(name, "hint", _settings(Hint, student), student, hinting)
            self.hinted[student] = name
        gated = self.graph.gate is not None and student in self.graph.targets
        kind, stage = ("dkd", DKD) if gated else ("distill", Distill)
        settings = _settings(stage, student)
        self._add_with_adapters(f"{kind}-{student}", kind, settings, student, teachers, gated)
        self.last[student] = f"{kind}-{student}"

    def add_alone(self, target: str, last: str) -> None:
        """The same network with the same number of epochs, without distillation."""
        final = self.stages[last].settings
        settings = Pretrain(
            epochs=self._epochs(target, last),
            learning_rate=final.learning_rate,
            learning_rate_decay=final.learning_rate_decay,
            optimizer=final.optimizer,
            batch_size=final.batch_size,
            select=final.select,
            ema=final.ema,
        )
        name = f"alone-{target}"
        node = self._node(name, "alone", settings, scope=target, members=(target,))
        self._add(replace(node, trains=(target,)))

    def _epochs(self, member: str, last: str) -> int:
        """Epochs behind the weights that a stage leaves for a member, its first ones included."""
        node = self.stages[last]
        before = node.sources.get(member)
        return node.settings.epochs + (self._epochs(member, before) if before else 0)

    def _add_sta(self, student: str, teacher: Teacher) -> None:
        settings = _settings(self.graph.adaptation or STA, teacher.member)
        name = f"sta-{student}-{teacher.name}"
        node = self._node(name, "sta", settings, teacher.member, (), student, [teacher])
        self._add(replace(node, trains=(_masknet(student, teacher).name,)))

    def _add_with_adapters(
        self,
        name: str,
        kind: str,
        settings: Stage,
        student: str,
        teachers: Sequence[Teacher],
        gated: bool = False,
    ) -> None:
        """Add a stage that trains the student beside what the losses of its teachers train."""
        node = self._node(name, kind, settings, student, (student,), student, teachers)
        # What trains in a hint stage has done its work there.
        adapted = [t for t in teachers if t.loss.adapts and t.loss.hinted == (kind == "hint")]
        adapters = {t.name: Part("adapter", t.member, t.point, student) for t in adapted}
        gates = [Part("gate", "", student=student)] if gated else []
        learning = () if kind == "hint" else [t.member for t in teachers if t.loss.trains_teacher]
        extra = {part.name: part for part in (*adapters.values(), *gates)}
        node = replace(
            node,
            parts={**node.parts, **extra},
            trains=tuple(dict.fromkeys((student, *learning, *extra))),
            adapters={teacher: part.name for teacher, part in adapters.items()},
            gate=gates[0].name if gates else "",
        )
        self._add(node)

    def _node(
        self,
        name: str,
        kind: str,
        settings: Stage,
        scope: str = "",
        members: tuple[str, ...] = (),
        student: str = "",
        teachers: Sequence[Teacher] = (),
    ) -> StageNode:
        """Return a stage with the networks and MaskNets that its responses need."""
        forwards = {m: Forward(m) for m in (*members, *filter(None, [student]))}
        if student:
            taps = self._taps(student, teachers, kind, True) if student in members else ()
            forwards[student] = Forward(student, taps=taps)
        for teacher in teachers:
            masknet = _masknet(student, teacher).name if teacher.point else ""
            taps = self._taps(teacher.member, [teacher], kind, False)
            forwards[teacher.name] = Forward(teacher.member, masknet, teacher.point, taps)
        networks = dict.fromkeys(forward.member for forward in forwards.values())
        parts = [Part("network", name) for name in networks]
        parts += [_masknet(student, teacher) for teacher in teachers if teacher.point]
        return StageNode(
            name=name,
            kind=kind,
            scope=scope,
            settings=settings,
            members=members,
            forwards=forwards,
            parts={part.name: part for part in parts},
            trains=(),
            sources={},
            student=student,
            teachers=tuple(teachers),
            layers={m: {r: self.graph.members[m].layers(r) for r in ROLES} for m in networks},
        )

    def _taps(
        self, member: str, teachers: Sequence[Teacher], kind: str, of_student: bool
    ) -> tuple[str, ...]:
        """Return the layers of a member that the losses of a stage read."""
        if kind not in ("hint", "distill"):
            return ()
        losses = [t.loss for t in teachers if t.loss.hinted == (kind == "hint")]
        roles = dict.fromkeys(role for loss in losses for role in loss.roles(of_student))
        layers = [layer for role in roles for layer in self.graph.members[member].layers(role)]
        return tuple(dict.fromkeys(layers))

    def _add(self, node: StageNode) -> None:
        """Add a stage, with the stages that leave the weights it starts from."""
        first = node.kind in ("ci", "pretrain", "alone")
        found = {} if first else {name: self._source(p, node) for name, p in node.parts.items()}
        sources = {name: stage for name, stage in found.items() if stage}
        self.stages[node.name] = replace(node, sources=sources)

    def _source(self, part: Part, node: StageNode) -> str | None:
        if part.kind == "masknet" and part.name not in node.trains:
            return f"sta-{part.student}-{part.member}.{part.point}"
        if part.kind != "network":
            return None
        if part.name == node.student and part.name in node.trains:
            return self._start(part.member)
        # An assistant teaches with what it has learned; a target with its first weights.
        assistant = part.member not in self.graph.targets
        return (self.last.get(part.member) if assistant else None) or self.initial[part.member]

    def _start(self, student: str) -> str | None:
        """A student starts from weights it needed anyway, else from scratch."""
        if student in self.hinted:
            return self.hinted[student]
        masked = any(teacher.point for teacher in self.teachers[student])
        mutual = any(student in component for component in self.graph.mutual_components())
        needed = (masked or mutual) and not self.graph.fresh
        return self.initial.get(student) if needed else None


def _masknet(student: str, teacher: Teacher) -> Part:
    return Part("masknet", teacher.member, teacher.point, student)


def _settings(stage: Callable[[], Stage], scope: str) -> Stage:
    with gin.config_scope(scope or None):
        return stage()
