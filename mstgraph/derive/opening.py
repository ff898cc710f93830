"""From gin files to a checked plan: configuration, store, graph, parts, identities.

Everything here is cheap: networks are built on the meta device, and of a store only its metadata
is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gin

from mstgraph.declare.config_checks import nothing_calls_itself, refuse_unused_scoped_bindings
from mstgraph.declare.configuration import Configuration
from mstgraph.declare.graph import declare
from mstgraph.declare.presence import check_absent, check_presence
from mstgraph.declare.settings import Data, Engine
from mstgraph.derive.checks import check_data, check_losses, check_names, check_stages, try_parts
from mstgraph.derive.experiment import Experiment
from mstgraph.derive.identity import identify
from mstgraph.derive.members.answers import with_answers
from mstgraph.derive.members.recorded import recorded_weights
from mstgraph.derive.parts import Parts
from mstgraph.derive.schedule import derive
from mstgraph.derive.source import Notice, Prepare, Source, find_source, load_with_data
from mstgraph.store.recipe import Labels
from mstgraph.support.errors import UserError, users_code
from mstgraph.tasks.choice import task_for
from mstgraph.tasks.task import Task


def open_experiment(
    files: Sequence[Path | str],
    bindings: Sequence[str] = (),
    *,
    prepare: Prepare | None = None,
    notice: Notice = lambda sentence: None,
    finished: bool = False,
    code: bool = True,
    known: Mapping[str, Mapping[str, Any]] | None = None,
) -> Experiment:
    """Load gin files, find the data, and derive the plan.

    Args:
        files: gin files.
        bindings: bindings that win over them.
        prepare: builds a missing store (data settings, recipe file); None leaves it unbuilt and
            takes the recipe's word for what it will hold.
        notice: is told what the user should know, such as a stand-in for missing data.
        finished: whether this is a finished run, which needs its store and nothing beyond it:
            neither the recipe nor a demonstration in its place.
        code: whether the gin files may import modules, and so run them.
        known: member → what a finished run records of the weights it started from.

    Raises:
        UserError: the configuration or the graph is at fault.
    """
    with nothing_calls_itself():
        files, configuration, data = load_with_data(files, bindings, notice, finished, code)
    source = find_source(data, configuration, prepare, finished)
    with configuration.entered(), nothing_calls_itself():
        name = "-".join(Path(file).stem for file in files)
        return _derive(name, configuration, data, source, known)


def open_finished(config: Path, code: bool | None, notice: Notice) -> Experiment:
    """Open the experiment that a finished run holds.

    A run's folder is code: unless told otherwise, this imports the modules that lie in it.

    Args:
        config: the configuration that the run left in its folder, beside its plan.
        code: whether modules of the run's folder may be imported; False refuses a run that needs
            them, None says which they are.
        notice: is told of them.

    Raises:
        UserError: there is no such file, or the run's store is gone.
    """
    folder = config.parent
    if not config.is_file():
        raise UserError(
            f"'{folder}' is no run: it has no {config.name}; expected the folder of a run"
        )
    known = recorded_weights(folder / "plan.json")
    experiment = open_experiment([config], finished=True, code=code is not False, known=known)
    if code is None and (modules := experiment.configuration.code.modules):
        notice(f"a run's folder is code: the networks of '{folder}' come from {', '.join(modules)}")
    return experiment


def _derive(
    name: str,
    configuration: Configuration,
    data: Data,
    source: Source,
    known: Mapping[str, Mapping[str, Any]] | None,
) -> Experiment:
    """Go from a configuration whose data is known to a checked plan."""
    task = _choose_task(data, source.labels, configuration)
    graph = declare(configuration, source.modalities)
    stored = {n: m for n, m in graph.members.items() if getattr(m.network, "stored", False)}
    if stored:
        source, data = with_answers(source, data, stored, task, configuration)
    data = replace(data, split=source.split_name(data, graph.seed))
    splits = source.store.metadata["splits"] if source.store else ()
    check_data(data, configuration, splits, source.modalities, source.labels)
    check_absent(data, configuration, source.modalities)
    if source.presence:
        check_presence(data, source.presence, graph, configuration)
    plan = derive(graph)
    task = task.measuring(node.settings.select for node in plan.stages.values())
    check_names(plan, configuration)
    check_losses(plan, task, configuration)
    samples = source.samples(str(data.split)).get("train", source.length)
    parts = Parts(
        graph,
        plan.teachers,
        plan.stages.values(),
        source.modalities,
        task,
        configuration,
        samples,
        known,
    )
    check_stages(plan, task, configuration)
    engine = Engine()
    if wrong := engine.problem():
        option, words = wrong
        raise UserError(f"{configuration.where('engine', option)}: engine.{option} {words}")
    plan = identify(plan, parts, data, engine, source.fingerprint)
    try_parts(plan, parts, configuration)
    refuse_unused_scoped_bindings(configuration, graph.members)
    return Experiment(
        name=name,
        configuration=configuration,
        gin_text=_operative(),
        data=data,
        engine=engine,
        source=source,
        task=task,
        plan=plan,
        parts=parts,
    )


def _choose_task(data: Data, labels: Labels, configuration: Configuration) -> Task:
    """Return what is predicted: what the store's labels ask for, or a task of the user's own."""
    task = task_for(labels) if data.task is None else _own_task(data, labels, configuration)
    if wrong := task.problem():
        name = type(task).__name__
        raise UserError(f"{configuration.where(name, wrong[0])}: {name}.{wrong[0]} {wrong[1]}")
    return replace(task, unlabelled=data.labelled is not None or labels.unknown is not None)


def _own_task(data: Data, labels: Labels, configuration: Configuration) -> Task:
    assert data.task is not None
    place, name = configuration.where("data", "task"), data.task.__name__
    with users_code(f"{place}: the task {name} cannot be built"):
        task = data.task(labels)
    if not isinstance(task, Task):
        raise UserError(f"{place}: data.task gives a {type(task).__name__}, expected a Task")
    return task


def _operative() -> str:
    """Return what was read of the configuration, without macros that only unread settings use."""
    text = gin.operative_config_str()
    macros = set(re.findall(r"^(\w+) = ", text, re.MULTILINE))
    idle = tuple(f"{name} = " for name in macros - set(re.findall(r"%(\w+)", text)))
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(idle))
