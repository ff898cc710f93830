"""Derive: from a graph to its specialised teachers and the schedule of stages.

Nobody writes the schedule. Each stage needs weights, and whoever leaves them comes first, as in a
build system; independent stages stay independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import gin
import networkx as nx

from mstgraph.declare.graph import Graph
from mstgraph.derive.plan import Plan, behind
from mstgraph.distil.gate import layers_read
from mstgraph.methods.loss import ROLES
from mstgraph.stages.ci import CI
from mstgraph.stages.distill import Distill
from mstgraph.stages.dkd import DKD
from mstgraph.stages.given import Given
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

    1. Members joined by mutual edges train together (``graph.initialisation``, by default CI, one
       per connected component); one that needs weights before its last stage and has no mutual
       edge is pre-trained alone, or taken as it is if it is not to be trained.
    2. Each specialised teacher with a mask point needs its member and the student
       (``graph.adaptation``, by default STA).
    3. A student whose teachers' losses want it has a hint stage before its last ones.
    4. A student's last stages need all its teachers (``graph.distillation``, by default DKD under
       a gate, else Distill).
    5. A student starts these from the weights it has, else from scratch.
    """
    teachers = {student: specialised_teachers(graph, student) for student in graph.students()}
    builder = _Builder(graph, teachers)
    for component in graph.mutual_components():
        builder.add_component(component)
    for name in _needing_pretraining(graph, teachers, builder.initial):
        builder.add_single(name)
    for student in _assistants_first(graph):
        builder.add_student(student)
    last = {name: builder.initial[name] for name in graph.targets if name in builder.initial}
    last |= builder.last
    alone = {}
    if graph.settings.alone:
        taught = [target for target in graph.targets if graph.edges.degree(target)]
        alone = {target: builder.add_alone(target, last[target]) for target in taught}
    plan = Plan(graph, teachers, builder.stages, last, alone, builder.adapted)
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
        self.mutual = {name for component in graph.mutual_components() for name in component}
        self.stages: dict[str, StageNode] = {}
        self.initial: dict[str, str] = {}  # member → stage that leaves its first weights
        self.under_way: dict[str, str] = {}  # student → the newest of its own stages
        self.last: dict[str, str] = {}  # student → its last stage
        self.adapted: dict[str, dict[str, str]] = {}  # student → teacher → its last adaptation
        self.held: dict[tuple[str, str], str] = {}  # (student, part) → stage that trained it last

    def add_component(self, component: tuple[str, ...]) -> None:
        """Add the stages that give members joined by mutual edges their first weights."""
        row = self.graph.settings.initialisation or (CI,)
        for stage in row:
            if stage.place == "member":
                for member in component:
                    self._add_member(stage, member)
            else:
                self._add_members(stage, component, final=stage is row[-1])

    def add_single(self, member: str) -> None:
        """Add the stages that give a member without mutual edges its first weights."""
        if not self.graph.members[member].trained:
            self._add_member(Given, member)
            return
        row = [s for s in self.graph.settings.initialisation if s.place == "member"]
        for stage in row or (Pretrain,):
            self._add_member(stage, member)

    def add_student(self, student: str) -> None:
        """Add all that comes before a student's last stage and is its own, and that stage."""
        teachers = self.teachers[student]
        self.adapted[student] = {}
        for teacher in teachers:
            if teacher.point:
                for stage in self.graph.settings.adaptation or (STA,):
                    self._add_adaptation(stage, student, teacher)
        if hinting := [teacher for teacher in teachers if teacher.loss.hinted]:
            self._add_taught(Hint, student, hinting)
        for stage in self._last_row(student):
            self._add_taught(stage, student, teachers)
        self.last[student] = self.under_way[student]

    def add_alone(self, target: str, last: str) -> str:
        """Add the same network with the same number of epochs, without distillation."""
        final = self.stages[last].settings
        settings = Pretrain(
            epochs=sum(self.stages[n].settings.epochs for n in behind(self.stages, last, target)),
            learning_rate=final.learning_rate,
            schedule=final.schedule,
            optimizer=final.optimizer,
            batch_size=final.batch_size,
            select=final.select,
            patience=final.patience,
            ema=final.ema,
            clip=final.clip,
            accumulate=final.accumulate,
            rates=final.rates,
        )
        name = f"alone-{target}"
        node = self._node(name, settings, target, members=(target,))
        self.stages[name] = replace(node, kind="alone", trains=(target,))
        return name

    def _last_row(self, student: str) -> Sequence[type[Stage]]:
        """Return the stages that a student ends with; a gate serves targets alone."""
        settings = self.graph.settings
        gated = settings.gate is not None and student in self.graph.targets
        row = [stage for stage in settings.distillation if gated or not stage.gated]
        return row or [DKD if gated and not settings.distillation else Distill]

    def _add_members(self, stage: type[Stage], component: tuple[str, ...], final: bool) -> None:
        edges, targets = self.graph.edges, self.graph.targets
        mutual = tuple(
            (one, other)
            for i, one in enumerate(component)
            for other in component[i + 1 :]
            if edges.has_edge(one, other, key="mutual")
        )
        settings = _settings(stage, "")
        # The name of the target's component does not change when another one comes or goes.
        kind = settings.kind
        name = kind if targets[0] in component else f"{kind}-{component[0]}"
        # Whom nobody teaches afterwards, as in mutual learning, has only this stage.
        ending = [t for t in targets if t in component and t not in self.teachers and final]
        node = self._node(name, settings, "", members=component)
        student = ending[0] if len(ending) == 1 else ""
        self._add(replace(node, mutual=mutual, trains=component, student=student))
        self.initial |= dict.fromkeys(component, name)

    def _add_member(self, stage: type[Stage], member: str) -> None:
        settings = _settings(stage, member)
        node = self._node(f"{settings.kind}-{member}", settings, member, members=(member,))
        trained = self.graph.members[member].trained
        self._add(replace(node, trains=(member,)) if trained else replace(node, takes=(member,)))
        self.initial[member] = node.name

    def _add_adaptation(self, stage: type[Stage], student: str, teacher: Teacher) -> None:
        settings, masknet = _settings(stage, teacher.member), _masknet(student, teacher).name
        name = f"{settings.kind}-{student}-{teacher.name}"
        guides = settings.guides(student, self.graph.teachers_of(student))
        node = self._node(name, settings, teacher.member, (), student, [teacher], guides)
        self._add(replace(node, trains=(masknet,)))
        self.adapted[student][teacher.name] = name

    def _add_taught(self, stage: type[Stage], student: str, teachers: Sequence[Teacher]) -> None:
        """Add a stage that trains the student beside what the losses of its teachers train."""
        settings = _settings(stage, student)
        name, hinting = f"{settings.kind}-{student}", settings.place == "hint"
        node = self._node(name, settings, student, (student,), student, teachers)
        # What trains in a hint stage has done its work there.
        adapted = [t for t in teachers if t.loss.adapts and t.loss.hinted == hinting]
        adapters = {t.name: Part("adapter", t.member, t.point, student) for t in adapted}
        gates = [Part("gate", "", student=student)] if settings.gated else []
        learning = () if hinting else [t.member for t in teachers if t.loss.trains_teacher]
        extra = {part.name: part for part in (*adapters.values(), *gates)}
        node = replace(
            node,
            parts={**node.parts, **extra},
            trains=tuple(dict.fromkeys((student, *learning, *extra))),
            adapters={teacher: part.name for teacher, part in adapters.items()},
            gate=gates[0].name if gates else "",
        )
        self._add(node)
        self.under_way[student] = name

    def _node(
        self,
        name: str,
        settings: Stage,
        scope: str,
        members: tuple[str, ...] = (),
        student: str = "",
        teachers: Sequence[Teacher] = (),
        guides: tuple[str, ...] = (),
    ) -> StageNode:
        """Return a stage with the networks and MaskNets that its responses need."""
        forwards = {m: Forward(m) for m in (*members, *guides)}
        if student in members:
            taps = self._taps(student, teachers, settings, True)
            forwards[student] = Forward(student, taps=taps)
        for teacher in teachers:
            masknet = _masknet(student, teacher).name if teacher.point else ""
            taps = self._taps(teacher.member, [teacher], settings, False)
            forwards[teacher.name] = Forward(teacher.member, masknet, teacher.point, taps)
        networks = dict.fromkeys(forward.member for forward in forwards.values())
        parts = [Part("network", name) for name in networks]
        parts += [_masknet(student, teacher) for teacher in teachers if teacher.point]
        return StageNode(
            name=name,
            kind=settings.kind,
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
        self, member: str, teachers: Sequence[Teacher], settings: Stage, of_student: bool
    ) -> tuple[str, ...]:
        """Return the layers of a member that the losses of a stage, or its gate, read."""
        hinting = settings.place == "hint"
        losses = [t.loss for t in teachers if settings.reads_edges and t.loss.hinted == hinting]
        roles = [role for loss in losses for role in loss.roles(of_student)]
        if settings.gated and of_student:
            roles += layers_read(self.graph.settings.gate)
        layers = [
            layer for r in dict.fromkeys(roles) for layer in self.graph.members[member].layers(r)
        ]
        return tuple(dict.fromkeys(layers))

    def _add(self, node: StageNode) -> None:
        """Add a stage, with the stages that leave the weights it starts from."""
        found = {name: self._source(name, part, node) for name, part in node.parts.items()}
        sources = {name: stage for name, stage in found.items() if stage}
        self.stages[node.name] = replace(node, sources=sources)
        if node.student:
            self.held |= {(node.student, name): node.name for name in node.trains}

    def _source(self, name: str, part: Part, node: StageNode) -> str | None:
        if node.settings.place in ("members", "member"):
            return self.initial.get(part.member)
        held = self.held.get((node.student, name))
        if held or part.kind != "network":
            return held
        if name == node.student and name in node.trains:
            return self._start(part.member)
        # An assistant teaches with what it has learned; a target with its first weights.
        assistant = part.member not in self.graph.targets
        return (self.last.get(part.member) if assistant else None) or self.initial[part.member]

    def _start(self, student: str) -> str | None:
        """A student starts from weights it needed anyway, else from scratch."""
        masked = any(teacher.point for teacher in self.teachers[student])
        needed = (masked or student in self.mutual) and not self.graph.settings.fresh
        return self.initial.get(student) if needed else None


def _masknet(student: str, teacher: Teacher) -> Part:
    return Part("masknet", teacher.member, teacher.point, student)


def _settings(stage: type[Stage], scope: str) -> Stage:
    with gin.config_scope(scope or None):
        return stage()
