"""Which parameters have a rate or a weight decay of their own."""

from __future__ import annotations

import torch
from torch import nn

from mstgraph.stages import optimizers
from mstgraph.stages.parameters import groups_by_share, without_parameters


class Network(nn.Module):
    """A backbone of two layers, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.ModuleDict({"first": nn.Linear(2, 2), "firsts": nn.Linear(2, 2)})
        self.head = nn.Linear(2, 2)


PARTS = {"rgb": Network(), "gate": nn.Linear(2, 3)}


def shares(rates: dict[str, float], decays: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Return the shares of rate and decay of every parameter by name."""
    groups = groups_by_share(PARTS, rates, decays)
    found = {id(p): (rate, decay) for rate, decay, group in groups for p in group}
    named = ((f"{part}.{n}", p) for part, m in PARTS.items() for n, p in m.named_parameters())
    return {name: found[id(parameter)] for name, parameter in named}


def test_the_longest_path_counts() -> None:
    """Whole names of modules, from any part or with the part's name; each parameter once."""
    paths = {"encoder": 0.1, "encoder.first": 0.01, "rgb.head.bias": 0.5}
    for place, found in enumerate((shares(paths, {}), shares({}, paths))):
        own = {name: share[place] for name, share in found.items()}
        assert {share[1 - place] for share in found.values()} == {1.0}
        assert {name for name, share in own.items() if share == 0.01} == {
            "rgb.encoder.first.weight",
            "rgb.encoder.first.bias",
        }
        assert (own["rgb.encoder.firsts.weight"], own["rgb.head.bias"]) == (0.1, 0.5)
        assert own["rgb.head.weight"] == own["gate.weight"] == 1.0


def test_biases_and_scales_may_decay_otherwise() -> None:
    """Whatever module they lie in; what is frozen is nothing that a path leads to."""
    found = shares({}, {"encoder": 0.1, "vectors": 0.0})
    assert {name: decay for name, (_, decay) in found.items() if "weight" in name} == {
        "rgb.encoder.first.weight": 0.1,
        "rgb.encoder.firsts.weight": 0.1,
        "rgb.head.weight": 1.0,
        "gate.weight": 1.0,
    }
    assert {decay for name, (_, decay) in found.items() if "bias" in name} == {0.0}


def test_paths_that_lead_nowhere_are_found() -> None:
    """A name that is no module's, and what is frozen whole."""
    paths = ["encoder", "encode", "rgb.head"]
    assert without_parameters(PARTS, paths, {}) == ["encode"]
    assert without_parameters(PARTS, paths, {"rgb": ("encoder",)}) == ["encoder", "encode"]


def test_groups_take_the_fused_kernel_and_their_own_rate() -> None:
    """One step of SGD is as far as the shares say."""
    network = Network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    groups = groups_by_share({"rgb": network}, {"encoder": 0.1}, {})
    optimizer = optimizers.SGD([{"params": p, "lr": share} for share, _, p in groups], lr=1.0)
    assert optimizer.defaults["fused"] is True
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    for name, value in network.state_dict().items():
        moved = (before[name] - value).mean().item()
        assert round(moved, 5) == (0.1 if name.startswith("encoder") else 1.0)
