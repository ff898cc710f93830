"""The same stages on a Ray cluster: here one of this machine with two workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench_worlds import ALONE, DIVERGES, KD, MST, World, metrics, run, weights

from mstgraph.benchmark.execute.work import do
from mstgraph.benchmark.execute.workers import RayCluster
from mstgraph.benchmark.execute.workplace import Workplace
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
