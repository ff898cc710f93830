"""Which values are constant, and what is done with each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import training_worlds as small

from mstgraph.derive.keeping.constants import constant_responses, trunk_points
from mstgraph.derive.keeping.passes import group_stages
from mstgraph.derive.keeping.placement import Value, decide
from mstgraph.stages.node import Forward
from mstgraph.support.numerics import kept_type
from mstgraph.support.text import size_in_words

pytest_plugins = ("training_fixtures",)


def value(name: str, size: int) -> Value:
    """A constant response of some float32 numbers per sample."""
    return Value("response", name, Forward(name), (), {"response": ((size,), torch.float32)})


def decided(**changes: Any) -> list[tuple[str, str, int]]:
    """Decide about three values over 10 samples: 40, 80 and 400 bytes each."""
    given = {"halved": False, "memory": 10**6, "disk": 10**6, "cache": True, "augmented": {}}
    passes = changes.pop("passes", 5)
    values = [value("c", 100), value("a", 10), value("b", 20)]
    found = decide(values, 10, passes, **{**given, **changes})
    return [(d.value.member, d.placement, d.size) for d in found]


def test_small_values_are_kept_first() -> None:
    """In memory while it lasts, then on disk, then not at all."""
    assert decided() == [("a", "memory", 400), ("b", "memory", 800), ("c", "memory", 4000)]
    assert decided(memory=1200, disk=4000)[2] == ("c", "disk", 4000)
    assert decided(memory=1199, disk=4799) == [
        ("a", "memory", 400),
        ("b", "disk", 800),
        ("c", "recompute", 4000),
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cache": False}, "the cache is off"),
        (
            {"augmented": {"a": 0, "b": 0, "c": 0}},
            "the inputs are augmented, so it is not constant",
        ),
        ({"passes": 1}, "it is read once"),
        ({"memory": 0, "disk": 0}, "too large: 0.0 kB of memory and 0.0 kB of disk are left"),
    ],
)
def test_what_is_not_kept_says_why(changes: dict[str, Any], words: str) -> None:
    """In words."""
    assert {placement for _, placement, _ in decided(**changes)} == {"recompute"}
    given = {"halved": False, "memory": 9**9, "disk": 9, "cache": True, "augmented": {}}
    passes = changes.pop("passes", 5)
    (decision,) = decide([value("a", 10)], 10, passes, **{**given, **changes})
    assert decision.reason == words


def test_types_that_values_are_kept_as() -> None:
    """float16 halves floats if asked; indices fit 32 bits; others stay."""
    assert kept_type(torch.float32, True) == torch.float16
    assert kept_type(torch.float64, False) == torch.float64
    assert kept_type(torch.int64, False) == torch.int32
    assert kept_type(torch.uint8, True) == torch.uint8
    assert [size for _, _, size in decided(halved=True)] == [200, 400, 2000]
    assert [size_in_words(n) for n in (10, 2 * 10**6, 3 * 10**9)] == ["0.0 kB", "2.0 MB", "3.0 GB"]


@pytest.mark.usefixtures("workspace")
def test_stages_that_read_the_same_frozen_networks_share_a_pass() -> None:
    """All STA of a student, unless epochs, batches or samples differ; nothing waits in a group."""
    names = [[n.name for n in g] for g in group_stages(list(small.mfeat().plan.stages.values()))]
    stas = [f"sta-zer-{p}" for p in ("fused.fusion", "fused.hidden1", "fou.hidden1", "fou.hidden2")]
    assert names == [["ci"], stas, ["dkd-zer"], ["alone-zer"]]
    for binding in ("fou/STA.samples = 'labelled'", "fou/STA.epochs = 5"):
        apart = small.mfeat(binding)
        groups = [{n.name for n in g} for g in group_stages(list(apart.plan.stages.values()))]
        assert set(stas[:2]) in groups
        assert set(stas[2:]) in groups
    done: set[str] = set()
    for group in group_stages(list(apart.plan.stages.values())):
        assert all(set(node.needs) <= done for node in group)
        done |= {node.name for node in group}


@pytest.mark.usefixtures("workspace")
def test_constant_values_of_each_stage() -> None:
    """CI has none; STA the student's response and the trunks; DKD every teacher's response."""
    groups = group_stages(list(small.mfeat().plan.stages.values()))
    found = [[(f.member, f.point) for f in constant_responses(group)] for group in groups]
    masks = [("fused", "fusion"), ("fused", "hidden1"), ("fou", "hidden1"), ("fou", "hidden2")]
    assert found == [[], [("zer", "")], masks, []]
    points = {"fused": ("fusion", "hidden1"), "fou": ("hidden1", "hidden2")}
    assert [trunk_points(group) for group in groups] == [{}, points, points, {}]
