"""Adding samples to a store: they become one more shard, and what is there is not written again.

The new shard is built beside what there is, which stays a store until ``metadata.json`` is
replaced. The data file of a store in one file has a second name by then, as that of a first shard.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mstgraph.store.build.failures import explained, partial_directory
from mstgraph.store.build.job import Build, Job, Progress
from mstgraph.store.build.shards.compared import refuse_unfit
from mstgraph.store.build.shards.grown import Appended, appended, asked_for, is_known
from mstgraph.store.build.shards.whole import Whole, content_of_growth, remove_shard, write_whole
from mstgraph.store.destination import resolved, shard_of
from mstgraph.store.layout import LOCK_FILE, METADATA_FILE, OF_SHARDS, SHARDS, STATE_FILE
from mstgraph.store.mapped.places import DATA_FILE
from mstgraph.store.metadata import ADVICE
from mstgraph.store.reader import Store
from mstgraph.store.recipe import Recipe
from mstgraph.support.disk.own_folder import make_folder, refuse_links
from mstgraph.support.errors import UserError
from mstgraph.support.files import make_names_durable, read_json, replace_durably

logger = logging.getLogger("mstgraph")


def appended_to(
    store: Path,
    recipe: Callable[[Mapping[str, Any]], Recipe],
    all_new: bool,
    progress: Progress,
    jobs: int | None,
    built: Build,
) -> Store:
    """Add samples to a store that is there, see `mstgraph.store.build.builder.append`.

    Args:
        store: see there, as are the next four.
        recipe: loads the recipe.
        all_new: whether all of its samples are new.
        progress: called with (samples done, samples in all).
        jobs: processes that read samples.
        built: builds the shard that they become.
    """
    _refuse_shard(store)
    path = resolved(store)
    refuse_links(path / METADATA_FILE, path / DATA_FILE, path / SHARDS)
    with _folder_of_shards(path):
        _settle(path)
        before = Store(store)
        job = asked_for(before, recipe(before.metadata["recipe"]["options"]), jobs)
        new = None
        if not (all_new and is_known(before, job)):
            refuse_unfit(before, job, all_new)
            new = appended(before, job, all_new)
        if new is not None:
            _remove_another(new.part)
            built(new.part, progress)
            with explained(path):
                _take_in(path, new)
    return Store(store)


@contextmanager
def _folder_of_shards(path: Path) -> Iterator[None]:
    """Have the folder of shards, and its lock; what there is no need for goes again."""
    folder = path / SHARDS
    with partial_directory(folder, elsewhere=""):
        try:
            yield
        finally:
            for lock in folder.glob(f"{LOCK_FILE}*"):  # later it could be another process's
                lock.unlink()
    with suppress(OSError):  # there is something in it, as a rule
        folder.rmdir()


def _refuse_shard(store: Path) -> None:
    """Refuse to make a store of shards of what is one itself: nobody could open that around it."""
    for path in (store.absolute(), resolved(store)):
        around = path.parent.parent
        whole = any((around / name).is_file() for name in (METADATA_FILE, STATE_FILE))
        if path.parent.name == SHARDS and whole:
            raise UserError(f"{store} is a shard of the store {around}; expected that store")


def _remove_another(job: Job) -> None:
    """Remove a shard that was finished of other raw data and never became part of the store."""
    folder = job.destination
    refuse_links(folder)
    if not folder.is_dir():
        return
    with suppress(UserError):
        left = Store(folder)
        if (left.metadata["identity"], len(left)) == (job.identity, job.length):
            return
    remove_shard(folder)
    logger.warning("starting over in %s: the raw data has changed, or it is damaged", folder)


def _take_in(path: Path, new: Appended) -> None:
    """Make a store of one more shard of a store, at once."""
    count = len(new.before.shards)
    try:
        if not count:
            _become_first(path)
        shards = [Store(shard_of(path, number)) for number in range(max(1, count) + 1)]
        said = new.before.metadata.get("shards", [{}]) if count else [{}]
        earlier = [bool(shard.get("appended")) for shard in said]
        write_whole(path, new.whole, Whole(shards, [*earlier, True]), content_of_growth(new.before))
    finally:
        _settle(path)


def _become_first(path: Path) -> None:
    """Let a store in one file be its own first shard, too."""
    first = shard_of(path, 0)
    make_folder(path, first)
    text, said = (path / METADATA_FILE).read_bytes(), first / METADATA_FILE
    if (first / DATA_FILE).exists() and not (said.is_file() and said.read_bytes() == text):
        raise UserError(
            f"{first} is another store, but {path} is to have its data there; expected that you "
            "move it"
        )
    replace_durably(said, lambda temporary: temporary.write_bytes(text))
    (first / DATA_FILE).unlink(missing_ok=True)
    try:
        os.link(path / DATA_FILE, first / DATA_FILE)
    except OSError:  # some file systems know one name for a file
        os.replace(path / DATA_FILE, first / DATA_FILE)
    make_names_durable(first)


def _settle(path: Path) -> None:
    """Leave the data file its one name, that which ``metadata.json`` says."""
    own, of_first = path / DATA_FILE, shard_of(path, 0) / DATA_FILE
    said = read_json(path / METADATA_FILE, ADVICE)
    if isinstance(said, dict) and said.get("format_version") == OF_SHARDS:
        if of_first.is_file():
            own.unlink(missing_ok=True)
    elif of_first.is_file() and not own.exists():
        os.replace(of_first, own)
