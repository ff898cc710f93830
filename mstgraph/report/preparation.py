"""Build a feature store with a bar, and a line on what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from mstgraph.declare.settings import Data
from mstgraph.report.console import standard_console
from mstgraph.store import Store, load_recipe
from mstgraph.store.build import builder
from mstgraph.store.declared import declared
from mstgraph.store.destination import check_destination
from mstgraph.store.load import stored_options
from mstgraph.store.recipe import Recipe
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
    shards: int = 1,
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
        shards: parts that the store consists of, each of which can be copied before the next is
            begun.

    Returns:
        The store: ``len(store)`` samples, ``store.modalities`` by name, ``store.describe()`` as
        plain data.

    Raises:
        UserError: the recipe, its options or its raw data are at fault.
    """
    _refuse_none(jobs=jobs, shards=shards)
    place = named_folder(out, Path("stores") / Path(recipe).stem)
    check_destination(place)
    loaded = load_recipe(Path(recipe), Path(raw) if raw else None, dict(options or {}))
    said = declared(loaded)
    console = standard_console(progress)
    with _told(console, f"preparing {said.title}") as told:
        store = builder.build(loaded, place, progress=told, jobs=jobs, shards=shards)
    _say(console, place, store)
    return store


def append(
    store: Path | str,
    recipe: Path | str,
    *,
    raw: Path | str | None = None,
    options: Mapping[str, Any] | None = None,
    all_new: bool = False,
    progress: bool = True,
    jobs: int | None = None,
) -> Store:
    """Add the samples of a recipe that a store does not have, or go on with that.

    Args:
        store: folder of the store.
        recipe: the file of the recipe that it was prepared with.
        raw: the raw data, grown; or other, see ``all_new``.
        options: options of the recipe; those that are not given are the store's.
        all_new: whether all samples of the raw data are new. Else those that are stored come first.
        progress: whether to show a bar and a line on standard output.
        jobs: see `prepare`.

    Returns:
        The store.

    Raises:
        UserError: see `mstgraph.store.build.builder.append`.
    """
    _refuse_none(jobs=jobs)

    def loaded(prepared: Mapping[str, Any]) -> Recipe:
        chosen = stored_options(Path(recipe), prepared, options or {})
        return load_recipe(Path(recipe), Path(raw) if raw else None, chosen)

    console = standard_console(progress)
    with _told(console, f"appending to {store}") as told:
        found = builder.append(Path(store), loaded, all_new=all_new, progress=told, jobs=jobs)
    _say(console, Path(store), found)
    return found


def _refuse_none(**counts: int | None) -> None:
    for word, count in counts.items():
        if count is not None and count < 1:
            raise UserError(f"{count} {word} are asked for; expected at least 1")


@contextmanager
def _told(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar; yields what moves it."""
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(escape(what), total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _say(console: Console, place: Path, store: Store) -> None:
    synthetic, title = store.metadata["synthetic"], store.metadata["title"]
    label = f" [{synthetic}]" if synthetic else ""
    console.print(
        f"store {place}: {title}{label}, {store.length} samples", markup=False, highlight=False
    )


def prepare_declared(progress: bool) -> Callable[[Data, Path], Store]:
    """Return what builds the store that gin files declare, from their settings and the recipe."""
    return lambda data, recipe: prepare(
        recipe, data.store, raw=data.raw or None, options=data.options, progress=progress
    )
