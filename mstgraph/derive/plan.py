"""What a graph implies: specialised teachers, the index map δ(j), and the DAG of stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import networkx as nx

from mstgraph.declare.graph import Graph
from mstgraph.stages.node import Teacher
from mstgraph.stages.stage import StageNode


@dataclass(frozen=True)
class Plan:
    """The stages that a graph implies.

    Attributes:
        graph: the graph.
        teachers: student → its teachers j = 1…N, in order.
        stages: name → stage, each after all that it needs.
        last: student → name of the stage that leaves its final weights.
        alone: target → name of the stage that trains it without distillation.
        adapted: student → name of a specialised teacher → name of the stage that leaves its mask.
    """

    graph: Graph
    teachers: Mapping[str, tuple[Teacher, ...]]
    stages: Mapping[str, StageNode]
    last: Mapping[str, str]
    alone: Mapping[str, str]
    adapted: Mapping[str, Mapping[str, str]]

    def dag(self) -> nx.DiGraph:
        """Return the DAG of stages; an edge goes from a stage to one that needs it."""
        dag = nx.DiGraph()
        dag.add_nodes_from(self.stages)
        dag.add_edges_from((need, n.name) for n in self.stages.values() for need in n.needs)
        return dag

    def delta(self, student: str, j: int) -> int:
        """Return δ(j), the index of the member that teacher j is made from (Eq. 7)."""
        return list(self.graph.members).index(self.teachers[student][j - 1].member)
