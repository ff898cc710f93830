"""From a graph to its schedule: who is trained when, from whose weights, and who stays frozen."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_graphs import ROLES, TWO

from mstgraph.derive.experiment import Experiment
from mstgraph.derive.plan import Plan

Make = Callable[..., Experiment]
Method = Callable[..., Experiment]

PLAIN = """
graph.target = 'rgb'
graph.rgb = @rgb/Member()
graph.depth = @depth/Member()
"""


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


# --- methods -----------------------------------------------------------------------------------

Stages = dict[str, tuple[str, str, dict[str, str]]]
ALONE = {"alone-rgb": ("rgb", "", {})}


def stages_of(plan: Plan) -> Stages:
    """Return stage → what it trains, what it freezes, and where the weights come from."""
    return {
        name: (" ".join(node.trains), " ".join(node.freezes), dict(node.sources))
        for name, node in plan.stages.items()
    }


def distilled(*adapters: str) -> Stages:
    """The stages of a method whose pre-trained, frozen teacher is the fused member."""
    trained = " ".join(("rgb", *adapters))
    return {
        "pretrain-fused": ("fused", "", {}),
        "distill-rgb": (trained, "fused", {"fused": "pretrain-fused"}),
        **ALONE,
    }


def specialised(*points: str) -> Stages:
    """CI of all, a MaskNet at each point, and a gate over them."""
    members = list(dict.fromkeys(point.split(".")[0] for point in points))
    masks = {f"masknet.rgb.{point}": f"sta-rgb-{point}" for point in points}
    joined = [name for name in ("fused", "rgb", "depth") if name in ("rgb", *members)]
    return {
        "ci": (" ".join(joined), "", {}),
        **{
            stage: (
                mask,
                f"rgb {mask.split('.')[2]}",
                dict.fromkeys(("rgb", mask.split(".")[2]), "ci"),
            )
            for mask, stage in masks.items()
        },
        "dkd-rgb": (
            "rgb gate.rgb",
            " ".join((*members, *masks)),
            {**dict.fromkeys(("rgb", *members), "ci"), **masks},
        ),
        **ALONE,
    }


FUSED = ("fused.fusion", "fused.hidden1")
DEPTH = ("depth.hidden1", "depth.hidden2")
CROSS, BOTH = "graph.teachers = 'cross-modal'", "graph.teachers = 'all'"
METHODS: dict[tuple[str, ...], Stages] = {
    ("none",): {"pretrain-rgb": ("rgb", "", {})},
    ("kd",): distilled(),
    ("mlld",): distilled(),
    ("rkd",): distilled(),
    ("ofa",): distilled("adapter.rgb.fused"),
    ("crd",): distilled("adapter.rgb.fused"),
    ("fitnets",): {
        "pretrain-fused": ("fused", "", {}),
        "hint-rgb": ("rgb adapter.rgb.fused", "fused", {"fused": "pretrain-fused"}),
        "distill-rgb": ("rgb", "fused", {"rgb": "hint-rgb", "fused": "pretrain-fused"}),
        **ALONE,
    },
    ("dml",): {"ci": ("fused rgb depth", "", {}), **ALONE},
    ("mgdfr",): {
        "ci": ("rgb depth", "", {}),
        "sta-rgb-depth.hidden2": (
            "masknet.rgb.depth.hidden2",
            "rgb depth",
            {"rgb": "ci", "depth": "ci"},
        ),
        "distill-rgb": (
            "rgb",
            "depth masknet.rgb.depth.hidden2",
            {"depth": "ci", "masknet.rgb.depth.hidden2": "sta-rgb-depth.hidden2"},
        ),
        **ALONE,
    },
    ("c2kd",): {
        "pretrain-depth": ("depth", "", {}),
        "distill-rgb": ("rgb depth adapter.rgb.depth", "", {"depth": "pretrain-depth"}),
        **ALONE,
    },
    ("mst",): specialised(*FUSED, *DEPTH),
    ("mst", "graph.teachers = 'multimodal'"): specialised(*FUSED),
    ("mst", CROSS): specialised(*DEPTH),
    ("kd", CROSS): {
        "pretrain-depth": ("depth", "", {}),
        "distill-rgb": ("rgb", "depth", {"depth": "pretrain-depth"}),
        **ALONE,
    },
    ("kd", BOTH): {
        "pretrain-fused": ("fused", "", {}),
        "pretrain-depth": ("depth", "", {}),
        "distill-rgb": (
            "rgb",
            "fused depth",
            {"fused": "pretrain-fused", "depth": "pretrain-depth"},
        ),
        **ALONE,
    },
}


@pytest.mark.parametrize("given", METHODS, ids=" ".join)
def test_the_stages_of_a_method(method: Method, given: tuple[str, ...]) -> None:
    """What each trains and freezes, and where the weights that it starts from come from."""
    plan = method(*given).plan
    assert stages_of(plan) == METHODS[given]
    last = {"none": "pretrain-rgb", "dml": "ci", "mst": "dkd-rgb"}
    assert plan.last == {"rgb": last.get(given[0], "distill-rgb")}


def test_the_student_alone_has_the_budget_of_the_weights_it_is_compared_with(
    method: Method,
) -> None:
    """Hint stage and CI count; the CI of a student that starts afresh does not."""
    epochs = [f"{n}.epochs = {e}" for n, e in {"CI": 2, "Hint": 5, "Distill": 11}.items()]
    budgets = {"kd": 11, "fitnets": 16, "dml": 2, "mgdfr": 11}
    for name, budget in budgets.items():
        alone = method(name, *epochs).plan.stages["alone-rgb"]
        assert alone.settings.epochs == budget, name
    built_on = method("mgdfr", *epochs, "graph.fresh = False").plan
    assert built_on.stages["alone-rgb"].settings.epochs == 13


def test_a_student_that_is_fresh_starts_from_scratch(method: Method) -> None:
    """With ``graph.fresh`` its mutual training serves the teachers alone; hints still count."""
    assert "rgb" not in method("mst", "graph.fresh = True").plan.stages["dkd-rgb"].sources
    hinted = method("fitnets", "graph.fresh = True", "Member.mutual = 'all'").plan.stages
    assert "rgb" not in hinted["hint-rgb"].sources
    assert hinted["distill-rgb"].sources == {"rgb": "hint-rgb", "fused": "ci"}
    built_on = method("fitnets", "Member.mutual = 'all'").plan.stages
    assert built_on["hint-rgb"].sources == {"rgb": "ci", "fused": "ci"}


AUDIO = """
graph.audio = @audio/Member()
audio/Member.masks = ('hidden1',)
"""


def test_a_third_modality_gives_more_teachers(method: Method) -> None:
    """Of each method that lets cross-modal members stay, wherever it specialises them."""
    text = TWO + ROLES + AUDIO
    for name, points in {"mst": ["hidden1"], "mgdfr": ["hidden2"], "c2kd": [""]}.items():
        before = [t.name for t in method(name).plan.teachers["rgb"]]
        plan = method(name, text=text).plan
        more = [f"audio.{point}".rstrip(".") for point in points]
        assert [t.name for t in plan.teachers["rgb"]] == [*before, *more], name
        stage = plan.stages[plan.last["rgb"]]
        assert set(more) <= stage.forwards.keys()
    c2kd = method("c2kd", text=text).plan.stages["distill-rgb"]
    assert c2kd.trains == ("rgb", "depth", "audio", "adapter.rgb.depth", "adapter.rgb.audio")
    assert c2kd.adapters == {"depth": "adapter.rgb.depth", "audio": "adapter.rgb.audio"}
    assert "audio" in method("dml", text=text).plan.stages["ci"].members
    assert [t.name for t in method("kd", text=text).plan.teachers["rgb"]] == ["fused"]


def test_two_targets_share_what_does_not_depend_on_the_target(method: Method) -> None:
    """Teachers are trained once; hints, adapters and the last stages are each student's own."""
    text = TWO.replace("'rgb'\n", "('rgb', 'depth')\n") + ROLES
    kd = method("kd", "graph.alone = False", text=text).plan
    assert list(kd.stages) == ["pretrain-fused", "distill-rgb", "distill-depth"]
    fitnets = method("fitnets", "graph.alone = False", text=text).plan
    assert list(fitnets.stages) == [
        "pretrain-fused",
        "hint-rgb",
        "distill-rgb",
        "hint-depth",
        "distill-depth",
    ]
    assert fitnets.stages["hint-depth"].trains == ("depth", "adapter.depth.fused")
    # Cross-modal targets teach each other, with the weights they had before.
    c2kd = method("c2kd", "graph.alone = False", text=text).plan
    assert stages_of(c2kd) == {
        "pretrain-rgb": ("rgb", "", {}),
        "pretrain-depth": ("depth", "", {}),
        "distill-rgb": ("rgb depth adapter.rgb.depth", "", {"depth": "pretrain-depth"}),
        "distill-depth": ("depth rgb adapter.depth.rgb", "", {"rgb": "pretrain-rgb"}),
    }
    # With the multimodal teacher alone, they do not.
    mst = method("mst", "graph.teachers = 'multimodal'", text=text).plan
    assert [t.member for t in mst.teachers["rgb"] + mst.teachers["depth"]] == ["fused"] * 4
    assert mst.stages["ci"].mutual == (("fused", "rgb"), ("fused", "depth"))
    mgdfr = method("mgdfr", "graph.alone = False", text=text).plan
    assert [name for name in mgdfr.stages if name.startswith("ci")] == ["ci"]
    assert mgdfr.stages["sta-depth-rgb.hidden2"].sources == {"rgb": "ci", "depth": "ci"}
    alone = method("none", text=text).plan
    assert stages_of(alone) == {n: (n[9:], "", {}) for n in ("pretrain-rgb", "pretrain-depth")}


