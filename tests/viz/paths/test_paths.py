"""Pictures of distillation paths."""

from __future__ import annotations

import builtins
import itertools
import re
import sys
from xml.etree import ElementTree

import pytest
from plan_documents import document, routing, six_modalities, three_modalities, two_modalities

pytest.importorskip("matplotlib")

from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.text import Text

from mstgraph.support.errors import UserError
from mstgraph.viz.canvas import Type, as_svg, blend, write_picture
from mstgraph.viz.colours import colours
from mstgraph.viz.paths.labels import percent
from mstgraph.viz.paths.layout import _spread
from mstgraph.viz.paths.mutual import _labelled
from mstgraph.viz.paths.paths import draw_paths

TWO_TARGETS = {
    "modalities": ("rgb", "depth"),
    "members": {"rgbd": ("rgb", "depth"), "rgb": ("rgb",), "depth": ("depth",)},
    "masks": {
        "rgbd": ("fusion", "decoder.stage5"),
        "rgb": ("encoder.stage5",),
        "depth": ("encoder.stage5", "decoder.stage5"),
    },
    "targets": ("rgb", "depth"),
}
DOCUMENTS = {
    "two modalities": two_modalities(),
    "three modalities": three_modalities(),
    "six modalities": six_modalities(),
    "two targets": document(**TWO_TARGETS),
    "two targets without a gate": document(**TWO_TARGETS, gate=False),
    "plain teachers": document(
        modalities=("rgb", "depth"),
        members={"rgbd": ("rgb", "depth"), "rgb": ("rgb",), "depth": ("depth",)},
        masks={},
        targets=("rgb",),
        gate=False,
        mutual=False,
    ),
    "one teacher": document(
        modalities=("rgb", "depth"),
        members={"rgb": ("rgb",), "depth": ("depth",)},
        masks={},
        targets=("rgb",),
        gate=False,
        mutual=False,
    ),
    "peers alone": document(
        modalities=("rgb", "depth"),
        members={"rgb": ("rgb",), "depth": ("depth",)},
        masks={},
        targets=("rgb", "depth"),
        gate=False,
        teaches=False,
    ),
    "long names": document(
        modalities=("surface_normals_from_depth", "x"),
        members={
            "everything_fused": ("surface_normals_from_depth", "x"),
            "surface_normals_from_depth": ("surface_normals_from_depth",),
            "x": ("x",),
        },
        masks={
            "everything_fused": ("encoders.surface_normals_from_depth.stage5.unit3.activation",),
            "surface_normals_from_depth": ("encoder.stage5",),
        },
        targets=("x",),
    ),
}


def pictures():
    """Every document before a run, and those with a gate after one."""
    for name, plan in DOCUMENTS.items():
        yield pytest.param(plan, None, id=name)
        if plan["gates"]:
            yield pytest.param(plan, routing(plan), id=f"{name}, routed")


every_picture = pytest.mark.parametrize(("plan", "routed"), list(pictures()))


def texts(figure):
    """All pieces of text with their extents in pixels."""
    renderer = figure.canvas.get_renderer()
    found = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
    return [(text.get_text(), text.get_window_extent(renderer)) for text in found]


def words(figure):
    """The set of all pieces of text."""
    return {text for text, _ in texts(figure)}


def lines(figure):
    """All curves."""
    return figure.findobj(PathPatch)


@every_picture
def test_texts_do_not_overlap(plan, routed):
    """No piece of text covers another one."""
    placed = texts(draw_paths(plan, routed))
    assert len(placed) > 8
    overlapping = [
        (one, other)
        for (one, first), (other, second) in itertools.combinations(placed, 2)
        if first.overlaps(second)
    ]
    assert overlapping == []


@every_picture
def test_texts_lie_inside_the_page(plan, routed):
    """No piece of text is cut at the edge of the page."""
    figure = draw_paths(plan, routed)
    page = figure.bbox
    for text, extent in texts(figure):
        assert page.x0 < extent.x0, text
        assert extent.x1 < page.x1, text
        assert page.y0 < extent.y0, text
        assert extent.y1 < page.y1, text


@every_picture
def test_texts_fit_their_boxes(plan, routed):
    """A text does not cross the outline of a box; it lies inside it or outside."""
    figure = draw_paths(plan, routed)
    boxes = [box.get_window_extent() for box in figure.findobj(FancyBboxPatch)]
    assert boxes
    for text, extent in texts(figure):
        for box in (box for box in boxes if box.overlaps(extent)):
            assert box.x0 <= extent.x0, text
            assert extent.x1 <= box.x1, text


