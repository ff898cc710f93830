"""N and δ(j) of a plan, and what must hold of the plan of any graph."""

from __future__ import annotations

from collections.abc import Callable

import gin
import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_graphs import TWO

from mstgraph.declare.graph import Declaration, Graph, Member
from mstgraph.derive.experiment import Experiment
from mstgraph.derive.schedule import derive
from mstgraph.distil.gate import Gate
from mstgraph.methods.c2kd import C2KD
from mstgraph.methods.crd import CRD
from mstgraph.methods.fitnets import FitNets
from mstgraph.methods.kl import KL
from mstgraph.networks.mlp import MLP
from mstgraph.stages.ci import CI
from mstgraph.stages.distill import Distill
from mstgraph.stages.dkd import DKD
from mstgraph.stages.node import Teacher
from mstgraph.stages.pretrain import Pretrain
from mstgraph.stages.sta import STA
from mstgraph.stages.stage import StageNode

Make = Callable[..., Experiment]

SIX = (
    TWO
    + "".join(
        f"graph.{name} = @{name}/Member()\n{name}/Member.masks = ('hidden1',)\n"
        for name in ("audio", "normals", "touch", "smell")
    )
    + """
graph.all = @all/Member()
all/Member:
  network = @FusedMLP
  inputs = ('rgb', 'depth', 'audio', 'normals', 'touch', 'smell')
  masks = ('hidden2', 'fusion', 'hidden1')
"""
)


def delta(sizes: list[int], target: int, j: int) -> int:
    """Eq. 7 as it is written: the smallest i ≠ t with j ≤ Σ N over the members up to i."""
    sizes = [0 if i == target else n for i, n in enumerate(sizes)]
    return min(i for i in range(len(sizes)) if i != target and j <= sum(sizes[: i + 1]))


@pytest.mark.parametrize("text", [TWO, SIX, SIX.replace("target = 'rgb'", "target = 'smell'")])
def test_index_map_agrees_with_equation_7(experiment: Make, text: str) -> None:
    """δ(j) and N of Eq. 5 on two and six modalities, one and two fused members."""
    plan = experiment(text).plan
    (target,) = plan.graph.targets
    names = list(plan.graph.members)
    sizes = [len(plan.graph.members[n].masks) or 1 for n in names]
    t = names.index(target)
    count = sum(n for i, n in enumerate(sizes) if i != t)
    assert len(plan.teachers[target]) == count
    expected = [delta(sizes, t, j) for j in range(1, count + 1)]
    assert [plan.delta(target, j) for j in range(1, count + 1)] == expected


def test_six_modalities_and_two_fused_members(experiment: Make) -> None:
    """N = 3 + 2 + 2 + 4, mask points in the order given; one CI over all eight members."""
    plan = experiment(SIX).plan
    assert [t.name for t in plan.teachers["rgb"]] == [
        "all.hidden2",
        "all.fusion",
        "all.hidden1",
        "fused.fusion",
        "fused.hidden1",
        "depth.hidden1",
        "depth.hidden2",
        "audio.hidden1",
        "normals.hidden1",
        "touch.hidden1",
        "smell.hidden1",
    ]
    assert len(plan.stages["ci"].members) == 8
    assert len(plan.stages["ci"].mutual) == 8 * 7 / 2


class Polish(STA):
    """A second stage for what is inserted at a mask point."""

    kind = "polish"


