"""A file of one backbone, or of a whole fused network, for branches of other channels."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mstgraph.derive.members.weights import fitting_weights, recorded
from mstgraph.networks.by_name import Headed
from mstgraph.networks.fused import Fused

SEEN = {"rgb": (3, 8, 8), "depth": (1, 8, 8), "more": (3, 8, 8)}


class Blocks(nn.Module):
    """A backbone of two convolutions."""

    def __init__(self, channels: int, width: int = 4) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3)
        self.block = nn.Sequential(OrderedDict(conv1=nn.Conv2d(width, 4, 3)))

    def forward(self, x: Tensor) -> Tensor:
        """Return [batch, 4]."""
        return self.block(self.conv1(x)).mean((2, 3))


def branch(inputs: dict[str, tuple[int, ...]], num_outputs: int) -> nn.Module:
    """Return a backbone with a head; that of 'more' is another one."""
    ((name, shape),) = inputs.items()
    return Headed(Blocks(shape[0], 5 if name == "more" else 4), 4, num_outputs)


def fused() -> Fused:
    """Return a network whose branches see colours, depth, and colours by another backbone."""
    return Fused(SEEN, 2, branch, width=6, hidden=5)


@pytest.mark.parametrize("prefix", ["", "module.", "backbone."])
def test_a_backbone_starts_every_branch_that_it_fits(prefix: str, tmp_path: Path) -> None:
    """Each with its own channels; what is told of it is what happens, and counts as such."""
    colours, network = Blocks(3), fused()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    states = {f"{prefix}{n}": v for n, v in colours.state_dict().items()}
    torch.save({**states, f"{prefix}fc.weight": torch.zeros(9, 4)}, tmp_path / "colours.pt")
    weights = fitting_weights("colours.pt", tmp_path / "colours.pt", network)
    weights.load(network)
    grey = torch.rand(2, 1, 8, 8)
    for name, channels in (("rgb", 3), ("depth", 1)):
        found = network.branches[name].backbone(grey.expand(-1, channels, -1, -1))
        torch.testing.assert_close(found, colours(grey.expand(-1, 3, -1, -1)))
    same = [
        name for name, value in network.state_dict().items() if torch.equal(value, before[name])
    ]
    assert sorted(same) == sorted(weights.missing)
    told = weights.in_words()
    assert told.startswith(
        "8 of 22 tensors from 'colours.pt', each of branches.rgb, branches.depth; fitted to its "
        "channels: branches.depth.backbone.conv1.weight; as initialised: "
    )
    assert told.endswith(f"left in the file: {prefix}fc.weight (no such name in the network)")
    assert recorded(json.loads(json.dumps(weights.document()))).parts == weights.parts


def test_a_whole_network_gives_each_branch_its_own(tmp_path: Path) -> None:
    """One that saw colours everywhere starts one that sees depth, too."""
    colours = Fused(dict.fromkeys(SEEN, (3, 8, 8)), 2, branch, width=6, hidden=5)
    network = fused()
    states = {f"module.{name}": value for name, value in colours.state_dict().items()}
    torch.save(states, tmp_path / "whole.pt")
    weights = fitting_weights("whole.pt", tmp_path / "whole.pt", network)
    weights.load(network)
    assert weights.adapted == ("branches.depth.backbone.conv1.weight",)
    assert (weights.missing, weights.parts) == ((), ())
    grey = [torch.rand(2, 1, 8, 8) for _ in SEEN]
    seen = [x.expand(-1, shape[0], -1, -1) for x, shape in zip(grey, SEEN.values(), strict=True)]
    expected = colours(*(x.expand(-1, 3, -1, -1) for x in grey))
    torch.testing.assert_close(network(*seen), expected)


def test_of_branches_of_one_kind_alone_nothing_else_is_said(tmp_path: Path) -> None:
    """A file that one branch fits best is that branch's, as it ever was."""
    torch.save(Blocks(3, 5).state_dict(), tmp_path / "more.pt")
    weights = fitting_weights("more.pt", tmp_path / "more.pt", fused())
    assert sorted(weights.taken.values()) == sorted(Blocks(3, 5).state_dict())
    assert all(name.startswith("branches.more.backbone.") for name in weights.taken)
    assert (weights.adapted, weights.parts) == ((), ())
