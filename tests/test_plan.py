"""What a graph implies: N, δ(j), the stages, and who leaves which weights."""

from __future__ import annotations

import random
from collections.abc import Callable

import gin
import networkx as nx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_graphs import TWO

from mstgraph.experiment import Experiment
from mstgraph.gate import Gate
from mstgraph.derive import derive
from mstgraph.graph import Graph, Member
from mstgraph.networks.mlp import MLP
from mstgraph.plan import Plan

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
PLAIN = """
graph.target = 'rgb'
graph.rgb = @rgb/Member()
graph.depth = @depth/Member()
"""


def delta(sizes: list[int], target: int, j: int) -> int:
    """Eq. 7 as it is written: the smallest i ≠ t with j ≤ Σ N over the members up to i."""
    sizes = [0 if i == target else n for i, n in enumerate(sizes)]
    return min(i for i in range(len(sizes)) if i != target and j <= sum(sizes[: i + 1]))


def settings_of(plan: Plan) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return stage → what it trains, what it needs."""
    return {name: (node.trains, node.needs) for name, node in plan.stages.items()}


def test_the_papers_graph(experiment: Make) -> None:
    """Two modalities and a fused member: CI, four STA, DKD, and the student alone."""
    plan = experiment().plan
    assert list(plan.graph.members) == ["fused", "rgb", "depth"]
    assert [t.name for t in plan.teachers["rgb"]] == [
        "fused.fusion",
        "fused.hidden1",
        "depth.hidden1",
        "depth.hidden2",
    ]
    stas = [f"sta-rgb-{t.name}" for t in plan.teachers["rgb"]]
    assert settings_of(plan) == {
        "ci": (("fused", "rgb", "depth"), ()),
        **{s: ((f"masknet.{s[4:].replace('-', '.')}",), ("ci",)) for s in stas},
        "dkd-rgb": (("rgb", "gate.rgb"), ("ci", *stas)),
        "alone-rgb": (("rgb",), ()),
    }
    assert plan.stages["ci"].mutual == (("fused", "rgb"), ("fused", "depth"), ("rgb", "depth"))
    assert plan.stages["sta-rgb-depth.hidden1"].freezes == ("rgb", "depth")
    assert plan.stages["dkd-rgb"].freezes == (
        "fused",
        "depth",
        *(f"masknet.rgb.{t.name}" for t in plan.teachers["rgb"]),
    )
    assert plan.last == {"rgb": "dkd-rgb"}


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


def test_several_targets_share_ci_and_nothing_else(experiment: Make) -> None:
    """CI is trained once; each target has its own MaskNets, gate and DKD."""
    text = TWO.replace("'rgb'\n", "('rgb', 'depth')\n") + "rgb/Member.masks = ('hidden1',)\n"
    plan = experiment(text).plan
    kinds = [node.kind for node in plan.stages.values()]
    assert kinds.count("ci") == 1
    assert kinds.count("sta") == 4 + 3
    assert [n for n in plan.stages if n.startswith(("dkd", "alone"))] == [
        "dkd-rgb",
        "dkd-depth",
        "alone-rgb",
        "alone-depth",
    ]
    masknets = [p for n in plan.stages.values() if n.kind == "sta" for p in n.trains]
    assert len(set(masknets)) == 7
    # As a teacher, a target answers with the weights of CI, not with those of its own DKD.
    assert plan.stages["dkd-depth"].sources["rgb"] == "ci"


def test_no_masks_and_no_gate_is_plain_distillation(experiment: Make) -> None:
    """A teacher that nobody is aligned with is pre-trained; the student starts from scratch."""
    plan = experiment(PLAIN).plan
    assert settings_of(plan) == {
        "pretrain-depth": (("depth",), ()),
        "distill-rgb": (("rgb",), ("pretrain-depth",)),
        "alone-rgb": (("rgb",), ()),
    }
    assert [(t.index, t.member, t.point) for t in plan.teachers["rgb"]] == [(1, "depth", "")]
    assert plan.stages["alone-rgb"].settings.epochs == plan.stages["distill-rgb"].settings.epochs


def test_masks_on_some_members(experiment: Make) -> None:
    """A member without a mask point is one plain teacher beside the specialised ones."""
    plan = experiment(TWO, "depth/Member.masks = ()").plan
    names = [t.name for t in plan.teachers["rgb"]]
    assert names == ["fused.fusion", "fused.hidden1", "depth"]
    assert [n for n in plan.stages if n.startswith("sta")] == [f"sta-rgb-{n}" for n in names[:2]]
    assert plan.stages["dkd-rgb"].forwards["depth"].parts == ("depth",)


def test_masks_without_mutual_pretrain_the_student_too(experiment: Make) -> None:
    """STA needs the student's responses: it is pre-trained, and starts its DKD from there."""
    plan = experiment(TWO, "Member.mutual = ()").plan
    pretrained = [n for n in plan.stages if n.startswith("pretrain")]
    assert pretrained == ["pretrain-fused", "pretrain-rgb", "pretrain-depth"]
    assert plan.stages["dkd-rgb"].sources["rgb"] == "pretrain-rgb"
    epochs = [plan.stages[n].settings.epochs for n in ("pretrain-rgb", "dkd-rgb", "alone-rgb")]
    assert epochs[2] == epochs[0] + epochs[1]