LOSSES = (KL(), FitNets(), CRD(), C2KD())  # plain, hinted, with an adapter, training the teacher


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any graph that `declare` would let through: one-way edges among non-targets go downwards."""
    count = draw(st.integers(2, 6))
    names = [f"m{i}" for i in range(count)]
    targets = tuple(draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True)))
    edges = nx.MultiDiGraph()
    edges.add_nodes_from(names)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            if draw(st.booleans()):
                edges.add_edge(one, other, key="teaches")
            if draw(st.integers(0, 2)) == 0:
                edges.add_edge(one, other, key="mutual")
                edges.add_edge(other, one, key="mutual")
    gate = draw(st.sampled_from([None, Gate]))
    members = {
        name: Member(
            network=MLP,
            inputs=(name,),
            masks=draw(st.sampled_from([(), ("a",), ("a", "b")])),
            hints=("a", "b"),
            penultimate="b",
            # A gate routes responses alone.
            loss=KL() if gate else draw(st.sampled_from(LOSSES)),
        )
        for name in names
    }
    for target in targets:
        if edges.in_degree(target) == 0:
            teacher = next(name for name in names if name != target)
            edges.add_edge(teacher, target, key="mutual")
            edges.add_edge(target, teacher, key="mutual")
    order = {name: i for i, name in enumerate(names)}
    ordered = tuple(sorted(targets, key=order.__getitem__))
    settings = Declaration(
        gate=gate,
        alone=draw(st.booleans()),
        fresh=draw(st.booleans()),
        initialisation=draw(st.sampled_from([(), CI, (Pretrain, CI)])),
        adaptation=draw(st.sampled_from([(), STA, (STA, Polish)])),
        distillation=draw(st.sampled_from([(), Distill, (DKD, Distill) if gate else Distill])),
    )
    return Graph(members, ordered, edges, settings)


def reads_features(node: StageNode, teacher: Teacher) -> bool:
    """Whether the loss of an edge reads layers in a stage: hints before the last one."""
    if node.kind not in ("hint", "distill"):
        return False
    return teacher.loss.hinted == (node.kind == "hint") and bool(teacher.loss.reads)


@settings(max_examples=120, deadline=None)
@given(graph=graphs())
def test_every_plan_can_be_carried_out(graph: Graph) -> None:
    """No stage comes before what it needs; nothing frozen is untrained; sources train the part."""
    gin.clear_config()
    plan = derive(graph)
    assert nx.is_directed_acyclic_graph(plan.dag())
    seen: set[str] = set()
    for name, node in plan.stages.items():
        assert set(node.needs) <= seen
        seen.add(name)
        assert node.trains
        for part, source in node.sources.items():
            assert part in plan.stages[source].trains
        for part in node.freezes:
            assert part in node.sources
        for forward in node.forwards.values():
            assert set(forward.parts) <= set(node.parts)
        needs_gate = node.kind == "dkd"
        assert bool(node.gate) == needs_gate
        for teacher in node.teachers:
            taps = node.forwards[teacher.name].taps
            assert bool(taps) == reads_features(node, teacher)
            if node.settings.place != "mask" and teacher.loss.trains_teacher:
                assert teacher.member in node.trains
    for target in graph.targets:
        assert target in plan.stages[plan.last[target]].trains


@settings(max_examples=120, deadline=None)
@given(graph=graphs())
def test_every_teacher_is_counted_once(graph: Graph) -> None:
    """N of Eq. 5 and δ(j) of Eq. 7 for every student of any graph."""
    gin.clear_config()
    plan = derive(graph)
    names = list(graph.members)
    for student, teachers in plan.teachers.items():
        sizes = [
            (len(graph.members[n].masks) or 1) if graph.edges.has_edge(n, student, "teaches") else 0
            for n in names
        ]
        t = names.index(student)
        assert len(teachers) == sum(sizes)
        for teacher in teachers:
            assert plan.delta(student, teacher.index) == delta(sizes, t, teacher.index)
        assert [teacher.index for teacher in teachers] == list(range(1, len(teachers) + 1))


@settings(max_examples=60, deadline=None)
@given(graph=graphs())
def test_no_member_is_trained_twice_before_its_last_stage(graph: Graph) -> None:
    """First weights, and each MaskNet, gate and adapter, train once in each stage of a row."""
    gin.clear_config()
    stages = derive(graph).stages.values()
    first = [(n.kind, m) for n in stages if n.kind in ("ci", "pretrain") for m in n.trains]
    own = [
        (n.kind, name)
        for n in stages
        for name, part in n.parts.items()
        if part.kind in ("masknet", "adapter", "gate") and name in n.trains
    ]
    assert len(first) == len(set(first))
    assert len(own) == len(set(own))
