"""Derive: specialised teachers, the index map δ(j), and the schedule of stages a graph implies.

Nobody writes the schedule. Each stage needs weights, and whoever leaves them comes first, as in a
build system; independent stages stay independent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import networkx as nx

from mstgraph.graph import Graph
from mstgraph.methods.loss import EdgeLoss
from mstgraph.stages.ci import CI
from mstgraph.stages.distill import Distill
from mstgraph.stages.dkd import DKD
from mstgraph.stages.pretrain import Pretrain
from mstgraph.stages.sta import STA
from mstgraph.stages.stage import Stage

STAGES: Mapping[str, type[Stage]] = {
    "pretrain": Pretrain,
    "ci": CI,
    "sta": STA,
    "dkd": DKD,
    "distill": Distill,
}


@dataclass(frozen=True)
class Teacher:
    """Specialised teacher j of a student (Eq. 5–9), or a plain one if it has no mask point.

    Attributes:
        index: j, from 1.
        member: the member δ(j) it is made from (Eq. 7).
        point: its mask point; empty for a plain, unmasked teacher.
        loss: loss of its edge to the student.
    """

    index: int
    member: str
    point: str
    loss: EdgeLoss

    @property
    def name(self) -> str:
        """A name that does not change when other teachers come and go."""
        return f"{self.member}.{self.point}" if self.point else self.member


@dataclass(frozen=True)
class Part:
    """Something with weights: a member's network, a MaskNet, or a gate.

    Attributes:
        kind: what it is.
        member: whose network it is, whose feature it masks, or whose logits the gate reads.
        point: mask point of a MaskNet.
        student: whose language a MaskNet learns, whom a gate serves.
    """

    kind: Literal["network", "masknet", "gate"]
    member: str
    point: str = ""
    student: str = ""

    @property
    def name(self) -> str:
        """A name unique in the plan, fit for a file."""
        if self.kind == "network":
            return self.member
        return ".".join(filter(None, (self.kind, self.student, self.member, self.point)))


@dataclass(frozen=True)
class Forward:
    """How a response is computed: a member's network, possibly with a MaskNet at one point.

    Attributes:
        member: whose network answers.
        masknet: name of the MaskNet's part; empty for none.
        point: where it is inserted.
    """

    member: str
    masknet: str = ""
    point: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of all parts that the response depends on."""
        return (self.member, self.masknet) if self.masknet else (self.member,)


@dataclass(frozen=True)
class StageNode:
    """One stage of a plan.

    Attributes:
        name: unique, fit for a folder; does not depend on the index of a teacher.
        kind: "pretrain", "alone", "ci", "sta", "dkd" or "distill".
        scope: member in whose gin scope its settings stand.
        settings: the stage's settings and equations.
        members: member networks that it trains.
        student: the student it serves, empty for pretrain and ci.
        teachers: the teachers it uses, in order.
        mutual: mutual edges it trains, each once.
        gate: name of the gate's part, or empty.
        forwards: name of a response → how it is computed.
        parts: everything with weights that takes part.
        trains: names of the parts that are trained; all others are frozen.
        sources: name of a part → stage that leaves its weights; a part without one is initialised
            here.
        hash: names all that can change the result; empty until `mstgraph.identity` fills it.
        identity: what the hash was made from.
    """

    name: str
    kind: str
    scope: str
    settings: Stage
    members: tuple[str, ...]
    forwards: Mapping[str, Forward]
    parts: Mapping[str, Part]
    trains: tuple[str, ...]
    sources: Mapping[str, str]
    student: str = ""
    teachers: tuple[Teacher, ...] = ()
    mutual: tuple[tuple[str, str], ...] = ()
    gate: str = ""
    hash: str = ""
    identity: Mapping[str, Any] = field(default_factory=dict)

    @property
    def freezes(self) -> tuple[str, ...]:
        """Names of the parts that take part but are not trained."""
        return tuple(name for name in self.parts if name not in self.trains)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the stages whose weights it starts from."""
        return tuple(dict.fromkeys(self.sources.values()))


@dataclass(frozen=True)
class Plan:
    """The stages that a graph implies.

    Attributes:
        graph: the graph.
        teachers: student → its teachers j = 1…N, in order.
        stages: name → stage, each after all that it needs.
        last: student → name of the stage that leaves its final weights.
    """

    graph: Graph
    teachers: Mapping[str, tuple[Teacher, ...]]
    stages: Mapping[str, StageNode]
    last: Mapping[str, str]

    def dag(self) -> nx.DiGraph:
        """Return the DAG of stages; an edge goes from a stage to one that needs it."""
        dag = nx.DiGraph()
        dag.add_nodes_from(self.stages)
        dag.add_edges_from((need, n.name) for n in self.stages.values() for need in n.needs)
        return dag

    def delta(self, student: str, j: int) -> int:
        """Return δ(j), the index of the member that teacher j is made from (Eq. 7)."""
        return list(self.graph.members).index(self.teachers[student][j - 1].member)


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
    3. A student's last stage needs all its teachers: DKD under a gate, else distill.
    4. A student starts its last stage from the weights it has, else from scratch.
    """
    teachers = {student: specialised_teachers(graph, student) for student in graph.students()}
    builder = _Builder(graph, teachers)
    for component in graph.mutual_components():
        builder.add_ci(component)
    for name in _needing_pretraining(graph, teachers, builder.initial):
        builder.add_pretrain(name)
    for student in _assistants_first(graph):
        builder.add_student(student)
    last = {**{name: builder.initial[name] for name in graph.targets if name in builder.initial}}
    last |= builder.last
    if graph.alone:
        for target in graph.targets:
            builder.add_alone(target, last[target])
    plan = Plan(graph, teachers, builder.stages, last)
    ordered = nx.lexicographical_topological_sort(plan.dag(), key=list(plan.stages).index)
    return replace(plan, stages={name: plan.stages[name] for name in ordered})


