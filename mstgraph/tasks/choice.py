"""Which task of the package a store's labels ask for."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import mstgraph.tasks
from mstgraph.store.recipe import Labels
from mstgraph.support.errors import UserError, nearest
from mstgraph.tasks.task import Task


def task_for(labels: Labels) -> Task:
    """Return the task that a store's labels ask for by its kind.

    Raises:
        UserError: no file of the package holds such a task.
    """
    tasks = {task.kind: task for task in _tasks()}
    if labels.task not in tasks:
        raise UserError(
            f"the labels ask for the task '{labels.task}'{nearest(labels.task, tasks)}; expected "
            "one of the package, or data.task = @Name"
        )
    return tasks[labels.task](labels)


def _tasks() -> Iterator[type[Task]]:
    """Yield the tasks in the files of the package."""
    for found in pkgutil.iter_modules(mstgraph.tasks.__path__, prefix="mstgraph.tasks."):
        module = importlib.import_module(found.name)
        for value in vars(module).values():
            if inspect.isclass(value) and issubclass(value, Task) and value.kind:
                yield value
