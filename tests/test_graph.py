"""Graphs that make sense, and one sentence for each kind that does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_graphs import DATA, TWO

from mstgraph.errors import UserError
from mstgraph.experiment import Experiment, open_experiment

Make = Callable[..., Experiment]
BASE = len(DATA.splitlines())  # the lines that `write_gin` puts before the text

LINE = """
graph.gate = @Gate
graph.target = 'rgb'
graph.rgb = @rgb/Member()
graph.depth = @depth/Member()
"""


def line_of(text: str, part: str) -> int:
    """Return the line of a part of the text in the file that `write_gin` writes."""
    return BASE + next(n for n, line in enumerate(text.splitlines(), 1) if part in line)


REFUSED = {
    "unknown modality": (
        TWO.replace("('rgb', 'depth')", "('rgb', 'dept')"),
        "inputs",
        "member 'fused' sees the modality 'dept', which the store does not have; did you mean "
        "'depth'? (valid: audio, depth, normals, rgb, smell, touch)",
    ),
    "input twice": (
        TWO.replace("('rgb', 'depth')", "('rgb', 'rgb')"),
        "inputs",
        "member 'fused' lists a modality twice; each of its inputs must be another one",
    ),
    "no such input by name": (
        LINE.replace("depth", "deep"),
        "graph.deep",
        "member 'deep' sees the modality 'deep', which the store does not have; did you mean "
        "'depth'? (valid: audio, depth, normals, rgb, smell, touch)",
    ),
    "unknown student": (
        LINE + "depth/Member.teaches = ('rbg',)\n",
        "teaches",
        "member 'depth' teaches 'rbg', which is no member of the graph; did you mean 'rgb'? "
        "(valid: depth, rgb)",
    ),
    "unknown partner": (
        LINE + "depth/Member.mutual = 'rgbb'\n",
        "mutual",
        "member 'depth' is aligned with 'rgbb', which is no member of the graph; did you mean "
        "'rgb'? (valid: depth, rgb)",
    ),
    "aligned with itself": (
        LINE + "depth/Member.mutual = ('depth',)\n",
        "mutual",
        "member 'depth' is aligned with itself; name another",
    ),
    "unknown target": (
        LINE.replace("'rgb'", "'rgba'"),
        "target",
        "the target 'rgba' is no member of the graph; did you mean 'rgb'? (valid: depth, rgb)",
    ),
    "empty target": (
        LINE.replace("'rgb'", "()"),
        "target",
        "graph.target is missing; name the student (valid: depth, rgb)",
    ),
    "fused target": (
        TWO.replace("target = 'rgb'", "target = 'fused'"),
        "target",
        "the target 'fused' is a fused member (rgb, depth); a target sees one modality "
        "(valid: depth, rgb)",
    ),
    "nobody teaches the target": (
        LINE + "depth/Member.teaches = ()\n",
        "target",
        "nobody teaches the target 'rgb'; add a member, or let one's 'teaches' or 'mutual' name it",
    ),
    "idle member": (
        LINE + "graph.audio = @audio/Member()\naudio/Member.teaches = ()\n",
        "graph.audio",
        "member 'audio' teaches nobody and is aligned with nobody; drop it with "
        "'graph.audio = None'",
    ),
    "teaches itself": (
        LINE + "depth/Member.teaches = ('depth',)\n",
        "teaches",
        "member 'depth' teaches itself; name another member",
    ),
    "cycle of two": (
        LINE + "rgb/Member.teaches = ('depth',)\n",
        "teaches",
        "the one-way edges go in a circle: rgb → depth → rgb; drop one of them or make it mutual",
    ),
    "cycle of three": (
        LINE
        + "graph.audio = @audio/Member()\nrgb/Member.teaches = 'depth'\n"
        + "depth/Member.teaches = ('audio',)\naudio/Member.teaches = ('rgb',)\n",
        "rgb/Member.teaches",
        "the one-way edges go in a circle: rgb → depth → audio → rgb; drop one of them or make it "
        "mutual",
    ),
    "no member at all": (
        LINE + "graph.audio = 3\n",
        "graph.audio",
        "graph.audio must be '@audio/Member()' or None",
    ),
    "no parentheses": (
        LINE + "graph.audio = @audio/Member\n",
        "graph.audio",
        "graph.audio must be '@audio/Member()' or None",
    ),
    "name and scope differ": (
        LINE + "graph.sound = @audio/Member()\ngraph.audio = None\n",
        "graph.sound",
        "graph.sound is bound to the scope 'audio'; the scope's name is the member's name: write "
        "'@sound/Member()'",
    ),
    "no network": (
        "Member.network = None\n" + LINE,
        "graph.",
        "has no network; write",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_graph_without_sense_is_refused_in_one_sentence(
    case: str, write_gin: Callable[..., Path]
) -> None:
    """The sentence starts with file and line, and says what is wrong, exactly."""
    text, part, sentence = REFUSED[case]
    path = write_gin(text)
    with pytest.raises(UserError) as caught:
        open_experiment([path])
    message = str(caught.value)
    assert "\n" not in message
    if case == "no network":
        assert re.match(rf"{path}:\d+: member '(rgb|depth)' {sentence}", message)
    else:
        assert message == f"{path}:{line_of(text, part)}: {sentence}"


def test_a_target_that_is_not_named_at_all_is_asked_for(experiment: Make) -> None:
    """Without graph.target, the message lists the members that could be one."""
    with pytest.raises(UserError, match=r"graph\.target is missing; name the student \(valid: de"):
        experiment(LINE.replace("graph.target = 'rgb'", ""))


def test_members_come_in_the_papers_order(experiment: Make) -> None:
    """Most inputs first, then unimodal ones as the store has them, ties by name."""
    text = """
    graph.target = 'touch'
    graph.touch = @touch/Member()
    graph.depth = @depth/Member()
    graph.another = @another/Member()
    another/Member.inputs = 'depth'
    graph.rgb = @rgb/Member()
    graph.b = @b/Member()
    b/Member:
      network = @FusedMLP
      inputs = ('touch', 'rgb')
    graph.a = @a/Member()
    a/Member:
      network = @FusedMLP
      inputs = ('smell', 'audio')
    graph.three = @three/Member()
    three/Member:
      network = @FusedMLP
      inputs = ('rgb', 'depth', 'touch')
    """
    order = ["three", "a", "b", "rgb", "another", "depth", "touch"]
    assert list(experiment(text).plan.graph.members) == order


def test_a_member_teaches_every_target_unless_it_says_otherwise(experiment: Make) -> None:
    """Targets teach each other by default; ``teaches`` replaces the default."""
    graph = experiment(
        LINE.replace("target = 'rgb'", "target = ('depth', 'rgb')")
        + "graph.audio = @audio/Member()\naudio/Member.teaches = 'rgb'\n"
    ).plan.graph
    assert graph.targets == ("rgb", "depth")
    assert graph.teachers_of("rgb") == ("depth", "audio")
    assert graph.teachers_of("depth") == ("rgb",)
    assert graph.students() == ("rgb", "depth")


def test_a_member_is_dropped_by_none(experiment: Make) -> None:
    """Its bindings may stay; so ``-p 'graph.depth = None'`` is all it takes."""
    graph = experiment(TWO, "graph.depth = None").plan.graph
    assert list(graph.members) == ["fused", "rgb"]


def test_mutual_all_means_all_that_say_so(experiment: Make) -> None:
    """A pair that names each other stays a component of its own."""
    graph = experiment(
        LINE
        + """
graph.audio = @audio/Member()
graph.touch = @touch/Member()
rgb/Member.mutual = 'all'
depth/Member.mutual = 'all'
audio/Member.mutual = 'touch'
"""
    ).plan.graph
    assert graph.mutual_components() == [("rgb", "depth"), ("audio", "touch")]


def test_a_target_may_be_aligned_and_not_taught(experiment: Make) -> None:
    """Deep mutual learning is a graph of mutual edges alone."""
    plan = experiment(
        LINE + "Member.mutual = 'all'\nrgb/Member.teaches = ()\ndepth/Member.teaches = ()\n"
    ).plan
    assert plan.last == {"rgb": "ci"}
    assert plan.teachers == {}