def _needing_pretraining(
    graph: Graph, teachers: Mapping[str, tuple[Teacher, ...]], initial: Mapping[str, str]
) -> list[str]:
    """Teachers that nobody else trains, and students whose responses STA needs."""
    ready_later = {name for name in graph.students() if name not in graph.targets}
    sources = {teacher.member for group in teachers.values() for teacher in group} - ready_later
    asked = {student for student, group in teachers.items() if any(t.point for t in group)}
    return [name for name in graph.members if name in sources | asked and name not in initial]


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
        self._add(name, "ci", scope="", members=component, mutual=mutual)
        self.initial |= dict.fromkeys(component, name)

    def add_pretrain(self, member: str) -> None:
        name = f"pretrain-{member}"
        self._add(name, "pretrain", scope=member, members=(member,))
        self.initial[member] = name

    def add_student(self, student: str) -> None:
        for teacher in self.teachers[student]:
            if teacher.point:
                self._add_sta(student, teacher)
        group = self.teachers[student]
        gate = Part("gate", "", student=student)
        gated = self.graph.gate is not None and student in self.graph.targets
        kind = "dkd" if gated else "distill"
        self._add(
            f"{kind}-{student}",
            kind,
            scope=student,
            members=(student,),
            student=student,
            teachers=group,
            extra=(gate,) if gated else (),
            gate=gate.name if gated else "",
        )
        self.last[student] = f"{kind}-{student}"

    def add_alone(self, target: str, last: str) -> None:
        """The same network with the same number of epochs, without distillation."""
        final = self.stages[last].settings
        settings = Pretrain(
            epochs=self._epochs(target, last),
            learning_rate=final.learning_rate,
            optimizer=final.optimizer,
            batch_size=final.batch_size,
            select=final.select,
        )
        self._add(f"alone-{target}", "alone", scope=target, members=(target,), settings=settings)

    def _epochs(self, member: str, last: str) -> int:
        """Epochs behind the weights that a stage leaves for a member, its first ones included."""
        node = self.stages[last]
        before = node.sources.get(member)
        return node.settings.epochs + (self._epochs(member, before) if before else 0)

    def _add_sta(self, student: str, teacher: Teacher) -> None:
        masknet = self._masknet(student, teacher)
        self._add(
            f"sta-{student}-{teacher.name}",
            "sta",
            scope=teacher.member,
            members=(),
            student=student,
            teachers=(teacher,),
            extra=(masknet,),
        )

    def _masknet(self, student: str, teacher: Teacher) -> Part:
        return Part("masknet", teacher.member, teacher.point, student)

    def _add(
        self,
        name: str,
        kind: str,
        *,
        scope: str,
        members: tuple[str, ...],
        student: str = "",
        teachers: tuple[Teacher, ...] = (),
        mutual: tuple[tuple[str, str], ...] = (),
        extra: tuple[Part, ...] = (),
        gate: str = "",
        settings: Stage | None = None,
    ) -> None:
        forwards = {m: Forward(m) for m in (*members, *filter(None, [student]))}
        for teacher in teachers:
            masknet = self._masknet(student, teacher).name if teacher.point else ""
            forwards[teacher.name] = Forward(teacher.member, masknet, teacher.point)
        parts = {part.name: part for part in self._parts_of(student, teachers, forwards, extra)}
        trains = (*members, *(part.name for part in extra))
        first = kind in ("ci", "pretrain", "alone")
        sources = {} if first else self._sources(parts, trains)
        self.stages[name] = StageNode(
            name=name,
            kind=kind,
            scope=scope,
            settings=settings or _settings(kind, scope),
            members=members,
            forwards=forwards,
            parts=parts,
            trains=trains,
            sources=sources,
            student=student,
            teachers=teachers,
            mutual=mutual,
            gate=gate,
        )

    def _parts_of(
        self,
        student: str,
        teachers: tuple[Teacher, ...],
        forwards: Mapping[str, Forward],
        extra: tuple[Part, ...],
    ) -> list[Part]:
        networks = dict.fromkeys(forward.member for forward in forwards.values())
        masknets = [self._masknet(student, teacher) for teacher in teachers if teacher.point]
        return [*(Part("network", name) for name in networks), *masknets, *extra]

    def _sources(self, parts: Mapping[str, Part], trains: tuple[str, ...]) -> dict[str, str]:
        sources = {name: self._source(part, name in trains) for name, part in parts.items()}
        return {name: stage for name, stage in sources.items() if stage}

    def _source(self, part: Part, trained: bool) -> str | None:
        if part.kind == "masknet" and not trained:
            return f"sta-{part.student}-{part.member}.{part.point}"
        if part.kind != "network":
            return None
        if trained:  # a student starts from weights it needed anyway, else from scratch
            masked = any(teacher.point for teacher in self.teachers[part.member])
            mutual = self.graph.mutual_components()
            needed = masked or any(part.member in component for component in mutual)
            return self.initial.get(part.member) if needed else None
        # An assistant teaches with what it has learned; a target with its first weights.
        assistant = part.member not in self.graph.targets
        return (self.last.get(part.member) if assistant else None) or self.initial[part.member]


def _settings(kind: str, scope: str) -> Stage:
    import gin

    with gin.config_scope(scope or None):
        return STAGES[kind]()
