"""Which parameters have a rate of their own."""

from __future__ import annotations

import torch
from torch import nn

from mstgraph.stages import optimizers
from mstgraph.stages.parameters import groups_by_rate, without_parameters


class Network(nn.Module):
    """A backbone of two layers, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"first": nn.Linear(2, 2), "firsts": nn.Linear(2, 2)})
        self.head = nn.Linear(2, 2)


PARTS = {"rgb": Network(), "gate": nn.Linear(2, 3)}


def shares(rates: dict[str, float]) -> dict[str, float]:
    """Return the share of every parameter by name."""
    found = {id(p): share for share, group in groups_by_rate(PARTS, rates) for p in group}
    named = ((f"{part}.{n}", p) for part, m in PARTS.items() for n, p in m.named_parameters())
    return {name: found[id(parameter)] for name, parameter in named}


def test_the_longest_path_counts() -> None:
    """Whole names of modules, from any part or with the part's name; each parameter once."""
    found = shares({"encoder": 0.1, "encoder.first": 0.01, "rgb.head.bias": 0.5})
    assert {name for name, share in found.items() if share == 0.01} == {
        "rgb.encoder.first.weight",
        "rgb.encoder.first.bias",
    }
    assert (found["rgb.encoder.firsts.weight"], found["rgb.head.bias"]) == (0.1, 0.5)
    assert found["rgb.head.weight"] == found["gate.weight"] == 1.0
    assert without_parameters(PARTS, {"encoder": 1.0, "encode": 1.0, "rgb.head": 1.0}) == ["encode"]


def test_groups_take_the_fused_kernel_and_their_own_rate() -> None:
    """One step of SGD is as far as the shares say."""
    network = Network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    groups = groups_by_rate({"rgb": network}, {"encoder": 0.1})
    optimizer = optimizers.SGD([{"params": p, "lr": share} for share, p in groups], lr=1.0)
    assert optimizer.defaults["fused"] is True
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for name, value in network.state_dict().items():
        moved = (before[name] - value).mean().item()
        assert round(moved, 5) == (0.1 if name.startswith("encoder") else 1.0)
