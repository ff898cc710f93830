"""One DAG of all cells, and the schedule that walks it."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from bench_worlds import ALONE, DEPTH, KD, MST, TOP2, World

from mstgraph.benchmark.execute.live import duration
from mstgraph.benchmark.execute.schedule import Outcome, Schedule
from mstgraph.benchmark.plan.benchmark import Benchmark
from mstgraph.benchmark.plan.dag import Job, OpenCell, by_urgency, jobs_of, unfinished
from mstgraph.benchmark.plan.opening import describe_cell, open_cell

POINTS = "fused.fusion", "fused.hidden1", "depth.hidden1", "depth.hidden2"


def opened(benchmark: Benchmark) -> list[OpenCell]:
    """Open every cell."""
    return [describe_cell(cell, open_cell(cell)) for cell in benchmark.cells()]


_plain: list[OpenCell] = []  # opening cells takes time, and what they need is plain data


@pytest.fixture
def cells(world: World) -> list[OpenCell]:
    """Four methods for two students that share a CI, under two seeds."""
    if not _plain:
        two = f"bench.students = (('rgb', 'rgb.gin'), {DEPTH!r})\nbench.baseline = ''\n"
        _plain.extend(opened(world.declare(ALONE, MST, TOP2, KD, seeds=(0, 1), text=two)))
    return _plain


def test_every_artefact_has_one_job_after_all_that_it_needs(cells: list[OpenCell]) -> None:
    """And no other artefact has one."""
    jobs = jobs_of(cells)
    names = [name for job in jobs for name in job.artefacts]
    assert len(names) == len(set(names))
    assert set(names) == {name for cell in cells for name in cell.artefacts.values()}
    done: set[str] = set()
    for job in jobs:
        assert job.needs <= done
        done.update(job.artefacts)


def test_stages_of_a_pass_stay_together(cells: list[OpenCell]) -> None:
    """The four STA of a cell are one job; so many jobs there are, counted by hand."""
    jobs = jobs_of(cells[:4])
    assert [job.stages for job in jobs] == [
        ("pretrain-rgb",),
        ("ci",),
        tuple(f"sta-rgb-{point}" for point in POINTS),
        ("dkd-rgb",),
        ("dkd-rgb",),
        ("pretrain-fused",),
        ("distill-rgb",),
    ]


def test_of_a_group_that_is_partly_known_the_rest_remains(world: World) -> None:
    """A cell with one mask point less comes first."""
    less = ("less", "", "", "depth/Member.masks = ('hidden2',)")
    jobs = jobs_of(opened(world.declare(less, MST)))
    stas = [job.stages for job in jobs if job.kinds[0] == "sta"]
    assert [len(stages) for stages in stas] == [3, 1]
    assert stas[1] == ("sta-rgb-depth.hidden1",)


def test_long_chains_start_first(cells: list[OpenCell]) -> None:
    """Within a seed, and each job still after all that it needs."""
    jobs = jobs_of(cells)
    ordered = by_urgency(jobs)
    assert sorted(job.name for job in ordered) == sorted(job.name for job in jobs)
    assert [job.cell.seed for job in ordered] == sorted(job.cell.seed for job in jobs)
    assert ordered[0].stages == ("ci",)
    assert all(job.kinds[0] in ("dkd", "distill", "pretrain") for job in ordered[-6:])
    done: set[str] = set()
    for job in ordered:
        assert job.needs <= done
        done.update(job.artefacts)


def test_seeds_share_nothing(cells: list[OpenCell]) -> None:
    """Another seed is another split and another initialisation."""
    zero = {a for cell in cells if cell.cell.seed == 0 for a in cell.artefacts.values()}
    one = {a for cell in cells if cell.cell.seed == 1 for a in cell.artefacts.values()}
    assert zero
    assert not zero & one


def test_what_is_there_already_is_no_job(cells: list[OpenCell]) -> None:
    """A group whose stages are partly there shrinks."""
    jobs = jobs_of(cells[:2])
    there = {jobs[0].artefacts[0], jobs[2].artefacts[1]}
    left = unfinished(jobs, there)
    assert [job.stages for job in left] == [
        jobs[1].stages,
        (jobs[2].stages[0], *jobs[2].stages[2:]),
        jobs[3].stages,
    ]
    assert [len(job.kinds) for job in left] == [1, 3, 1]
    assert unfinished(jobs, {name for job in jobs for name in job.artefacts}) == []


def start(schedule: Schedule) -> Job:
    """Start the job that is ready."""
    job = schedule.ready()
    assert job is not None
    schedule.start(job)
    return job


@pytest.mark.parametrize("seed", range(20))
def test_any_order_of_ends_respects_the_needs(seed: int, cells: list[OpenCell]) -> None:
    """With any number of workers; in the end every cell is done."""
    draw = random.Random(seed)
    schedule = Schedule(by_urgency(jobs_of(cells)), {})
    slots = draw.randint(1, 4)
    while not schedule.over:
        while len(schedule.running) < slots and schedule.ready() is not None:
            assert start(schedule).needs <= schedule.finished
        job = draw.choice([job for job, _ in schedule.running.values()])
        schedule.end(Outcome(job, "done", seconds=1.0))
    assert {schedule.state(cell) for cell in cells} == {"done"}
    assert schedule.stages == len(schedule.finished)


@pytest.mark.parametrize("seed", range(20))
def test_failures_reach_what_needs_them_and_nothing_else(seed: int, cells: list[OpenCell]) -> None:
    """Stages that fail are drawn at random; who is lost follows from the needs alone."""
    draw = random.Random(seed)
    jobs = jobs_of(cells)
    artefacts = [name for job in jobs for name in job.artefacts]
    broken = set(draw.sample(artefacts, draw.randint(1, 5)))
    schedule = Schedule(jobs, {})
    while not schedule.over:
        job = start(schedule)
        hit = broken & set(job.artefacts)
        schedule.end(Outcome(job, "failed", f"{job.name} broke") if hit else Outcome(job, "done"))
    needs = {name: set(found) for cell in cells for name, found in cell.needs.items()}
    lost = set(broken)
    for name in artefacts:
        if needs[name] & lost:
            lost.add(name)
    assert set(schedule.failed) == lost
    assert schedule.finished == set(artefacts) - lost
    for cell in cells:
        expected = "failed" if lost & set(cell.artefacts.values()) else "done"
        assert schedule.state(cell) == expected
        assert bool(schedule.error(cell)) == (expected == "failed")


def test_states_on_the_way(cells: list[OpenCell]) -> None:
    """A cell runs when a stage of its own does; an interrupted job waits again, at the front."""
    jobs = jobs_of(cells[:3])
    schedule = Schedule(jobs[1:], {jobs[0].name: 1.0})
    assert [schedule.state(cell) for cell in cells[:3]] == ["done", "waiting", "waiting"]
    ci = start(schedule)
    assert [schedule.state(cell) for cell in cells[:3]] == ["done", "running", "running"]
    assert schedule.ready() is None
    assert not schedule.over
    schedule.end(Outcome(ci, "interrupted"))
    assert schedule.ready() == ci
    assert [schedule.state(cell) for cell in cells[:3]] == ["done", "waiting", "waiting"]


def test_jobs_that_come_later_share_what_is_there_or_on_its_way(cells: list[OpenCell]) -> None:
    """And fail at once where what they need has failed; what is known has one job."""
    schedule = Schedule(jobs_of(cells[:2]), {})
    ci = next(job for job in schedule.waiting if job.stages == ("ci",))
    later = jobs_of(cells[2:3], schedule.known)
    assert [job.stages for job in later] == [("dkd-rgb",)]
    schedule.add(later)
    assert schedule.known == {name for cell in cells[:3] for name in cell.artefacts.values()}
    assert jobs_of(cells[:3], schedule.known) == []
    schedule.start(ci)
    schedule.end(Outcome(ci, "failed", "ci broke"))
    assert schedule.error(cells[2]) == "ci broke"
    other = replace(later[0], artefacts=("dkd-of-another",))
    schedule.add([other], {"alone-of-another"})
    assert schedule.failed["dkd-of-another"] == "ci broke"
    assert "alone-of-another" in schedule.finished


def test_the_estimate_comes_from_jobs_alike(cells: list[OpenCell]) -> None:
    """The same stages of the same student under another seed take as long."""
    jobs = [job for job in jobs_of(cells) if job.stages == ("pretrain-rgb",)]
    assert len(jobs) == 2
    other = next(job for job in jobs_of(cells) if job.stages == ("ci",))
    schedule = Schedule([*jobs, other], {})
    assert schedule.remaining(1) is None
    schedule.end(Outcome(start(schedule), "done", seconds=10.0))
    assert schedule.remaining(1) == pytest.approx(10.0 + 10.0)
    assert schedule.remaining(2) == pytest.approx(10.0)
    schedule.end(Outcome(start(schedule), "done", seconds=20.0))
    assert schedule.remaining(1) == pytest.approx(15.0)


def test_jobs_are_plain_data(cells: list[OpenCell]) -> None:
    """They go through a pipe to another process."""
    import pickle

    for job in jobs_of(cells):
        assert pickle.loads(pickle.dumps(job)) == job
        assert replace(job, stages=()) != job


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0:00"), (75, "1:15"), (7322, "2:02:02")])
def test_durations(seconds: float, text: str) -> None:
    """Minutes and seconds, hours where there are any."""
    assert duration(seconds) == text


def test_rows_that_train_as_long_share_the_student_alone(world: World) -> None:
    """MST trains its student in CI and DKD, KD in one stage: two controls for three rows."""
    alone, mst, top2, kd = opened(world.declare(ALONE, MST, TOP2, KD))
    assert alone.control == ""
    assert mst.control == top2.control != kd.control
    assert [name.rsplit("-", 1)[0] for name in mst.behind] == ["ci", "dkd-rgb"]
    assert mst.behind[-1] == mst.result
    assert [cell.kinds[cell.control] for cell in (mst, kd)] == ["alone", "alone"]
    assert mst.test_share == pytest.approx(1 / 3)
