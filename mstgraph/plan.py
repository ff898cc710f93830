"""What a graph implies: specialised teachers, the index map δ(j), and the DAG of stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import networkx as nx

from mstgraph.graph import Graph
from mstgraph.methods.loss import EdgeLoss
from mstgraph.stages.stage import Stage


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
    """Something with weights: a member's network, a MaskNet, a gate, or what a loss trains.

    Attributes:
        kind: what it is.
        member: whose network it is, whose feature it masks, whose logits the gate reads, or whose
            edge an adapter belongs to.
        point: mask point of a MaskNet, or of the teacher that an adapter belongs to.
        student: whose language a MaskNet learns, whom a gate or an adapter serves.
    """

    kind: Literal["network", "masknet", "gate", "adapter"]
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
        taps: layers whose outputs are wanted beside the logits.
    """

    member: str
    masknet: str = ""
    point: str = ""
    taps: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of all parts that the response depends on."""
        return (self.member, self.masknet) if self.masknet else (self.member,)


@dataclass(frozen=True)
class StageNode:
    """One stage of a plan.

    Attributes:
        name: unique, fit for a folder; does not depend on the index of a teacher.
        kind: "pretrain", "alone", "ci", "sta", "hint", "dkd" or "distill".
        scope: member in whose gin scope its settings stand.
        settings: the stage's settings and equations.
        members: member networks that it trains.
        student: the student it serves; empty for pretrain, and for ci unless it is the student's
            last stage.
        teachers: the teachers it uses, in order.
        mutual: mutual edges it trains, each once.
        gate: name of the gate's part, or empty.
        adapters: name of a teacher → name of the part that its loss trains.
        layers: member → role → layers that play it (`mstgraph.methods.loss.ROLES`).
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
    adapters: Mapping[str, str] = field(default_factory=dict)
    layers: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
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
