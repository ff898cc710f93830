"""The task of an experiment: the one that the store's labels ask for, or one of the user's own."""

from __future__ import annotations

from dataclasses import replace

from mstgraph.declare.configuration import Configuration
from mstgraph.declare.settings import Data
from mstgraph.store.recipe import Labels
from mstgraph.support.errors import UserError, users_code
from mstgraph.tasks.choice import task_for
from mstgraph.tasks.task import Task


def choose_task(data: Data, labels: Labels, configuration: Configuration) -> Task:
    """Return what is predicted.

    Args:
        data: may name a task of its own.
        labels: what the store says of its labels.
        configuration: where bindings stand, for messages.

    Raises:
        UserError: what is named is no task, or not one for these labels.
    """
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
