"""Seeds by name, and generators that are seeded as their libraries do it."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from mstgraph.support.seeds import derive_seed, python_seeded, seed_torch


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_torch_draws_what_its_own_seed_would_draw(seed: int) -> None:
    """Numbers are those of `torch.manual_seed`, which costs more."""
    torch.manual_seed(seed)
    expected = torch.rand(5), torch.nn.functional.dropout(torch.ones(20))
    torch.rand(3)
    seed_torch(seed)
    assert torch.equal(torch.rand(5), expected[0])
    assert torch.equal(torch.nn.functional.dropout(torch.ones(20)), expected[1])


def test_every_accelerator_is_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is one, its own generators draw what torch's seed says."""
    seen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seen.append)
    seed_torch(7)
    assert seen == [7]


def test_python_and_numpy_are_as_before_afterwards() -> None:
    """A block that needs them in a known state leaves no trace."""
    random.seed(1)
    np.random.seed(1)
    expected = random.random(), np.random.random()
    random.seed(1)
    np.random.seed(1)
    with python_seeded(3):
        first = random.random(), np.random.random()
    assert (random.random(), np.random.random()) == expected
    with python_seeded(3):
        assert (random.random(), np.random.random()) == first


def test_a_seed_is_of_all_its_names() -> None:
    """Each name and its place count, and 63 bits are what torch and numpy take."""
    purposes = (0, "a", "b"), (0, "ab"), (0, "b", "a"), (1,)
    seeds = {derive_seed(*names) for names in purposes}
    assert len(seeds) == 4
    assert all(0 <= seed < 2**63 for seed in seeds)