@every_picture
def test_the_svg_names_everything(plan, routed, tmp_path):
    """Modalities, members, teachers, mask points, losses and stages are there, as text."""
    svg, _ = write_picture(draw_paths(plan, routed), tmp_path / "paths")
    root = ElementTree.parse(svg).getroot()
    said = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    used = {name for member in plan["members"] for name in member["inputs"]}
    for modality in plan["modalities"]:
        assert (modality["name"] in said) == (modality["name"] in used)
    for member in plan["members"]:
        assert {member["name"], member["role"], member["network"]} <= set(said)
    for teachers in plan["teachers"].values():
        for teacher in teachers:
            assert str(teacher["j"]) in said
            assert (teacher["point"] or "frozen, no mask") in said
            assert any(text.startswith(teacher["loss"]) for text in said)
    for edge in plan["edges"]:
        if edge["kind"] == "mutual":
            assert f"{edge['loss']} · CI" in said
    kinds = {stage["kind"] for stage in plan["stages"]}
    shown = {"sta": "STA", "dkd": "DKD", "pretrain": "pretrain", "distill": "KL · distill"}
    for kind, word in shown.items():
        assert (word in said) == (kind in kinds)


def test_each_teacher_of_each_student_has_a_box():
    """Two targets: one panel for each, with its own count and its own gate."""
    found = [text for text, _ in texts(draw_paths(document(**TWO_TARGETS)))]
    assert "for rgb: N = 4" in found
    assert "for depth: N = 3" in found
    assert found.count("gate") == 3  # and the name of the column
    assert found.count("fusion") == 2
    assert found.count("DKD") == 3  # and the legend


def test_columns_stand_from_left_to_right():
    """Modality, member, teacher, gate, student; the student's box is the rightmost."""
    placed = texts(draw_paths(two_modalities()))
    first = {}
    for text, extent in placed:
        first.setdefault(text, extent.x0)
    columns = ["modalities", "members", "specialised teachers", "gate", "student"]
    assert [first[name] for name in columns] == sorted(first[name] for name in columns)
    assert max(extent.x0 for text, extent in placed if text == "rgb") > first["DKD"]


def test_without_a_gate_there_is_none():
    """Teachers connect straight to the student and their edges say the stage."""
    found = words(draw_paths(document(**TWO_TARGETS, gate=False)))
    assert "gate" not in found
    assert "DKD" not in found
    assert "KL · distill" in found


def test_mutual_edges_are_dashed():
    """A curve for each edge, or a bracket with a head at each member; one in the legend."""

    def dashed(plan):
        return [line for line in lines(draw_paths(plan)) if line.get_linestyle() != "solid"]

    assert len(dashed(two_modalities())) == 3 + 1
    assert len(dashed(three_modalities())) == 1 + 4 + 1
    assert len(dashed(six_modalities())) == 1 + 7 + 1
    assert dashed(DOCUMENTS["plain teachers"]) == []


def test_widths_grow_with_the_share():
    """The edges to the gate are as wide as their shares, above a least width for none."""
    plan = two_modalities()
    figure = draw_paths(plan, routing(plan, [0.5, 0.3, 0.2, 0.0]))
    labels = {text: extent.x0 / figure.dpi for text, extent in texts(figure)}
    after_teachers = labels["KL · 50 %"] - 0.3
    starting = [
        (line.get_path().vertices[0], line.get_linewidth())
        for line in lines(figure)
        if after_teachers < line.get_path().vertices[0][0] < labels["KL · 50 %"]
    ]
    widths = [width for _, width in sorted(starting, key=lambda pair: pair[0][1])]
    assert len(widths) == 4
    assert widths[0] > widths[1] > widths[2] > widths[3] > 0
    assert widths[0] - widths[1] == pytest.approx(2 * (widths[1] - widths[2]))
    assert {"KL · 50 %", "KL · 30 %", "KL · 20 %", "KL · 0 %"} <= words(figure)


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (0.001, "<1 %"), (0.006, "1 %"), (0.374, "37 %"), (1, "100 %")]
)
def test_percent(share, text):
    """A small share does not look like none."""
    assert percent(share) == text


def test_routing_is_matched_by_name():
    """The order of the routing does not matter, the names do."""
    plan = two_modalities()
    rows = routing(plan, [0.5, 0.3, 0.2, 0.0])
    rows["rgb"].reverse()
    found = texts(draw_paths(plan, rows))
    (largest,) = [extent for text, extent in found if text == "KL · 50 %"]
    (fusion,) = [extent for text, extent in found if text == "fusion"]
    assert abs(largest.y0 - fusion.y0) < 20  # in the same row


def test_routing_of_other_teachers_is_refused():
    """A share for a teacher that the plan lacks is the user's mistake; so is a missing one."""
    plan = two_modalities()
    rows = routing(plan)
    rows["rgb"][0]["name"] = "rgbd.fusio"
    with pytest.raises(UserError, match=r"'rgb' do not agree on the teacher 'rgbd\.fusio"):
        draw_paths(plan, rows)
    with pytest.raises(UserError, match="'rgb' do not agree on the teacher"):
        draw_paths(plan, {"rgb": routing(plan)["rgb"][1:]})


def test_routing_of_another_student_is_refused():
    """A student without a gate cannot be routed."""
    with pytest.raises(UserError, match="student 'depth', who has no gate in the plan"):
        draw_paths(two_modalities(), {"depth": []})


