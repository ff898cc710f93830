"""The layers of a member are shown with shapes, and with why some are no mask points."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny_graphs import TWO

import mstgraph
from mstgraph.cli import main
from mstgraph.support.errors import UserError


@pytest.fixture
def graph(write_gin: Callable[..., Path]) -> Path:
    """The graph of two modalities and a fused member."""
    frozen = "fused/Member.frozen = ('branches.rgb',)\nfused/Member.penultimate = 'hidden2'\n"
    return write_gin(TWO + frozen)


def test_layers_say_what_they_return_and_where_a_mask_can_be(graph: Path) -> None:
    """A container that is never called, and a layer narrower than the mask's heads, cannot."""
    found = {layer["path"]: layer for layer in mstgraph.load(graph).layers("fused")}
    assert list(found)[:3] == ["branches", "branches.rgb", "branches.rgb.hidden1"]
    assert found["branches"]["shape"] is None
    assert found["branches"]["problem"] == "a forward pass calls it never, not once (in training)"
    assert found["fusion"]["shape"] == [8]
    assert (found["fusion"]["problem"], found["fusion"]["roles"]) == ("", ["masks"])
    assert found["branches.rgb"]["roles"] == ["frozen"]
    assert found["hidden2"]["roles"] == ["penultimate", "representation"]
    assert found["hidden1"]["parameters"] == 9 * 6


def test_a_layer_that_a_mask_does_not_fit_says_why(graph: Path) -> None:
    """What the member inserts there is asked."""
    bindings, told = ("MaskNet.heads = 0", "graph.points = 'none'"), list[str]()
    found = mstgraph.load(graph, *bindings, notice=told.append).layers("fused")
    problems = [layer["problem"] for layer in found if layer["path"] == "fusion"]
    assert problems == ["MaskNet.heads is 0 and MaskNet.factor 2, expected at least 1 each"]


def test_the_command_prints_a_tree_or_json(graph: Path) -> None:
    """The same as the Python door gives."""
    shown = CliRunner().invoke(main, ["layers", str(graph), "fused"])
    assert shown.exit_code == 0
    assert "fusion Concatenation · 8 · masks · mask point" in shown.output
    plain = CliRunner().invoke(main, ["layers", str(graph), "fused", "--json"])
    assert json.loads(plain.output) == mstgraph.load(graph).layers("fused")


def test_a_member_that_is_none_is_answered_with_the_nearest(graph: Path) -> None:
    """As everywhere."""
    with pytest.raises(UserError, match=r"there is no member 'fusd'; did you mean 'fused'\?"):
        mstgraph.load(graph).layers("fusd")
