"""The plan as a person reads it, as Graphviz dot and as Mermaid."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from tiny_graphs import TWO

from mstgraph.derive.document import plan_document
from mstgraph.derive.experiment import Experiment
from mstgraph.report.show import dot, mermaid, print_plan
from mstgraph.run.artefacts.run_folder import RunFolder
from mstgraph.stages.stage import StageNode
from mstgraph.support.files import write_json

Make = Callable[..., Experiment]
STILL = "depth/Member.trained = False\ndepth/Member.mutual = ()\n"
SEVERAL = TWO.replace("target = 'rgb'", "target = ('rgb', 'depth')")


def nothing_done(node: StageNode) -> tuple[bool, str]:
    """Say that no stage is done."""
    return False, ""


def text(document: Mapping[str, Any], width: int) -> str:
    """Return what is printed on a console of some width."""
    stream = io.StringIO()
    print_plan(document, Console(file=stream, width=width))
    return stream.getvalue()


STA = "│   ├── sta-rgb-{} · 100 epochs · trains MaskNet {} · freezes rgb, {} · to do"
SCHEDULE = [
    "├── ci · 100 epochs · trains fused, rgb, depth · to do",
    STA.format("fused.fusion", 1, "fused"),
    STA.format("fused.hidden1", 2, "fused"),
    STA.format("depth.hidden1", 3, "depth"),
    STA.format("depth.hidden2", 4, "depth"),
    "│   └── dkd-rgb after its 4 STA stages · 100 epochs · trains rgb, gate · "
    "freezes fused, depth, MaskNets 1–4 · to do",
    "└── alone-rgb · 200 epochs · trains rgb · to do",
]


def test_the_schedule_says_what_each_stage_trains_and_freezes(experiment: Make) -> None:
    """A tree: each stage below the one that all it needs goes back to."""
    found = text(plan_document(experiment(), nothing_done), 160)
    tree = found.partition("Schedule")[2].splitlines()[1:]
    assert [line for line in tree if " epochs · trains " in line] == SCHEDULE


def test_a_narrow_console_folds_but_loses_nothing(experiment: Make) -> None:
    """At 100 columns no line is longer, and every word is still there."""
    found = text(plan_document(experiment(), nothing_done), 100)
    assert max(map(len, found.splitlines())) <= 100
    words = re.sub(r"[\s│├└─]+", " ", found)
    assert all(re.sub(r"[\s│├└─]+", " ", line).strip() in words for line in SCHEDULE)


def test_the_schedule_says_what_is_kept_and_why(experiment: Make) -> None:
    """Each constant value with its size, where it is kept, and the reason."""
    found = text(plan_document(experiment(), nothing_done), 160)
    below = found.partition("dkd-rgb")[2]
    kept = re.findall(
        r"keeps: response of (\w+) with its MaskNet at (\w+), [\d.]+ kB, memory", below
    )
    assert kept == [
        ("fused", "fusion"),
        ("fused", "hidden1"),
        ("depth", "hidden1"),
        ("depth", "hidden2"),
    ]
    assert "(computed once, read 100 times)" in below


def test_members_and_teachers_are_told(experiment: Make) -> None:
    """The index map, the feature's shape, the sizes, and that the data is synthetic."""
    found = text(plan_document(experiment(), nothing_done), 160)
    assert "tiny vectors · random numbers · classification, 3 outputs · 12 train" in found
    assert "Teachers of rgb: N = 4, under a gate of 52 parameters" in found
    assert re.search(r"3 │ +2 │ depth +│ hidden1 +│ 6 +│", found)


def test_what_members_start_from_is_told_where_one_brings_something(
    experiment: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights of a file, modules that never train, a teacher as it is; and who has nothing."""
    assert "start" not in text(plan_document(experiment(), nothing_done), 160).partition("Sched")[0]
    monkeypatch.chdir(tmp_path)
    shapes = {"hidden1": (6, 6), "hidden2": (4, 6), "classifier": (3, 4)}
    states = {f"{name}.weight": torch.zeros(shape) for name, shape in shapes.items()}
    states |= {f"{name}.bias": torch.zeros(shape[0]) for name, shape in shapes.items()}
    torch.save(states, "depth.pt")
    graph = TWO + "depth/Member.weights = 'depth.pt'\nfused/Member.frozen = ('hidden1',)\n"
    found = text(plan_document(experiment(graph), nothing_done), 160)
    below = found.partition("What members start from")[2].splitlines()[1:6]
    assert [line.strip() for line in below if "━" not in line] == [
        "member ┃ starts from",
        "fused  │ scratch (standard initialisation; frozen: hidden1)",
        "rgb    │ scratch (standard initialisation)",
        "depth  │ all 6 tensors from 'depth.pt'",
    ]
    found = text(plan_document(experiment(graph + STILL), nothing_done), 160)
    assert "depth  │ all 6 tensors from 'depth.pt'; no stage trains it" in found


def test_what_is_not_there_has_no_size(experiment: Make) -> None:
    """Kept values before there is a store, and the feature of a teacher without a mask point."""
    bindings = "depth/Member.masks = ()", "fused/Member.masks = 'fusion'"
    document = plan_document(experiment(TWO, *bindings), nothing_done)
    for stage in document["stages"]:
        for constant in stage["constants"]:
            constant["bytes"] = 0
    found = text(document, 160)
    assert "response of fused with its MaskNet at fusion, size not known yet, memory" in found
    assert " 0.0 kB" not in found
    assert "a single value" not in found


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
        nothing = {"metrics": {}}
        artefact = {"hash": node.hash, "identity": node.identity, "kind": node.kind, "epochs": 1}
        artefact |= {"best_epoch": 1, "validation": nothing, "test": nothing, "seconds": 0.5}
        artefact |= {"peak_memory": 1, "device": "cpu"}
        write_json(folder.stage(name) / "artefact.json", artefact)
    found = text(plan_document(before, folder.state), 160)
    assert found.count("· done") == 3
    assert found.count("· to do") == 4
    after = text(plan_document(experiment(TWO, "DKD.epochs = 7"), folder.state), 160)
    assert after.count("· done") == 2
    assert after.count("· again") == 1
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


def test_few_labels_are_told(experiment: Make) -> None:
    """Where every sample has one, nothing is said of it."""
    few = text(plan_document(experiment(TWO, "data.labelled = 3"), nothing_done), 200)
    assert "12 train (3 labelled), 4 validation, 4 test" in few
    assert "labelled" not in text(plan_document(experiment(), nothing_done), 200)
