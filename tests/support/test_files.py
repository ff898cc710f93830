"""Files that are whole or not there, what goes into a JSON file, and what a full disk says."""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch

from mstgraph.support.errors import UserError
from mstgraph.support.files import (
    explained,
    file_digest,
    json_ready,
    read_json,
    write_atomically,
    write_json,
    write_text,
)


def test_every_reader_of_json_takes_what_is_written(tmp_path: Path) -> None:
    """Tensors and arrays become lists, what is no finite number null, at any depth."""
    value = {
        "loss": math.nan,
        "nested": {"values": (1.5, math.inf, -math.inf, 2)},
        "tensor": torch.tensor([1.0, math.nan]),
        "array": np.array([[1, 2]]),
        "words": ["nan", None, True],
    }
    expected = {
        "loss": None,
        "nested": {"values": [1.5, None, None, 2]},
        "tensor": [1.0, None],
        "array": [[1, 2]],
        "words": ["nan", None, True],
    }
    assert json_ready(value) == expected
    write_json(tmp_path / "file.json", value)
    assert read_json(tmp_path / "file.json") == expected

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads((tmp_path / "file.json").read_text(), parse_constant=refuse)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    """Nothing half written, and nothing beside it."""
    write_text(tmp_path / "file", "before")
    with pytest.raises(UnicodeEncodeError):
        write_text(tmp_path / "file", "after \ud800")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "before")]


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.ENOSPC, "no space is left to write 'out'; what is finished is kept"),
        (errno.EDQUOT, "no space is left to write 'out'; what is finished is kept"),
        (errno.EIO, "no space is left to write 'out', or the disk is failing; what is finished"),
        (errno.EROFS, r"'out' cannot be written \(Read-only file system\); choose another place"),
        (errno.ENAMETOOLONG, "a name in 'out' is too long"),
    ],
)
def test_the_systems_errors_are_sentences(code: int, sentence: str) -> None:
    """What happened, where, and what to do."""
    with pytest.raises(UserError, match=sentence), explained(Path("out")):
        raise OSError(code, os.strerror(code))


@pytest.mark.parametrize("size", [0, 5, 3 * 2**20 + 1])
def test_a_digest_is_that_of_the_whole_file(size: int, tmp_path: Path) -> None:
    """However large: it is read piece by piece."""
    content = np.random.default_rng(0).bytes(size)
    (tmp_path / "file").write_bytes(content)
    assert file_digest(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_a_file_is_on_the_disk_before_it_takes_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power cut there is the old file or the whole new one: content, name, then folder."""
    did: list[str] = []
    replace = os.replace

    def rename(source: Path, target: Path) -> None:
        did.append("name")
        replace(source, target)

    def durable(descriptor: int) -> None:
        did.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "content")

    monkeypatch.setattr(os, "fsync", durable)
    monkeypatch.setattr(os, "replace", rename)
    write_atomically(tmp_path / "file", lambda path: path.write_text("new"))
    assert did == ["content", "name", "folder"]
