"""Evaluate what a finished run left, on any part of any split."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mstgraph.data.feed import Pool
from mstgraph.derive.experiment import Experiment
from mstgraph.derive.opening import open_finished
from mstgraph.look.opened import finished_networks
from mstgraph.run.artefacts.run_folder import CONFIG, RunFolder
from mstgraph.run.artefacts.summary import collect, compare, patterns_of
from mstgraph.run.evaluation import Evaluation, evaluate
from mstgraph.stages.stage import StageNode
from mstgraph.support.errors import UserError


def evaluate_run(
    path: Path,
    split: str | None,
    part: str,
    device: torch.device,
    code: bool | None = None,
    notice: Callable[[str], None] = lambda sentence: None,
) -> dict[str, Any]:
    """Evaluate every response that the stages of a run report.

    A run's folder is code: unless told otherwise, this imports the modules that lie in it.

    Args:
        path: the run's folder.
        split: name of a split of the store; None takes the one the run was trained on.
        part: ``train``, ``validation`` or ``test``.
        device: where to compute.
        code: whether modules of the run's folder may be imported; False refuses a run that needs
            them, None says which they are.
        notice: is told of them.

    Returns:
        ``{"data": …, "split": …, "part": …, "measured": [{"name": …, "title": …, …}],
        "metrics": {stage: {response: {metric: value}}}, "students": …}``, students as in a run's
        ``summary.json``: their gain, and how sure it is. Where samples differ in the modalities
        that they have, ``"patterns"``, too: ``{stage: {response: {"audio + video": {"samples": …,
        metric: value}}}}``.

    Raises:
        UserError: the run is not finished, its store is gone, or there is no such split.
    """
    experiment = open_finished(path / CONFIG, code, notice)
    with experiment.entered():
        return _evaluate(experiment, path, split, part, device)


def _evaluate(
    experiment: Experiment, path: Path, split: str | None, part: str, device: torch.device
) -> dict[str, Any]:
    assert experiment.source.store is not None
    folder = RunFolder(path)
    folder.refuse_replaced(list(experiment.plan.stages))
    _check_finished(experiment, folder)
    pool = Pool(
        experiment.source.store,
        split or experiment.split,
        device,
        experiment.data.normalisation,
        experiment.engine.memory_budget(device),
        trained_on=experiment.split,
        seed=experiment.plan.graph.seed,
        absent=experiment.data.absent,
        absent_in=experiment.data.absent_in,
    )
    results = {
        name: _evaluate_stage(experiment, folder, node, pool, part)
        for name, node in experiment.plan.stages.items()
    }
    return {
        "data": {"title": experiment.source.title, "synthetic": experiment.source.synthetic},
        "split": pool.split,
        "trained_on": experiment.split,
        "part": part,
        "measured": [asdict(metric) for metric in experiment.task.measured],
        "metrics": {name: result.metrics for name, result in results.items()},
        **patterns_of({name: result.as_dict() for name, result in results.items()}),
        "students": _students(experiment, folder, results),
    }


def _students(
    experiment: Experiment, folder: RunFolder, results: Mapping[str, Evaluation]
) -> dict[str, Any]:
    """Compare students with and without teachers as at the end of a run, on what was measured."""
    plan = experiment.plan
    artefacts = {
        name: {**(folder.artefact(name) or {}), "test": result.as_dict()}
        for name, result in results.items()
    }
    samples = collect(plan, lambda name: results[name].contributions)
    marks = collect(plan, lambda name: results[name].marks)
    return compare(experiment, artefacts, samples, marks)[1]


def _check_finished(experiment: Experiment, folder: RunFolder) -> None:
    for node in experiment.plan.stages.values():
        done, reason = folder.state(node)
        if not done:
            why = f" ({reason})" if reason else ""
            raise UserError(
                f"the run '{folder.path}' is not finished: stage {node.name} is to be trained"
                f"{why}; run it to its end first"
            )


def _evaluate_stage(
    experiment: Experiment, folder: RunFolder, node: StageNode, pool: Pool, part: str
) -> Evaluation:
    networks = finished_networks(experiment, folder, node, pool.device)
    forwards = [node.forwards[name] for name in node.settings.validated(node)]
    wanted = {modality for forward in forwards for modality in experiment.inputs_of[forward.member]}
    batch_size = node.settings.batch_size or experiment.data.batch_size
    feed = pool.feed(part, [name for name in experiment.source.modalities if name in wanted])
    task = experiment.task
    (result,) = evaluate([node], networks, feed, task, batch_size, kept={}, by_sample=True)
    return result