def test_mutual_components_train_apart(experiment: Make) -> None:
    """One CI per connected component, and pre-training for whom nobody is aligned with."""
    text = (
        PLAIN
        + "rgb/Member.mutual = 'depth'\n"
        + "".join(f"graph.{n} = @{n}/Member()\n" for n in ("audio", "normals", "touch"))
        + "audio/Member.mutual = 'normals'\n"
    )
    plan = experiment(text).plan
    assert list(plan.stages) == [
        "ci",
        "ci-audio",
        "pretrain-touch",
        "distill-rgb",
        "alone-rgb",
    ]
    assert plan.stages["distill-rgb"].needs == ("ci", "ci-audio", "pretrain-touch")


def test_an_assistant_teaches_with_what_it_was_taught(experiment: Make) -> None:
    """With audio → depth → rgb, the stages of rgb see depth's distilled weights."""
    text = PLAIN + "graph.audio = @audio/Member()\naudio/Member.teaches = 'depth'\n"
    plan = experiment(text, "depth/Member.masks = 'hidden1'").plan
    assert settings_of(plan) == {
        "pretrain-rgb": (("rgb",), ()),
        "pretrain-audio": (("audio",), ()),
        "distill-depth": (("depth",), ("pretrain-audio",)),
        "sta-rgb-depth.hidden1": (
            ("masknet.rgb.depth.hidden1",),
            ("pretrain-rgb", "distill-depth"),
        ),
        "distill-rgb": (
            ("rgb",),
            ("pretrain-rgb", "distill-depth", "sta-rgb-depth.hidden1"),
        ),
        "alone-rgb": (("rgb",), ()),
    }


def test_weights_that_are_not_built_upon_do_not_count_as_budget(experiment: Make) -> None:
    """Two plain targets teach each other after pre-training, but distil from scratch."""
    text = PLAIN.replace("'rgb'\n", "('rgb', 'depth')\n")
    plan = experiment(text, "Pretrain.epochs = 7", "Distill.epochs = 5").plan
    assert plan.stages["distill-rgb"].sources == {"depth": "pretrain-depth"}
    assert plan.stages["alone-rgb"].settings.epochs == 5


def test_settings_are_read_in_the_members_scope(experiment: Make) -> None:
    """A teacher's scope rules its STA, the student's its DKD, nobody's scope the CI."""
    plan = experiment(TWO, "depth/STA.epochs = 3", "rgb/DKD.epochs = 4", "CI.epochs = 2").plan
    epochs = {name: node.settings.epochs for name, node in plan.stages.items()}
    assert epochs["sta-rgb-depth.hidden2"] == 3
    assert epochs["sta-rgb-fused.fusion"] == 100
    assert (epochs["ci"], epochs["dkd-rgb"], epochs["alone-rgb"]) == (2, 4, 6)


def test_no_alone(experiment: Make) -> None:
    """``graph.alone = False`` leaves the comparison out."""
    assert "alone-rgb" not in experiment(TWO, "graph.alone = False").plan.stages


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 10_000))
def test_the_order_of_statements_means_nothing(experiment: Make, seed: int) -> None:
    """Any order of a file's statements gives the same stages with the same hashes."""
    text = TWO.replace(
        "fused/Member:\n  network = @FusedMLP\n  inputs = ('rgb', 'depth')\n  masks =",
        "fused/Member.network = @FusedMLP\nfused/Member.inputs = ('rgb', 'depth')\n"
        "fused/Member.masks =",
    )
    lines = text.split("\n")
    random.Random(seed).shuffle(lines)
    plan, other = experiment(text).plan, experiment("\n".join(lines)).plan
    assert list(plan.stages) == list(other.stages)
    assert {n: s.hash for n, s in plan.stages.items()} == {
        n: s.hash for n, s in other.stages.items()
    }


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
    masks = [draw(st.sampled_from([(), ("a",), ("a", "b")])) for _ in names]
    members = {
        name: Member(network=MLP, inputs=(name,), masks=points)
        for name, points in zip(names, masks, strict=True)
    }
    for target in targets:
        if edges.in_degree(target) == 0:
            teacher = next(name for name in names if name != target)
            edges.add_edge(teacher, target, key="mutual")
            edges.add_edge(target, teacher, key="mutual")
    order = {name: i for i, name in enumerate(names)}
    gate = draw(st.sampled_from([None, Gate]))
    ordered = tuple(sorted(targets, key=order.__getitem__))
    return Graph(members, ordered, gate, draw(st.booleans()), 0, edges)


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
    """Each member's first weights, and each MaskNet, come from one stage."""
    gin.clear_config()
    stages = derive(graph).stages.values()
    first = [m for n in stages if n.kind in ("ci", "pretrain") for m in n.trains]
    masknets = [m for n in stages if n.kind == "sta" for m in n.trains]
    assert len(first) == len(set(first))
    assert len(masknets) == len(set(masknets))