@pytest.mark.parametrize("name", ["kd", "fitnets", "crd", "c2kd"])
def test_an_assistant_is_taught_by_the_same_method_first(method: Method, name: str) -> None:
    """With audio → depth → rgb, rgb sees the depth of depth's own last stage."""
    text = (
        "graph.target = 'rgb'\n"
        + "".join(f"graph.{n} = @{n}/Member()\n" for n in ("rgb", "depth", "audio"))
        + "audio/Member.teaches = 'depth'\n"
        + ROLES
    )
    stages = method(name, "graph.teachers = 'all'", text=text).plan.stages
    assert stages["distill-depth"].sources["audio"] == "pretrain-audio"
    assert stages["distill-rgb"].sources["depth"] == "distill-depth"
    assert "pretrain-depth" not in stages
    if name == "fitnets":
        assert stages["hint-rgb"].sources == {"depth": "distill-depth"}
        assert stages["distill-depth"].sources["depth"] == "hint-depth"


def test_losses_may_differ_from_edge_to_edge(method: Method) -> None:
    """The hint stage knows the hinted teachers alone, and each edge taps what its loss reads."""
    stages = method("kd", BOTH, "depth/Member.loss = @FitNets()", "fused/Member.loss = @RKD()").plan
    hint, last = stages.stages["hint-rgb"], stages.stages["distill-rgb"]
    assert [t.name for t in hint.teachers] == ["depth"]
    assert hint.forwards["depth"].taps == hint.forwards["rgb"].taps == ("hidden1", "hidden2")
    taps = {name: forward.taps for name, forward in last.forwards.items()}
    assert taps == {"rgb": ("hidden2",), "fused": ("hidden2",), "depth": ()}


def test_layers_and_taps_follow_the_roles_of_each_member(method: Method) -> None:
    """In the order in which the member names them; none in a stage whose loss reads none."""
    hints = "fused/Member.hints = ('hidden2', 'fusion')"
    fitnets = method("fitnets", hints).plan.stages
    hint = fitnets["hint-rgb"]
    assert hint.forwards["fused"].taps == ("hidden2", "fusion")
    assert hint.forwards["rgb"].taps == ("hidden1", "hidden2")
    assert hint.layers["fused"] == {
        "penultimate": ("hidden2",),
        "hints": ("hidden2", "fusion"),
        "representation": ("hidden2",),
    }
    # OFA reads the student's layers alone.
    taps = {n: f.taps for n, f in method("ofa", hints).plan.stages["distill-rgb"].forwards.items()}
    assert taps == {"rgb": ("hidden1", "hidden2"), "fused": ()}
    assert {forward.taps for forward in fitnets["distill-rgb"].forwards.values()} == {()}
    assert {
        forward.taps for forward in method("kd").plan.stages["distill-rgb"].forwards.values()
    } == {()}
