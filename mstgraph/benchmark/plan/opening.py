"""From a cell to its experiment, and what a benchmark has to know of it."""

from __future__ import annotations

from collections.abc import Callable

from mstgraph.benchmark.plan.cell import Cell
from mstgraph.benchmark.plan.dag import OpenCell, Stages
from mstgraph.derive.experiment import Experiment
from mstgraph.derive.keeping.passes import group_stages
from mstgraph.derive.opening import open_experiment
from mstgraph.derive.source import Prepare
from mstgraph.stages.stage import StageNode
from mstgraph.support.errors import UserError


def artefact_name(node: StageNode) -> str:
    """Return the name of what a stage leaves, one of its own among all cells' artefacts."""
    return f"{node.name}-{node.hash}"


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


def stages_of(cell: Cell, experiment: Experiment) -> Stages:
    """Return what a cell trains."""
    nodes = list(experiment.plan.stages.values())
    names = {node.name: artefact_name(node) for node in nodes}
    return Stages(
        cell=cell,
        groups=tuple(tuple(node.name for node in group) for group in group_stages(nodes)),
        artefacts=names,
        needs={names[node.name]: tuple(names[need] for need in node.needs) for node in nodes},
        kinds={names[node.name]: node.kind for node in nodes},
        resources={names[node.name]: dict(node.settings.resources) for node in nodes},
    )


def describe_cell(cell: Cell, experiment: Experiment) -> OpenCell:
    """Return what a benchmark has to know of an experiment.

    Raises:
        UserError: it has several targets, of which a table would show one.
    """
    _refuse_several_targets(cell, experiment)
    plan, source = experiment.plan, experiment.source
    samples = source.samples(experiment.split)
    stages = stages_of(cell, experiment)
    names, target = stages.artefacts, plan.graph.targets[0]
    return OpenCell(
        **vars(stages),
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
            f"{place}: graph.target names {' and '.join(map(repr, targets))}, but a search, and "
            "a column of a benchmark, is about one student; expected one of them"
        )
        raise UserError(at_its_place(sentence, cell))
