"""The plan as a person reads it, as Graphviz dot and as Mermaid."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from conftest import TWO
from rich.console import Console

from mstgraph.document import plan_document
from mstgraph.experiment import Experiment
from mstgraph.files import write_json
from mstgraph.plan import StageNode
from mstgraph.run_folder import RunFolder
from mstgraph.show import dot, mermaid, print_plan

Make = Callable[..., Experiment]
SEVERAL = TWO.replace("target = 'rgb'", "target = ('rgb', 'depth')")


def nothing_done(node: StageNode) -> tuple[bool, str]:
    """Say that no stage is done."""
    return False, ""


def text(document: Mapping[str, Any], width: int) -> str:
    """Return what is printed on a console of some width."""
    stream = io.StringIO()
    print_plan(document, Console(file=stream, width=width))
    return stream.getvalue()


@pytest.mark.parametrize("width", [100, 160])
def test_the_schedule_says_what_each_stage_trains_and_freezes(experiment: Make, width: int) -> None:
    """One row per stage, in order, with the step from which on it can run."""
    found = text(plan_document(experiment(), nothing_done), width)
    assert max(map(len, found.splitlines())) <= width
    rows = [
        [cell.strip() for cell in line.split("│")]
        for line in found.partition("Schedule")[2].splitlines()
        if "│" in line
    ]
    assert rows == [
        ["1", "ci", "100", "fused, rgb, depth", "", "to do"],
        ["2", "sta-rgb-fused.fusion", "100", "MaskNet 1", "rgb, fused", "to do"],
        ["2", "sta-rgb-fused.hidden1", "100", "MaskNet 2", "rgb, fused", "to do"],
        ["2", "sta-rgb-depth.hidden1", "100", "MaskNet 3", "rgb, depth", "to do"],
        ["2", "sta-rgb-depth.hidden2", "100", "MaskNet 4", "rgb, depth", "to do"],
        ["3", "dkd-rgb", "100", "rgb, gate", "fused, depth, MaskNets 1–4", "to do"],
        ["1", "alone-rgb", "200", "rgb", "", "to do"],
    ]


def test_members_and_teachers_are_told(experiment: Make) -> None:
    """The index map, the feature's shape, the sizes, and that the data is synthetic."""
    found = text(plan_document(experiment(), nothing_done), 160)
    assert "tiny vectors · random numbers · classification, 3 outputs · 12 train" in found
    assert "Teachers of rgb: N = 4, under a gate of 52 parameters" in found
    assert re.search(r"3 │ +2 │ depth +│ hidden1 +│ 6 +│", found)


def test_parts_of_several_students_are_told_apart(experiment: Make) -> None:
    """With two students, a MaskNet and a gate say whose they are; gaps in a range are kept."""
    found = text(plan_document(experiment(SEVERAL), nothing_done), 160)
    assert "MaskNets 1–4 of rgb" in found
    assert "rgb, gate of rgb" in found
    plain_between = "graph.audio = @audio/Member()\naudio/Member.masks = 'hidden1'\n"
    bindings = "depth/Member.masks = ()", "fused/Member.masks = 'fusion'"
    found = text(plan_document(experiment(TWO + plain_between, *bindings), nothing_done), 160)
    assert "MaskNet 1, MaskNet 3" in found


def test_what_is_done_and_why_something_is_done_again(experiment: Make, tmp_path) -> None:
    """Compared with a run's folder: done, to do, or again with the reasons below."""
    folder = RunFolder(tmp_path / "run")
    before = experiment()
    for name in ("ci", "sta-rgb-fused.fusion", "dkd-rgb"):
        node = before.plan.stages[name]
        folder.stage(name).mkdir(parents=True)
        artefact = {"hash": node.hash, "identity": node.identity}
        write_json(folder.stage(name) / "artefact.json", artefact)
    found = text(plan_document(before, folder.state), 160)
    assert found.count("│ done") == 3
    assert found.count("│ to do") == 4
    after = text(plan_document(experiment(TWO, "DKD.epochs = 7"), folder.state), 160)
    assert after.count("│ done") == 2
    assert after.count("│ again") == 1
    assert "dkd-rgb is trained again: settings.epochs was 100, is 7" in after
    inherited = text(plan_document(experiment(TWO, "CI.epochs = 7"), folder.state), 160)
    assert "ci is trained again: settings.epochs was 100, is 7" in inherited
    words = "the weights of 'fused' that it starts from have changed"
    assert f"sta-rgb-fused.fusion is trained again: {words}" in inherited


@pytest.mark.parametrize("graph", [TWO, SEVERAL, TWO.replace("@Gate", "None")])
def test_dot_is_well_formed_and_complete(experiment: Make, graph: str) -> None:
    """Every line is a node or an edge; every edge joins declared nodes."""
    document = plan_document(experiment(graph), nothing_done)
    first, *lines, last = dot(document).splitlines()
    assert (first, lines[0].strip(), last) == ("digraph mstgraph {", "rankdir=LR;", "}")
    nodes, edges = set(), []
    for line in lines[1:]:
        node = re.fullmatch(r'  "([^"]+)" \[label="[^"]+", shape=(box|ellipse|diamond)\];', line)
        edge = re.fullmatch(r'  "([^"]+)" -> "([^"]+)" \[label="[^"]*"(, dir=both.*)?\];', line)
        assert node or edge, line
        if node:
            assert node[1] not in nodes
            nodes.add(node[1])
        elif edge:
            edges.append((edge[1], edge[2]))
    assert {end for edge in edges for end in edge} == nodes
    assert {member["name"] for member in document["members"]} <= nodes
    for student, teachers in document["teachers"].items():
        for teacher in teachers:
            assert (teacher["member"], f"{student} teacher {teacher['name']}") in edges


@pytest.mark.parametrize("graph", [TWO, SEVERAL])
def test_mermaid_is_well_formed_and_complete(experiment: Make, graph: str) -> None:
    """As many nodes and arrows as in dot; every arrow joins declared nodes."""
    document = plan_document(experiment(graph), nothing_done)
    first, *lines = mermaid(document).splitlines()
    assert first == "flowchart LR"
    nodes, arrows = set(), 0
    for line in lines:
        node = re.fullmatch(r'  (n\d+)(\(\[|\[)"[^"\n]+"(\]\)|\])', line)
        arrow = re.fullmatch(r'  (n\d+) (<-\.->|-->)(\|"[^"]+"\|)? (n\d+)', line)
        assert node or arrow, line
        if node:
            nodes.add(node[1])
        elif arrow:
            arrows += 1
            assert {arrow[1], arrow[4]} <= nodes
    assert len(nodes) == dot(document).count("shape=")
    assert arrows == dot(document).count(" -> ")