def test_synthetic_data_is_said():
    """Synthetic data is named beside the title, real data is not called so."""
    synthetic = {**two_modalities()["data"], "synthetic": "synthetic rooms"}
    assert "synthetic rooms" in words(draw_paths({**two_modalities(), "data": synthetic}))
    assert not any("synthetic" in text for text in words(draw_paths(two_modalities())))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("two modalities", "starts from its CI weights"),
        ("plain teachers", "starts from scratch"),
        ("peers alone", "trained in CI"),
    ],
)
def test_the_own_line_says_where_a_student_starts(name, label):
    """The student's own line names the weights that it starts from."""
    assert label in words(draw_paths(DOCUMENTS[name]))


def test_a_student_with_specialised_teachers_but_no_peers_is_pretrained():
    """Adaptation needs the student's responses, so it starts from pre-trained weights."""
    plan = document(**{**TWO_TARGETS, "targets": ("rgb",)}, mutual=False)
    assert "starts from its pretrain weights" in words(draw_paths(plan))


def test_the_same_picture_has_the_same_bytes(tmp_path):
    """Drawing twice gives the same files; they carry no date."""
    one = write_picture(draw_paths(two_modalities()), tmp_path / "one")
    two = write_picture(draw_paths(two_modalities()), tmp_path / "deeper" / "two.stem")
    assert [path.name for path in two] == ["two.stem.svg", "two.stem.png"]
    assert [p.read_bytes() for p in one] == [p.read_bytes() for p in two]
    assert not re.search(rb"20\d\d-\d\d-\d\d", one[0].read_bytes())


def test_a_place_that_cannot_be_written_is_said(tmp_path):
    """A folder that cannot be made is one sentence."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be made"):
        write_picture(draw_paths(two_modalities()), tmp_path / "file" / "paths")


def test_the_document_is_left_as_it_was():
    """Drawing changes nothing in the document."""
    plan = six_modalities()
    draw_paths(plan, routing(plan))
    assert plan == six_modalities()


def test_matplotlib_is_asked_for_in_one_sentence(monkeypatch):
    """Without matplotlib, the message says what to install."""
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError("No module named 'matplotlib'")
        return original(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "mstgraph.viz.canvas")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"pip install 'mstgraph\[pictures\]'"):
        import mstgraph.viz.canvas  # noqa: F401


def test_a_fused_colour_is_none_of_its_modalities():
    """One modality keeps its colour; a mixture is another colour, whatever the order."""
    red, blue, green = colours(3)
    assert blend([red]) == red
    assert blend([red, blue]) not in (red, blue)
    assert blend([red, blue, green]) == blend([green, red, blue])


def test_colours_differ():
    """Twenty modalities have twenty colours."""
    assert len(set(colours(20))) == 20


def test_type_is_measured_in_inches():
    """Twice the size is twice as wide; letters of a fixed width are 0.602 of their size wide."""
    assert Type(20).width("encoder") == pytest.approx(2 * Type(10).width("encoder"))
    letter = Type(10, family="monospace").width("x" * 10) / 10
    assert 0.602 * 10 / 72 < letter < 1.05 * 0.602 * 10 / 72


def test_spread_keeps_the_order_and_the_distance():
    """Positions that are far enough apart stay; those too close move apart evenly."""
    assert _spread([0.0, 5.0, 9.0], 1.0) == [0.0, 5.0, 9.0]
    assert _spread([2.5], 1.0) == [2.5]
    assert _spread([1.0, 1.0, 9.0], 1.0) == pytest.approx([0.5, 1.5, 9.0])
    assert _spread([0.0, 0.1, 0.2, 0.3], 1.0) == pytest.approx([-1.35, -0.35, 0.65, 1.65])


def test_every_stage_finds_a_gap_for_its_label():
    """However eight members pair up, each pair's label has a gap between rows of its own."""
    for order in itertools.permutations(range(1, 8), 7):
        members = (0, *order)
        pairs = [tuple(sorted(members[i : i + 2])) for i in range(0, 8, 2)]
        chosen = _labelled({pair: (f"ci-{pair[0]}", "KL · CI") for pair in pairs})
        assert len(set(chosen.values())) == 4
        assert all(one <= gap < other for (one, other), gap in chosen.items())


def test_members_that_are_all_aligned_share_one_bracket():
    """Four have six mutual edges and one line; three have arcs, which can be followed."""
    from mstgraph.viz.paths.mutual import one_bracket

    names = ("one", "two", "three", "four")
    members = {name: [name] for name in names}
    plan = document(names, members, {"two": ["layer"]}, ["one"])
    assert one_bracket(plan)
    svg = as_svg(draw_paths(plan))
    assert svg.count(">KL · CI<") == 1
    without = {**plan, "edges": plan["edges"][1:]}
    mutual = [e for e in plan["edges"] if e["kind"] == "mutual"]
    assert len(mutual) == 6
    assert not one_bracket({**plan, "edges": [e for e in plan["edges"] if e != mutual[0]]})
    assert not one_bracket({**without, "members": plan["members"][:3]})


def test_what_belongs_to_a_teacher_is_named_in_the_picture():
    """Whoever shows the SVG finds a teacher's marks and its edge by its number."""
    svg = as_svg(draw_paths(two_modalities()))
    for j in (1, 2, 3, 4):
        assert f'id="path-rgb-{j}--0"' in svg
        assert f'id="path-rgb-{j}-edge--0"' in svg
