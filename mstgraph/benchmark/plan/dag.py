"""From cells to one DAG: a stage that several cells need is trained once.

Stages with the same name and the same hash are the same stage (`mstgraph.derive.identity`). Those
that can share a pass through the data stay together, as in a single run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mstgraph.benchmark.plan.cell import Cell
from mstgraph.tasks.task import Metric, Task


@dataclass(frozen=True)
class Stages:
    """What a cell trains, as plain data: the experiment itself is closed again.

    Attributes:
        cell: the cell.
        groups: its stages in the order of their training, those together that share a pass.
        artefacts: stage → name of its artefact.
        needs: artefact → artefacts whose weights it starts from.
        kinds: artefact → kind of its stage.
        resources: artefact → what its stage declares that it takes, `Stage.resources`.
    """

    cell: Cell
    groups: tuple[tuple[str, ...], ...]
    artefacts: Mapping[str, str]
    needs: Mapping[str, tuple[str, ...]]
    kinds: Mapping[str, str]
    resources: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class OpenCell(Stages):
    """What a cell trains and measures.

    Attributes:
        result: artefact that holds the student's metrics.
        behind: artefacts whose epochs have made the student, ``result`` among them.
        control: artefact of the same network trained as long alone, or "".
        target: the student's name in the graph.
        synthetic: what must be said of the data; empty for real data.
        task: what is predicted and measured.
        test_share: samples of the test split for each of the training split; 0 if unknown.
    """

    result: str
    behind: tuple[str, ...]
    control: str
    target: str
    synthetic: str
    task: Task
    test_share: float

    @property
    def primary(self) -> Metric:
        """The task's primary metric."""
        return self.task.primary

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """All its metrics."""
        return self.task.measured


@dataclass(frozen=True)
class Job:
    """Stages that one worker trains in one go.

    Attributes:
        cell: a cell that they belong to.
        stages: their names in it.
        artefacts: what they leave, in the same order.
        needs: artefacts that must be there before.
        kinds: of the stages.
        resources: that the stages declare, in the same order.
    """

    cell: Cell
    stages: tuple[str, ...]
    artefacts: tuple[str, ...]
    needs: frozenset[str]
    kinds: tuple[str, ...]
    resources: tuple[Mapping[str, float], ...]

    @property
    def name(self) -> str:
        """Unique in a benchmark, fit for a folder."""
        return self.artefacts[0]

    def split(self) -> list[Job]:
        """Return one job per stage."""
        pieces = zip(self.stages, self.artefacts, self.kinds, self.resources, strict=True)
        return [
            replace(self, stages=(s,), artefacts=(a,), kinds=(kind,), resources=(resources,))
            for s, a, kind, resources in pieces
        ]


def jobs_of(cells: Iterable[Stages], others: Collection[str] = ()) -> list[Job]:
    """Return the jobs behind cells, each after all that it needs.

    A stage belongs to the first cell that needs it; of a later cell's group only what is new
    remains, so that no two jobs wait for each other.

    Args:
        cells: the cells.
        others: artefacts that have their jobs already.
    """
    jobs: list[Job] = []
    known = set(others)
    for opened in cells:
        for group in opened.groups:
            new = [stage for stage in group if opened.artefacts[stage] not in known]
            if new:
                jobs.append(_job(opened, new))
                known.update(jobs[-1].artefacts)
    return jobs


def by_urgency(jobs: Sequence[Job]) -> list[Job]:
    """Return jobs seed by seed and, within a seed, those that most others wait for in a row first.

    A long chain that starts late would leave all workers but one without work in the end.
    """
    behind: dict[str, int] = {}  # artefact → how many jobs have to follow its own, one by one
    lengths = []
    for job in reversed(jobs):  # who needs a job comes after it
        length = 1 + max(behind.get(name, 0) for name in job.artefacts)
        lengths.append(length)
        for need in job.needs:
            behind[need] = max(behind.get(need, 0), length)
    seeds = list(dict.fromkeys(job.cell.seed for job in jobs))
    keys = zip(jobs, reversed(lengths), strict=True)
    ordered = sorted(keys, key=lambda pair: (seeds.index(pair[0].cell.seed), -pair[1]))
    return [job for job, _ in ordered]


def unfinished(jobs: Sequence[Job], finished: set[str]) -> list[Job]:
    """Return the jobs that are left when some artefacts are there already."""
    left = []
    for job in jobs:
        pieces = [piece for piece in job.split() if piece.artefacts[0] not in finished]
        if pieces:
            left.append(_joined(job, pieces))
    return left


def _joined(job: Job, pieces: Sequence[Job]) -> Job:
    return replace(
        job,
        stages=tuple(piece.stages[0] for piece in pieces),
        artefacts=tuple(piece.artefacts[0] for piece in pieces),
        kinds=tuple(piece.kinds[0] for piece in pieces),
        resources=tuple(piece.resources[0] for piece in pieces),
    )


def _job(opened: Stages, stages: Sequence[str]) -> Job:
    artefacts = tuple(opened.artefacts[stage] for stage in stages)
    return Job(
        cell=opened.cell,
        stages=tuple(stages),
        artefacts=artefacts,
        needs=frozenset(need for name in artefacts for need in opened.needs[name]),
        kinds=tuple(opened.kinds[name] for name in artefacts),
        resources=tuple(opened.resources[name] for name in artefacts),
    )
