"""Roles that a network proposes: they fill what a gin file leaves open, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mstgraph.declare.configuration import Configuration
from mstgraph.declare.roles import network_roles
from mstgraph.derive.experiment import Experiment
from mstgraph.derive.opening import open_experiment
from mstgraph.networks.sequence import Sequence1d
from mstgraph.support.errors import UserError

NETWORK = """
import gin
from torch import nn


@gin.configurable
class Knowing(nn.Module):
    def __init__(self, inputs, num_outputs, width=6):
        super().__init__()
        if width < 1:
            raise ValueError(f"Knowing.width is {width}")
        self.first = nn.Linear(sum(shape[0] for shape in inputs.values()), width)
        self.second = nn.Linear(width, width)
        self.classifier = nn.Linear(width, num_outputs)

    @property
    def roles(self):
        return {"penultimate": ("second",), "hints": ("first", "second"), "masks": ("second",)}

    def forward(self, x):
        return self.classifier(self.second(self.first(x)).relu())
"""
GRAPH = """
import knowing_network
graph.target = 'rgb'
graph.gate = @Gate
Member.network = @Knowing
Member.mutual = 'all'
graph.rgb = @rgb/Member()
graph.depth = @depth/Member()
"""


@pytest.fixture
def knowing(write_gin: Callable[..., Path], tmp_path: Path) -> Callable[..., Experiment]:
    """Return a function from bindings to a graph whose networks propose their roles."""
    (tmp_path / "knowing_network.py").write_text(NETWORK)
    path = write_gin(GRAPH)
    return lambda *bindings: open_experiment([path], bindings)


def points(found: Experiment) -> list[tuple[str, str]]:
    """Return (member, mask point) of each teacher."""
    return [(teacher.member, teacher.point) for teacher in found.plan.teachers["rgb"]]


def test_what_is_left_open_is_proposed(knowing: Callable[..., Experiment]) -> None:
    """Teachers get mask points, everybody the layers that losses read; targets no mask points."""
    found = knowing()
    members = found.plan.graph.members
    assert points(found) == [("depth", "second")]
    assert members["rgb"].masks == ()
    for member in members.values():
        assert (member.penultimate, member.hints) == ("second", ("first", "second"))
    read = knowing("Member.loss = @FitNets()", "graph.gate = None", "graph.points = 'none'")
    assert {f.taps for s in read.plan.stages.values() for f in s.forwards.values()} >= {
        ("first", "second")
    }


def test_sequences_propose_their_last_blocks() -> None:
    """As the data set's own gin file names them."""
    roles = network_roles(Sequence1d, "gyroscope", {"gyroscope": (3, 64)}, Configuration())
    assert roles == {
        "penultimate": ("hidden",),
        "hints": ("block2", "block3"),
        "masks": ("block3", "hidden"),
    }


def test_the_users_bindings_win(knowing: Callable[..., Experiment]) -> None:
    """Also those that say that there is none."""
    assert points(knowing("depth/Member.masks = ('first',)")) == [("depth", "first")]
    assert points(knowing("Member.masks = ()")) == [("depth", "")]
    assert knowing("Member.penultimate = 'first'").plan.graph.members["rgb"].penultimate == "first"


def test_a_twin_of_the_target_teaches_as_it_is(knowing: Callable[..., Experiment]) -> None:
    """Like the target itself: it is proposed no mask points."""
    found = knowing("graph.twin = @twin/Member()", "twin/Member.inputs = 'target'")
    assert ("twin", "") in points(found)


def test_the_written_configuration_is_the_same_experiment(
    knowing: Callable[..., Experiment], tmp_path: Path
) -> None:
    """What was proposed is no binding, and is proposed again."""
    found = knowing()
    (tmp_path / "config.gin").write_text("import knowing_network\n" + found.gin_text)
    again = open_experiment([tmp_path / "config.gin"])
    hashes = [{n: s.hash for n, s in e.plan.stages.items()} for e in (found, again)]
    assert hashes[0] == hashes[1]
    assert points(again) == points(found)


def test_a_network_that_cannot_be_built_is_refused_with_its_place(
    knowing: Callable[..., Experiment],
) -> None:
    """In the words that it would be refused with if it proposed nothing."""
    with pytest.raises(
        UserError, match=r"^command line.*: member 'rgb': its network cannot be"
    ) as e:
        knowing("rgb/Knowing.width = 0")
    assert "Knowing.width is 0" in str(e.value)
