"""Graphs that make sense, and one sentence for each kind that does not."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_graphs import DATA, ROLES, ROOT, TWO

from mstgraph.derive.experiment import Experiment
from mstgraph.derive.opening import open_experiment
from mstgraph.stages.node import Part
from mstgraph.support.errors import UserError

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
    "as the target, which it is": (
        LINE + "rgb/Member.inputs = 'target'\n",
        "inputs",
        "member 'rgb' is the twin of the target; expected another member as graph.target, and no "
        "second one",
    ),
    "as the target, of two": (
        LINE.replace("'rgb'", "('rgb', 'depth')")
        + "graph.twin = @twin/Member()\ntwin/Member.inputs = 'target'\n",
        "inputs",
        "member 'twin' is the twin of the target; expected another member as graph.target, and no "
        "second one",
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
    "unknown teachers": (
        TWO + "graph.teachers = 'multi-modal'\n",
        "graph.teachers",
        "graph.teachers is 'multi-modal', expected 'all', 'multimodal', 'cross-modal' or 'none'; "
        "did you mean 'multimodal'?",
    ),
    "unknown points": (
        TWO + "graph.points = 'mask'\n",
        "graph.points",
        "graph.points is 'mask', expected 'masks', 'penultimate', 'hints', 'representation' or "
        "'none'; did you mean 'masks'?",
    ),
    "no multimodal teacher": (
        TWO + "graph.fused = None\ngraph.teachers = 'multimodal'\n",
        "graph.teachers",
        "graph.teachers = 'multimodal' leaves no teacher of these members: rgb, depth; expected "
        "one that some member fits",
    ),
    "no cross-modal teacher": (
        TWO + "graph.depth = None\ngraph.teachers = 'cross-modal'\n",
        "graph.teachers",
        "graph.teachers = 'cross-modal' leaves no teacher of these members: fused, rgb; expected "
        "one that some member fits",
    ),
    "no multimodal teacher of two targets": (
        TWO.replace("'rgb'\n", "('rgb', 'depth')\n", 1)
        + "graph.fused = None\ngraph.teachers = 'multimodal'\n",
        "graph.teachers",
        "graph.teachers = 'multimodal' leaves no teacher of these members: rgb, depth; expected "
        "one that some member fits",
    ),
    "no layer for a role that points ask for": (
        TWO + "graph.points = 'penultimate'\nfused/Member.penultimate = 'hidden1'\n",
        "graph.points",
        "member 'depth' names no layer for the role 'penultimate'; write "
        "'depth/Member.penultimate = 'layer'', as graph.points asks for",
    ),
    "a teacher without a layer that a loss reads": (
        TWO + "graph.gate = None\nfused/Member.loss = @FitNets()\n",
        "graph.fused",
        "member 'fused' names no layer for the role 'hints'; write 'fused/Member.hints = "
        "('layer', …)', which the loss FitNets of member 'fused' reads",
    ),
    "a student without a layer that a loss reads": (
        TWO + "fused/Member.loss = @RKD()\nfused/Member.penultimate = 'hidden1'\n",
        "graph.rgb",
        "member 'rgb' names no layer for the role 'penultimate'; write 'rgb/Member.penultimate = "
        "'layer'', which the loss RKD of member 'fused' reads",
    ),
    "a role that was taken away": (
        TWO + ROLES + "depth/Member.loss = @RKD()\nrgb/Member.penultimate = ''\n",
        "rgb/Member.penultimate",
        "member 'rgb' names no layer for the role 'penultimate'; write 'rgb/Member.penultimate = "
        "'layer'', which the loss RKD of member 'depth' reads",
    ),
    "adaptation that is no such stage": (
        TWO + "graph.adaptation = @Pretrain\n",
        "graph.adaptation",
        "graph.adaptation is '@Pretrain', expected a stage that trains what is inserted at a mask "
        "point, such as '@STA'",
    ),
    "adaptation that is no stage": (
        TWO + "graph.adaptation = @KL\n",
        "graph.adaptation",
        "graph.adaptation is '@KL', expected a stage that trains what is inserted at a mask "
        "point, such as '@STA'",
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


def test_a_member_may_see_what_the_target_sees(experiment: Make) -> None:
    """'target' is the target's modality, whichever it is; such a twin is not cross-modal."""
    twin = LINE + "graph.twin = @twin/Member()\ntwin/Member.inputs = 'target'\n"
    for target, other in (("rgb", "depth"), ("depth", "rgb")):
        graph = experiment(twin.replace("target = 'rgb'", f"target = '{target}'")).plan.graph
        assert graph.members["twin"].inputs == (target,)
        assert set(graph.teachers_of(target)) == {other, "twin"}
    graph = experiment(twin + "graph.teachers = 'cross-modal'\n").plan.graph
    assert graph.teachers_of("rgb") == ("depth",)


