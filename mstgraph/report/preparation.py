"""Build a feature store with a bar, and a line on what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.progress import Progress

from mstgraph.declare.settings import Data
from mstgraph.report.console import standard_console
from mstgraph.store import Store, load_recipe
from mstgraph.store.build.builder import build
from mstgraph.store.declared import declared
from mstgraph.store.destination import check_destination
from mstgraph.support.disk.own_folder import named_folder
from mstgraph.support.errors import UserError


def prepare(
    recipe: Path | str,
    out: Path | str | None = None,
    *,
    raw: Path | str | None = None,
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
    jobs: int | None = None,
) -> Store:
    """Build a feature store from a recipe, or continue an interrupted build.

    Args:
        recipe: the recipe's file, such as ``datasets/mfeat.py``.
        out: folder of the store; default: ``stores/RECIPE``.
        raw: the raw data, for recipes that read some.
        options: options of the recipe, ``{"size": (96, 128)}``.
        progress: whether to show a bar and a line on standard output.
        jobs: processes that read samples; default: as many as there are cores, where that saves
            time. The store is the same for any number of them.

    Returns:
        The store: ``len(store)`` samples, ``store.modalities`` by name, ``store.describe()`` as
        plain data.

    Raises:
        UserError: the recipe, its options or its raw data are at fault.
    """
    if jobs is not None and jobs < 1:
        raise UserError(f"{jobs} jobs are asked for; expected at least 1")
    place = named_folder(out, Path("stores") / Path(recipe).stem)
    check_destination(place)
    loaded = load_recipe(Path(recipe), Path(raw) if raw else None, dict(options or {}))
    said = declared(loaded)
    console = standard_console(progress)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(f"preparing {said.title}", total=said.length)
        store = build(
            loaded,
            place,
            progress=lambda done, total: bar.update(task, completed=done),
            jobs=jobs,
        )
    label = f" [{said.synthetic}]" if said.synthetic else ""
    console.print(
        f"store {place}: {said.title}{label}, {store.length} samples",
        markup=False,
        highlight=False,
    )
    return store


def prepare_declared(progress: bool) -> Callable[[Data, Path], Store]:
    """Return what builds the store that gin files declare, from their settings and the recipe."""
    return lambda data, recipe: prepare(
        recipe, data.store, raw=data.raw or None, options=data.options, progress=progress
    )
