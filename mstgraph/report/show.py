"""A plan as a person reads it: text, Graphviz dot, Mermaid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import networkx as nx
from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from mstgraph.report.tables import table
from mstgraph.support.text import shape_in_words, size_in_words

Document = Mapping[str, Any]


def print_plan(document: Document, console: Console) -> None:
    """Print members, teachers and the stage schedule.

    Args:
        document: see `mstgraph.derive.document.plan_document`.
        console: where to.
    """
    console.print(_headline(document), highlight=False)
    console.print(_members_table(document))
    if _given(document) or any({"weights", "frozen"} & set(m) for m in document["members"]):
        console.print(_starts_table(document))
    for student, teachers in document["teachers"].items():
        console.print(_teachers_table(student, teachers, document))
    console.print(_schedule(document))
    _print_reasons(document, console)


def _headline(document: Document) -> str:
    data, task = document["data"], document["task"]
    label = f" · [bold yellow]{data['synthetic']}[/]" if data["synthetic"] else ""
    samples = ", ".join(_count(part, data) for part in data["samples"])
    place = f"{samples}, split {data['split']}" if samples else f"split {data['split']}"
    place += "" if data["prepared"] else " (store not prepared yet)"
    for modality, share in data.get("absent", {}).items():
        place += f" · {share:.0%} without {modality}"
    return (
        f"[bold]{document['name']}[/]: {data['title']}{label} · {task['kind']}, "
        f"{task['outputs']} outputs · {place} · seed {document['seed']}"
    )


def _count(part: str, data: Mapping[str, Any]) -> str:
    count = data["samples"][part]
    known = data["labelled"].get(part, count)
    return f"{count} {part}" + (f" ({known} labelled)" if known < count else "")


def _members_table(document: Document) -> Table:
    right = ("i", "parameters")
    columns = ("i", "member", "role", "network", "inputs", "parameters", "output")
    result = table("Members", columns, right)
    for member in document["members"]:
        result.add_row(
            str(member["index"]),
            member["name"],
            member["role"],
            member["network"],
            " + ".join(member["inputs"]),
            f"{member['parameters']:,}",
            shape_in_words(member["output"]),
        )
    return result


def _given(document: Document) -> set[str]:
    """Return the members that no stage trains."""
    return {name for stage in document["stages"] for name in stage.get("takes", ())}


def _starts_table(document: Document) -> Table:
    result, given = table("What members start from", ("member", "starts from")), _given(document)
    for member in document["members"]:
        start = member["initialisation"]
        if member["name"] in given:
            start = f"{start}; no stage trains it"
        elif "weights" not in member:
            start = f"scratch ({start})"
        result.add_row(member["name"], start)
    return result


def _teachers_table(
    student: str, teachers: Sequence[Mapping[str, Any]], document: Document
) -> Table:
    gate = document["gates"].get(student)
    how = f"under a gate of {gate['parameters']:,} parameters" if gate else "all at once"
    title = f"Teachers of {student}: N = {len(teachers)}, {how}"
    columns = ("j", "δ(j)", "member", "mask point", "feature", "MaskNet parameters", "loss")
    result = table(title, columns, right=("j", "δ(j)", "MaskNet parameters"))
    for teacher in teachers:
        result.add_row(
            str(teacher["j"]),
            str(teacher["delta"]),
            teacher["member"],
            teacher["point"]
            or f"none ({'learns on' if teacher['learns'] else 'frozen'}, unmasked)",
            shape_in_words(teacher.get("feature", [])) if teacher["point"] else "",
            f"{teacher['masknet_parameters']:,}" if teacher["point"] else "",
            teacher["loss"],
        )
    return result


def _schedule(document: Document) -> Tree:
    """A stage stands below the one that all it needs goes back to."""
    words = _part_words(document)
    tree = Tree("[bold]Schedule[/] (a stage stands below the one that all it needs goes back to)")
    adaptations = [stage["name"] for stage in document["stages"] if stage["place"] == "mask"]
    branches: dict[str, Tree] = {}
    parents = _parents(document)
    for stage in document["stages"]:
        parent = branches.get(parents[stage["name"]], tree)
        branch = parent.add(_stage_line(stage, words, adaptations), highlight=False)
        branches[stage["name"]] = branch
        for constant in stage["constants"] if stage["epochs"] else ():
            if constant["part"] == "train":
                branch.add(f"[dim]{_constant_line(constant)}[/]", highlight=False)
    return tree


def _parents(document: Document) -> dict[str, str]:
    """Stage → its immediate dominator among the stages; "" for one that needs nothing."""
    dag = nx.DiGraph()
    for stage in document["stages"]:
        dag.add_edges_from((need, stage["name"]) for need in stage["needs"] or [""])
    return dict(nx.immediate_dominators(dag, ""))


def _stage_line(
    stage: Mapping[str, Any], words: Mapping[str, str], adaptations: Sequence[str]
) -> str:
    count = len([need for need in stage["needs"] if need in adaptations])
    kind = adaptations[0].partition("-")[0].upper() if adaptations else ""
    waits = f" after its {count} {kind} stages" if count > 1 else ""
    freezes = f" · freezes {_listed(stage['freezes'], words)}" if stage["freezes"] else ""
    epochs = "1 epoch" if stage["epochs"] == 1 else f"{stage['epochs']:,} epochs"
    if "takes" in stage:
        taken = _listed(stage["takes"], words)
        return f"[bold]{stage['name']}[/] · takes {taken} as it is · {_state(stage)}"
    return (
        f"[bold]{stage['name']}[/]{waits} · {epochs} · trains "
        f"{_listed(stage['trains'], words)}{freezes} · {_state(stage)}"
    )


def _constant_line(constant: Mapping[str, Any]) -> str:
    # Without a store nobody knows yet how many samples there are.
    size = size_in_words(constant["bytes"]) if constant["bytes"] else "size not known yet"
    if constant["placement"] == "recompute":
        return f"computes again: {constant['value']}, {size} ({constant['reason']})"
    return f"keeps: {constant['value']}, {size}, {constant['placement']} ({constant['reason']})"


def _part_words(document: Document) -> dict[str, str]:
    """Name of a part → how the schedule calls it, where that is shorter."""
    several = len(document["teachers"]) > 1
    words = {}
    for student, teachers in document["teachers"].items():
        of = f" of {student}" if several else ""
        words[f"gate.{student}"] = f"gate{of}"
        for teacher in teachers:
            words[f"masknet.{student}.{teacher['name']}"] = f"MaskNet {teacher['j']}{of}"
    return words


def _listed(parts: Sequence[str], words: Mapping[str, str]) -> str:
    """Return parts as "rgbd, depth, MaskNets 1–4"."""
    named = [words.get(name, name) for name in parts]
    masknets = [word.split(maxsplit=2) for word in named if word.startswith("MaskNet ")]
    numbers = [int(number) for _, number, *_ in masknets]
    if len(numbers) > 1 and numbers == list(range(numbers[0], numbers[-1] + 1)):
        of = " ".join(["", *masknets[0][2:]])
        others = [word for word in named if not word.startswith("MaskNet ")]
        named = [*others, f"MaskNets {numbers[0]}–{numbers[-1]}{of}"]
    return ", ".join(named)


def _state(stage: Mapping[str, Any]) -> str:
    if stage["done"]:
        return "[green]done[/]"
    return "[yellow]again[/]" if stage["reason"] else "[yellow]to do[/]"


def _print_reasons(document: Document, console: Console) -> None:
    """Say below the schedule why finished stages are to be trained again."""
    for stage in document["stages"]:
        if stage["reason"]:
            text = f"{stage['name']} is trained again: {stage['reason']}"
            console.print(text, markup=False, highlight=False)


def dot(document: Document) -> str:
    """Return the distillation graph as Graphviz dot."""
    lines = ["digraph mstgraph {", "  rankdir=LR;"]
    for node, label, form in _nodes(document):
        lines.append(f'  "{node}" [label="{label}", shape={form}];')
    for source, target, label, both in _arrows(document):
        style = ", dir=both, style=dashed" if both else ""
        lines.append(f'  "{source}" -> "{target}" [label="{label}"{style}];')
    return "\n".join([*lines, "}"])


def mermaid(document: Document) -> str:
    """Return the distillation graph as a Mermaid flowchart."""
    names = {node: f"n{i}" for i, (node, _, _) in enumerate(_nodes(document))}
    lines = ["flowchart LR"]
    for node, label, form in _nodes(document):
        text = label.replace("\\n", "<br/>")
        opening, closing = ("([", "])") if form == "ellipse" else ("[", "]")
        lines.append(f'  {names[node]}{opening}"{text}"{closing}')
    for source, target, label, both in _arrows(document):
        arrow = "<-.->" if both else "-->"
        text = f'|"{label}"|' if label else ""
        lines.append(f"  {names[source]} {arrow}{text} {names[target]}")
    return "\n".join(lines)


def _nodes(document: Document) -> list[tuple[str, str, str]]:
    """(name, label, form) of modalities, members, specialised teachers and gates."""
    nodes = [(f"modality {m}", m, "ellipse") for m in _used_modalities(document)]
    nodes += [
        (m["name"], f"{m['name']}\\n{m['network']} ({m['role']})", "box")
        for m in document["members"]
    ]
    for student, teachers in document["teachers"].items():
        nodes += [
            (_teacher_node(student, t), f"teacher {t['j']}\\n{t['point'] or t['member']}", "box")
            for t in teachers
        ]
        if student in document["gates"]:
            nodes.append((f"gate {student}", f"gate of {student}", "diamond"))
    return nodes


def _used_modalities(document: Document) -> list[str]:
    used = {name for member in document["members"] for name in member["inputs"]}
    return [m["name"] for m in document["modalities"] if m["name"] in used]


def _teacher_node(student: str, teacher: Mapping[str, Any]) -> str:
    return f"{student} teacher {teacher['name']}"


def _arrows(document: Document) -> list[tuple[str, str, str, bool]]:
    """(source, target, label, both directions)."""
    arrows = [
        (f"modality {name}", member["name"], "", False)
        for member in document["members"]
        for name in member["inputs"]
    ]
    arrows += [
        (edge["source"], edge["target"], f"{edge['loss']} ({edge['stage']})", True)
        for edge in document["edges"]
        if edge["kind"] == "mutual"
    ]
    last = {e["target"]: e["stage"] for e in document["edges"] if e["kind"] == "teaches"}
    for student, teachers in document["teachers"].items():
        gated = student in document["gates"]
        end = f"gate {student}" if gated else student
        for teacher in teachers:
            node = _teacher_node(student, teacher)
            arrows.append((teacher["member"], node, teacher.get("stage", ""), False))
            arrows.append((node, end, f"{teacher['loss']} ({last[student]})", False))
        if gated:
            arrows.append((end, student, "routed", False))
    return arrows