def test_a_twin_is_built_as_the_target_is(experiment: Make) -> None:
    """By the network and the settings in the target's scope; its own scope wins."""
    text = LINE + "graph.twin = @twin/Member()\ntwin/Member.inputs = 'target'\n"
    text += "Member.network = None\nrgb/Member.network = @MLP\ndepth/Member.network = @MLP\n"
    text += "rgb/MLP.hidden = (5,)\nrgb/Member.hints = ('hidden1',)\n"
    parts = experiment(text).parts
    counts = [parts.parameters(Part("network", name)) for name in ("rgb", "twin")]
    assert counts == [8 * 5 + 5 + 5 * 3 + 3] * 2
    assert parts.graph.members["twin"].hints == ("hidden1",)
    own = experiment(text + "twin/Member.network = @MLP\ntwin/MLP.hidden = (3,)\n").parts
    assert own.parameters(Part("network", "twin")) == 8 * 3 + 3 + 3 * 3 + 3


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


def kept_members(experiment: Make, teachers: str, text: str = TWO) -> list[str]:
    """Return the members that ``graph.teachers`` lets stay."""
    return list(experiment(text, f"graph.teachers = '{teachers}'").plan.graph.members)


def test_which_teachers_stay_is_one_word(experiment: Make) -> None:
    """By what they see; bindings of those that leave may stay."""
    text = TWO + "graph.audio = @audio/Member()\ngraph.both = @both/Member()\n"
    text += "both/Member.network = @FusedMLP\nboth/Member.inputs = ('audio', 'touch')\n"
    text += "audio/Member.masks = ('hidden1',)\naudio/STA.epochs = 3\n"
    assert kept_members(experiment, "all", text) == ["both", "fused", "rgb", "depth", "audio"]
    assert kept_members(experiment, "multimodal", text) == ["both", "fused", "rgb"]
    assert kept_members(experiment, "cross-modal", text) == ["rgb", "depth", "audio"]
    assert kept_members(experiment, "none", text) == ["rgb"]


def test_edges_leave_with_the_members_that_they_name(experiment: Make) -> None:
    """A teacher of one that is left out teaches nobody, without a word."""
    text = TWO + "depth/Member.teaches = ('fused', 'rgb')\nfused/Member.mutual = ('depth',)\n"
    graph = experiment(text, "graph.teachers = 'cross-modal'").plan.graph
    assert set(graph.edges) == {"rgb", "depth"}
    assert graph.teachers_of("rgb") == ("depth",)
    assert graph.mutual_components() == [("rgb", "depth")]


@pytest.mark.parametrize(
    ("points", "fused", "depth"),
    [
        ("masks", ("fusion", "hidden1"), ("hidden1", "hidden2")),
        ("penultimate", ("hidden2",), ("hidden2",)),
        ("hints", ("fusion", "hidden2"), ("hidden1", "hidden2")),
        ("representation", ("hidden1",), ("hidden2",)),
        ("none", (), ()),
    ],
)
def test_where_teachers_are_specialised_is_one_word(
    experiment: Make, points: str, fused: tuple[str, ...], depth: tuple[str, ...]
) -> None:
    """At their masks or at the layers of a role; the student, who teaches nobody, nowhere.

    Who names no representation has its penultimate layer for one.
    """
    text = TWO + ROLES + "fused/Member.hints = ('fusion', 'hidden2')\n"
    text += "fused/Member.representation = 'hidden1'\n"
    members = experiment(text, f"graph.points = '{points}'").plan.graph.members
    assert (members["fused"].masks, members["depth"].masks) == (fused, depth)
    assert members["rgb"].masks == ()


def test_one_name_in_quotes_is_a_tuple_of_one(experiment: Make) -> None:
    """Gin users forget the comma, of hints as of masks."""
    found = experiment(TWO + ROLES, "depth/Member.hints = 'hidden1'").plan.graph.members["depth"]
    assert found.layers("hints") == ("hidden1",)
    assert found.layers("penultimate") == ("hidden2",)


def test_the_file_of_a_method_is_named_where_it_is_at_fault(write_gin: Callable[..., Path]) -> None:
    """What its own line asks for, the graph under it does not have."""
    path = ROOT / "gin/methods/kd.gin"
    with pytest.raises(UserError) as caught:
        open_experiment([write_gin(TWO + "graph.fused = None\n"), path])
    lines = path.read_text().splitlines()
    line = next(n for n, text in enumerate(lines, 1) if text.startswith("graph.teachers"))
    assert str(caught.value).startswith(f"{path}:{line}: graph.teachers = 'multimodal' leaves no ")


def test_a_mask_point_is_one_teacher(experiment: Make) -> None:
    """Named twice it would be two (Eq. 7)."""
    masks = "depth/Member.masks = ('hidden1', 'hidden2', 'hidden1')"
    with pytest.raises(UserError, match="lists the mask point 'hidden1' 2 times; each is a teach"):
        experiment(TWO, masks)


@pytest.mark.parametrize("name", ["gate", "seed", "target", "points", "teachers", "alone", "fresh"])
def test_a_member_named_as_a_setting_is_refused(name: str, write_gin: Callable[..., Path]) -> None:
    """It would be the setting, and no member; the modality may have that name."""
    text = f"graph.{name} = @{name}/Member()\n{name}/Member.inputs = 'depth'\n"
    path = write_gin(TWO + text)
    line = (path.read_text() + "\n").splitlines().index(f"graph.{name} = @{name}/Member()") + 1
    with pytest.raises(UserError) as caught:
        open_experiment([path])
    assert str(caught.value) == (
        f"{path}:{line}: 'graph.{name}' is a setting, so that no member can have this name; "
        f"expected another one, such as '{name}_', with {name}_/Member.inputs = ('{name}',)"
    )
