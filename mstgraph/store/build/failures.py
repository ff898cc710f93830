"""What can go wrong with the destination, in one sentence each."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from mstgraph.store.layout import LOCK_FILE
from mstgraph.store.mapped.places import DATA_FILE
from mstgraph.support.disk.lmdb_errors import as_system_errors
from mstgraph.support.disk.locks import held
from mstgraph.support.disk.own_folder import refuse_links
from mstgraph.support.errors import UserError
from mstgraph.support.files import FULL
from mstgraph.support.text import size_in_words


@contextmanager
def partial_directory(path: Path, elsewhere: str = "choose another --out") -> Iterator[None]:
    """Make the directory that a build writes to and hold its lock.

    Args:
        path: the directory.
        elsewhere: what to do where it cannot be here; empty if it must.

    Raises:
        UserError: it cannot be written, or another process is building there.
    """
    instead = f" or {elsewhere}" if elsewhere else ""
    sentence = f"another process is building {path}; wait for it{instead}"
    with ExitStack() as stack:
        try:
            path.mkdir(parents=True, exist_ok=True)
            refuse_links(path / LOCK_FILE, path / f"{LOCK_FILE}.marker", path / DATA_FILE)
            stack.enter_context(held(path / LOCK_FILE, sentence))
        except OSError as error:
            raise UserError(_unwritable(path, error, elsewhere)) from error
        yield


def _unwritable(path: Path, error: OSError, elsewhere: str) -> str:
    if error.errno in FULL:
        return f"{path} cannot be made: the disk is full; make room and run the same command again"
    instead = f" ({elsewhere})" if elsewhere else ""
    return (
        f"{path.parent} cannot be written ({error.strerror}); expected a directory that can be"
        f"{instead}"
    )


@contextmanager
def explained(partial: Path) -> Iterator[None]:
    """Turn a failed write into one sentence about what is kept and how to go on.

    Raises:
        UserError: the disk is full, failing or not writable.
    """
    try:
        with as_system_errors():
            yield
    except OSError as error:
        raise UserError(_stopped(partial, _reason(error))) from error


def _reason(error: OSError) -> str:
    if error.errno in FULL:
        return "the disk is full"
    return (
        "the disk is full or failing" if error.errno == errno.EIO else error.strerror or str(error)
    )


def _stopped(partial: Path, reason: str) -> str:
    data = partial / DATA_FILE
    written = size_in_words(data.stat().st_size if data.exists() else 0)
    return (
        f"writing {partial} failed after {written}: {reason}; nothing half written will be "
        "taken for a whole store, and the same command continues once that is mended"
    )
