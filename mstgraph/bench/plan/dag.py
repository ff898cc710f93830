"""From cells to one DAG: a stage that several cells need is trained once.

Stages with the same name and the same hash are the same stage (`mstgraph.derive.identity`). Those
that can share a pass through the data stay together, as in a single run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mstgraph.bench.plan.benchmark import Cell
from mstgraph.derive.experiment import Experiment, Prepare, open_experiment
from mstgraph.derive.keeping.passes import group_stages
from mstgraph.stages.stage import StageNode
from mstgraph.support.errors import UserError
from mstgraph.tasks.task import Metric, Task


def artefact_name(node: StageNode) -> str:
    """Return the name of a stage's folder among the artefacts of all cells."""
    return f"{node.name}-{node.hash}"


def places(experiment: Experiment, artefacts: Path) -> dict[str, Path]:
    """Return stage → folder, for every stage of an experiment."""
    return {name: artefacts / artefact_name(n) for name, n in experiment.plan.stages.items()}


@dataclass(frozen=True)
class OpenCell:
    """What a cell needs and measures, as plain data: the experiment itself is closed again.

    Attributes:
        cell: the cell.
        groups: its stages in the order of their training, those together that share a pass.
        artefacts: stage → name of its artefact.
        needs: artefact → artefacts whose weights it starts from.
        kinds: artefact → kind of its stage.
        result: artefact that holds the student's metrics.
        behind: artefacts whose epochs have made the student, ``result`` among them.
        control: artefact of the same network trained as long alone, or "".
        target: the student's name in the graph.
        synthetic: what must be said of the data; empty for real data.
        task: what is predicted and measured.
        test_share: samples of the test split for each of the training split; 0 if unknown.
    """

    cell: Cell
    groups: tuple[tuple[str, ...], ...]
    artefacts: Mapping[str, str]
    needs: Mapping[str, tuple[str, ...]]
    kinds: Mapping[str, str]
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
        return self.task.metrics


@dataclass(frozen=True)
class Job:
    """Stages that one worker trains in one go.

    Attributes:
        cell: a cell that they belong to.
        stages: their names in it.
        artefacts: what they leave, in the same order.
        needs: artefacts that must be there before.
        kinds: of the stages.
    """

    cell: Cell
    stages: tuple[str, ...]
    artefacts: tuple[str, ...]
    needs: frozenset[str]
    kinds: tuple[str, ...]

    @property
    def name(self) -> str:
        """Unique in a benchmark, fit for a folder."""
        return self.artefacts[0]

    def split(self) -> list[Job]:
        """Return one job per stage."""
        return [
            replace(self, stages=(stage,), artefacts=(artefact,), kinds=(kind,))
            for stage, artefact, kind in zip(self.stages, self.artefacts, self.kinds, strict=True)
        ]


def open_cell(
    cell: Cell, prepare: Prepare | None = None, notice: Callable[[str], None] = lambda _: None
) -> Experiment:
    """Open a cell's experiment.

    Raises:
        UserError: the cell is at fault; the sentence names where the benchmark says so.
    """
    try:
        return open_experiment(cell.files, cell.bindings, prepare=prepare, notice=notice)
    except UserError as error:
        raise UserError(at_its_place(str(error), cell)) from error


def at_its_place(sentence: str, cell: Cell) -> str:
    """Say where a benchmark's own binding stands, in place of the command line."""
    for binding, place in cell.places.items():
        sentence = sentence.replace(f"command line '-p {binding}'", place)
    return sentence


def place_of(binding: str, cell: Cell) -> str:
    """Return where one of a cell's bindings stands."""
    return at_its_place(f"command line '-p {binding}'", cell)


def describe_cell(cell: Cell, experiment: Experiment) -> OpenCell:
    """Return what a benchmark has to know of an experiment.

    Raises:
        UserError: it has several targets, of which a table would show one.
    """
    _refuse_several_targets(cell, experiment)
    plan, source = experiment.plan, experiment.source
    samples = source.samples(experiment.split)
    nodes = list(plan.stages.values())
    names = {node.name: artefact_name(node) for node in nodes}
    target = plan.graph.targets[0]
    return OpenCell(
        cell=cell,
        groups=tuple(tuple(node.name for node in group) for group in group_stages(nodes)),
        artefacts=names,
        needs={names[node.name]: tuple(names[need] for need in node.needs) for node in nodes},
        kinds={names[node.name]: node.kind for node in nodes},
        result=names[plan.last[target]],
        behind=tuple(names[stage] for stage in plan.behind(plan.last[target], target)),
        control=names[plan.alone[target]] if target in plan.alone else "",
        target=target,
        synthetic=source.synthetic,
        task=experiment.task,
        test_share=samples["test"] / samples["train"] if samples else 0.0,
    )


def _refuse_several_targets(cell: Cell, experiment: Experiment) -> None:
    targets = experiment.plan.graph.targets
    if len(targets) > 1:
        place = experiment.configuration.where("graph", "target")
        sentence = (
            f"{place}: graph.target names {' and '.join(map(repr, targets))}, but a column of a "
            "benchmark is one student; expected one of them, and one student of the benchmark each"
        )
        raise UserError(at_its_place(sentence, cell))


def jobs_of(cells: Iterable[OpenCell]) -> list[Job]:
    """Return the jobs behind cells, each after all that it needs.

    A stage belongs to the first cell that needs it; of a later cell's group only what is new
    remains, so that no two jobs wait for each other.
    """
    jobs: list[Job] = []
    known: set[str] = set()
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
    )


def _job(opened: OpenCell, stages: Sequence[str]) -> Job:
    artefacts = tuple(opened.artefacts[stage] for stage in stages)
    return Job(
        cell=opened.cell,
        stages=tuple(stages),
        artefacts=artefacts,
        needs=frozenset(need for name in artefacts for need in opened.needs[name]),
        kinds=tuple(opened.kinds[name] for name in artefacts),
    )
