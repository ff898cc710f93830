"""Who takes which rows of a batch, and one process alone, which sends nothing to nobody."""

from __future__ import annotations

import os

import pytest
import torch

from mstgraph.support.errors import RunError, UserError
from mstgraph.support.processes import group
from mstgraph.support.processes.group import ALONE, Processes, joined


@pytest.mark.parametrize("size", [4, 7, 8])
def test_every_row_is_one_processs(size: int) -> None:
    """In order, and as evenly as can be."""
    everyone = [Processes(rank, 4, 4) for rank in range(4)]
    rows = [list(range(size))[process.rows(size)] for process in everyone]
    assert [row for own in rows for row in own] == list(range(size))
    assert [len(own) for own in rows] == everyone[0].sizes(size)
    assert max(map(len, rows)) - min(map(len, rows)) <= 1


def test_where_rows_are_too_few_the_first_stands_in() -> None:
    """A network is never asked of nothing; its answer is left out."""
    last = Processes(3, 4, 4)
    assert last.sizes(2) == [1, 1, 0, 0]
    assert last.rows(2) == slice(0, 1)


def test_one_process_is_asked_nothing() -> None:
    """What it has is what all have, the very same tensors."""
    values, weight = torch.ones(2), torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    ALONE.average_gradients([weight])
    ALONE.wait()
    with ALONE.main_first():
        assert ALONE.gather(values, [2]) is values
    assert (ALONE.any(True), ALONE.any(False), ALONE.least(3)) == (True, False, 3)
    assert ALONE.agreed(values) is values
    assert torch.equal(weight.grad, torch.ones(1))
    with joined("cpu") as (processes, where):
        assert (processes, where) == (ALONE, torch.device("cpu"))


def test_a_launcher_that_is_gone_is_noticed() -> None:
    """Nobody else would end its processes."""
    assert not ALONE.ended()
    assert not Processes(0, 2, 2, os.getppid()).ended()
    assert Processes(0, 2, 2, os.getpid()).ended()


def test_one_that_ends_before_all_have_met_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the main process refuses what the command line asks for."""

    def fail(backend: str) -> None:
        raise RuntimeError("Gloo connectFullMesh failed")

    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr(group.dist, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(group.dist, "init_process_group", fail)
    with pytest.raises(RunError, match="another process of this run has ended"), joined("cpu"):
        pass


@pytest.mark.parametrize(
    ("device", "found", "sentence"),
    [("cuda:1", "cuda:1", "is one GPU"), ("auto", "cuda", "need a GPU each, and torch sees 0")],
)
def test_gpus_that_do_not_suffice_are_refused(
    monkeypatch: pytest.MonkeyPatch, device: str, found: str, sentence: str
) -> None:
    """One that is named, or fewer than there are processes on the machine."""
    monkeypatch.setattr(group, "choose_device", lambda name: torch.device(found))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match=sentence):
        group._own_device(device, 1, 2)
