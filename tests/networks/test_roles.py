"""Which layers networks propose for the roles of a member."""

from __future__ import annotations

import pytest
from torch import nn

from mstgraph.networks.roles import last_blocks


def row(count):
    """Return a row of layers."""
    return nn.Sequential(*(nn.Linear(2, 2) for _ in range(count)))


class Net(nn.Module):
    """A network of given children."""

    def __init__(self, **children):
        super().__init__()
        for name, child in children.items():
            setattr(self, name, child)


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        (Net(stem=nn.Linear(2, 2), layer1=row(2), layer2=row(3)), ("layer2.1", "layer2.2")),
        (Net(encoder=Net(layer=nn.ModuleList(row(4))), pool=nn.Linear(2, 2)),
         ("encoder.layer.2", "encoder.layer.3")),
        # Rows side by side are branches of one block, not blocks.
        (Net(first=Net(a=row(2), b=row(2)), second=Net(a=row(2), b=row(2))), ("first", "second")),
        (Net(features=row(3), flat=nn.Flatten(), classifier=row(2)), ("features.1", "features.2")),
        (nn.ModuleDict({"0": row(2), "1": row(2)}), ("0", "1")),
        (Net(one=nn.Linear(2, 2), two=nn.Linear(2, 2), act=nn.ReLU()), ("one", "two")),
    ],
)  # fmt: skip
def test_the_last_two_blocks_of_a_backbone(network, expected):
    """The end of the outermost row of modules, what is left of a classifier aside."""
    assert last_blocks(network, head="classifier") == expected
