"""The same stages on a Ray cluster: here one of this machine with two workers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench_worlds import ALONE, DIVERGES, EPOCHS, KD, MST, World, metrics, run, weights

import mstgraph
from mstgraph.benchmark.execute.schedule import Outcome
from mstgraph.benchmark.execute.work import do
from mstgraph.benchmark.execute.workers import RayCluster
from mstgraph.benchmark.execute.workplace import Workplace
from mstgraph.benchmark.plan.cell import Cell
from mstgraph.benchmark.plan.dag import Job
from mstgraph.support.errors import UserError


def test_a_cluster_comes_to_the_numbers_of_one_process(world: World) -> None:
    """Bit for bit; a cell that fails is reported as it is anywhere else."""
    pytest.importorskip("ray")
    broken = ("broken", "", "", *DIVERGES)
    resources = "bench.resources = {'*': {'num_cpus': 1}, 'dkd': {'num_cpus': 0.5}}\n"
    benchmark = world.declare(ALONE, MST, KD, broken, seeds=(0, 1), text=resources)
    cluster = run(benchmark, "cluster", ray="local", jobs=2)
    here = run(benchmark, "here")
    assert metrics(cluster) == metrics(here)
    assert weights("cluster") == weights("here")
    assert [found.metrics is None for found in cluster.cells].count(True) == 2


def test_an_address_that_nobody_answers_is_one_sentence(world: World) -> None:
    """And says what an address is."""
    pytest.importorskip("ray")
    place = Workplace(Path("artefacts"), Path("scratch"))
    with pytest.raises(UserError, match=r"^--ray nowhere: there is no Ray cluster \(.*; expected"):
        RayCluster(do, place, "nowhere", {}, 1)


def test_without_ray_the_command_says_how_to_get_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is an optional extra."""
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UserError, match=r"expected pip install 'mstgraph\[ray\]'"):
        run(world.declare(ALONE), ray="local")


@pytest.mark.usefixtures("world")
def test_a_run_and_a_search_come_to_the_same_on_a_cluster() -> None:
    """A run to the bits of its stages one after the other; a search to the same trials."""
    pytest.importorskip("ray")
    pytest.importorskip("optuna")
    options: dict[str, Any] = {"device": "cpu", "progress": False}
    mstgraph.load("rgb.gin", *EPOCHS, notice=str).run("here", **options)
    mstgraph.load("rgb.gin", *EPOCHS, notice=str).run("there", ray="local", jobs=2, **options)
    assert weights("there/stages") == weights("here/stages")
    searched = [
        mstgraph.tune(
            "rgb.gin", *EPOCHS, settings=["DKD.k = 1..2"], out=out, notice=str, **options, **more
        )
        for out, more in (("one", {}), ("two", {"ray": "local", "jobs": 1}))
    ]
    assert searched[0].trials == searched[1].trials


class _Lost(Exception):
    """What Ray raises when a machine is gone."""


class _FakeRay:
    """A cluster that loses its first tasks, and notes what each one asks for."""

    def __init__(self, losses: int):
        self.losses, self.asked, self.jobs = losses, list[dict[str, Any]](), list[Job]()
        self.exceptions = SimpleNamespace(RayError=_Lost)

    def init(self, **options: Any) -> None:
        """There is nothing to start."""

    def remote(self, **options: Any) -> Any:
        """Note the resources; a task is its number."""
        self.asked.append(options)
        return lambda function: SimpleNamespace(remote=self._begun)

    def _begun(self, do: Any, job: Job, *given: Any) -> int:
        self.jobs.append(job)
        return len(self.jobs)

    def wait(self, references: list[int], timeout: float) -> tuple[list[int], list[int]]:
        """Everything has ended."""
        return references, []

    def get(self, number: int) -> Outcome:
        """Lose the first tasks."""
        if number <= self.losses:
            raise _Lost("the node was killed\nand more")
        return Outcome(self.jobs[number - 1], "done")


def _job(*resources: dict[str, float]) -> Job:
    cell = Cell(0, 0, 0, ("rgb.gin",), (), {})
    names = tuple(f"sta-{i}" for i in range(len(resources)))
    return Job(cell, names, names, frozenset(), ("sta",) * len(names), resources)


@pytest.mark.parametrize("losses", [0, 2, 3])
def test_a_lost_machine_loses_its_stage_and_not_the_run(
    losses: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is begun again elsewhere, a few times; then it has failed, and the sentence says why."""
    fake = _FakeRay(losses)
    monkeypatch.setitem(__import__("sys").modules, "ray", fake)
    cluster = RayCluster(do, Workplace(tmp_path, tmp_path), "auto", {}, 1)
    cluster.submit(_job({}))
    outcomes = [found for _ in range(4) for found in cluster.finished(0)]
    assert len(fake.asked) == min(losses + 1, 3)
    assert [outcome.status for outcome in outcomes] == ["failed" if losses == 3 else "done"]
    if losses == 3:
        said = "stage sta-0: Ray lost its task 3 times: the node was killed"
        assert outcomes[0].sentence == said


def test_more_than_a_cluster_started_here_has_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray would wait for a machine that never comes; what there is suffices."""
    fake = _FakeRay(0)
    fake.cluster_resources = lambda: {"CPU": 2.0, "memory": 1e9}  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "ray", fake)
    cluster = RayCluster(do, Workplace(tmp_path, tmp_path), "local", {}, 2)
    assert cluster.slots == 2
    cluster.submit(_job({"num_cpus": 2, "memory": 1e9}))
    for name, amount, has in (("num_cpus", 3, 2), ("num_gpus", 0.5, 0), ("big", 1, 0)):
        sentence = rf"^stage sta-0 asks for {amount} of '{name}', but .* starts has {has};"
        with pytest.raises(UserError, match=sentence):
            cluster.submit(_job({name: amount}))


@pytest.mark.parametrize(
    ("stages", "asked"),
    [
        ([{}], {"num_cpus": 2, "max_retries": 0}),
        ([{"num_gpus": 0.5}], {"num_gpus": 0.5, "max_retries": 0}),
        (
            [{"num_cpus": 1, "big": 1}, {"num_cpus": 3, "memory": 1e9}],
            {"num_cpus": 3, "memory": 1e9, "resources": {"big": 1}, "max_retries": 0},
        ),
    ],
)
def test_a_stage_takes_what_it_declares_and_else_what_its_kind_does(
    stages: list[dict[str, float]],
    asked: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stages that go together take of each the most that one of them does."""
    fake = _FakeRay(0)
    monkeypatch.setitem(__import__("sys").modules, "ray", fake)
    place = Workplace(tmp_path, tmp_path)
    RayCluster(do, place, "auto", {"sta": {"num_cpus": 2}}, 1).submit(_job(*stages))
    assert fake.asked == [asked]
