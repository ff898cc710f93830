"""LMDB's errors are the system's."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import lmdb
import pytest

from mstgraph.support.disk.lmdb_errors import as_system_errors


def test_a_map_that_is_full_is_a_full_disk(tmp_path: Path) -> None:
    """One error for all that run out of room."""
    environment = lmdb.open(str(tmp_path), map_size=64 * 1024)
    with pytest.raises(OSError, match="MDB_MAP_FULL") as caught, as_system_errors():  # noqa: SIM117
        with environment.begin(write=True) as transaction:
            transaction.put(b"key", bytes(10**6))
    assert caught.value.errno == errno.ENOSPC


def test_a_path_that_is_not_there_is_not_a_full_disk(tmp_path: Path) -> None:
    """The system's number comes through, with what LMDB says."""
    with pytest.raises(OSError, match=os.strerror(errno.ENOENT)) as caught, as_system_errors():
        lmdb.open(str(tmp_path / "absent"), create=False)
    assert caught.value.errno == errno.ENOENT
