"""Two processes come to what one comes to, and stop, draw and fail together."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import processes_work as work
import pytest
import torch
from check_processes import apart, run, together
from tiny_graphs import DATA

from mstgraph.run.processes.agreement import refuse_apart, refuse_unshareable
from mstgraph.support.processes.group import ALONE

NAMES = ("absent", "crd", "mgdfr")


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """Compute in double precision."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_recipe: Path, tiny_store: Path) -> str:
    """A gin file over tiny vectors, beside the network that it imports."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "normed.py").write_text(work.NORMED)
    data = DATA.format(recipe=tiny_recipe, store=tiny_store).replace("= 5", "= 6")
    (folder / "world.gin").write_text(data + work.WORLD)
    return str(folder / "world.gin")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where two processes leave their runs."""
    return tmp_path_factory.mktemp("two")


@pytest.fixture(scope="module")
def found(world: str, folder: Path) -> dict[str, Any]:
    """What two processes find, asked once for all tests."""
    answers: dict[str, Any] = together(2, work.everything, world, folder)
    return answers


@pytest.mark.parametrize("name", NAMES)
def test_losses_and_weights_are_those_of_one_process(
    name: str, found: dict[str, Any], folder: Path, world: str, tmp_path: Path
) -> None:
    """In every stage: the gate, a loss with a memory, mere measurement.

    Also where batch normalisation trains and a process has no sample with the modality, and where
    values are kept on disk, which one process writes. `tools/check_processes.py` tries all methods.
    """
    (case,) = (case for case in work.cases(world) if case.name == name)
    run(case, tmp_path)
    records, weights = apart(tmp_path / name, folder / name)
    assert records < 1e-9
    assert weights < 1e-9


def test_all_decide_by_the_main_process_validation(found: dict[str, Any]) -> None:
    """Apart by rounding, one would stop early, or keep another epoch, and the others wait."""
    assert found["judged"] == (0, 0)


def test_dropout_comes_out_the_same_again(found: dict[str, Any], folder: Path) -> None:
    """Each process draws for its rows, from the step's seed and its number alone."""
    assert apart(folder / "dropped", folder / "again") == (0.0, 0.0)


def test_rows_of_two_processes_are_not_dropped_alike(found: dict[str, Any]) -> None:
    """What all draw together, such as negatives, stays the same in all."""
    first, second, again, rest = found["drawn"]
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, second)
    assert torch.equal(first, again)
    assert torch.equal(rest[0], rest[1])


@pytest.mark.parametrize("place", [0, 1], ids=["both", "one stands in"])
def test_batch_normalisation_is_that_of_the_whole_batch(found: dict[str, Any], place: int) -> None:
    """Results, gradients and running statistics are torch's own, also where one has no rows.

    Of one layer behind another: rows that stand in leave nothing in the first either.
    """
    layer, (batch, weights) = work.norm(), work.given()
    batch.requires_grad_()
    result = layer(layer(batch))
    (result.square() * weights).sum().backward()
    expected = {"result": result, "slope": batch.grad, **work.slopes(layer)}
    assert found["norms"][place].keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found["norms"][place][name], value, msg=name)


def test_what_cannot_be_shared_is_refused_in_a_sentence(found: dict[str, Any]) -> None:
    """Before training a batch that is too small, and after an epoch a network that differs."""
    small, differs = found["refused"]
    assert small.startswith("STA.batch_size is 1, of which 2 processes cannot each take a sample")
    assert differs.startswith("stage ci: 'seen' of part 'rgb' is not the same in all processes")


def test_one_process_is_refused_nothing(world: str) -> None:
    """Nor does it wait for anybody."""
    refuse_unshareable(ALONE, list(work.opened(world).plan.stages.values()), 1)
    refuse_apart(ALONE, "ci", {})


def test_all_stop_where_one_is_asked_to_and_one_process_goes_on(
    found: dict[str, Any], world: str, folder: Path
) -> None:
    """The state is that of the whole run: how many processes go on with it does not matter."""
    assert found["stopped"] == "ci"
    state = torch.load(folder / "stopped/stages/ci/checkpoint.pt", weights_only=True)
    assert (state["epoch"], state["batch"]) == (1, 1)
    work.execute(work.opened(world), folder / "stopped").run()
    assert max(apart(folder / "mgdfr", folder / "stopped")) < 1e-9


def test_who_is_left_says_so(found: dict[str, Any]) -> None:
    """It does not wait for a process that has ended."""
    assert found["left"].startswith("another process of this run has ended")


def test_a_stage_records_its_processes(found: dict[str, Any], folder: Path) -> None:
    """Beside threads, on which the last digits depend; its hash does not."""
    artefact = json.loads((folder / "absent/stages/ci/artefact.json").read_text())
    assert artefact["processes"] == 2
