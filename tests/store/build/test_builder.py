from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import numpy as np
import pytest
from sample_recipes import Maps, Vectors, column

from mstgraph.store.build import writer
from mstgraph.store.build.builder import build
from mstgraph.store.reader import Store
from mstgraph.store.verification import verify
from mstgraph.support.errors import UserError

pytestmark = pytest.mark.usefixtures("small_blocks")


def _interrupted(recipe: Vectors, destination: Path, at: int) -> Path:
    """Begin a build and break it off at sample ``at``; return the partial directory."""
    recipe.fail_at = at
    with pytest.raises(KeyboardInterrupt):
        build(recipe, destination)
    recipe.fail_at = -1
    return destination.with_name(destination.name + ".partial")


def _content(store: Store) -> list[np.ndarray]:
    everything = np.arange(store.length)
    return [*(store.read(name, everything) for name in store.modalities)]


@pytest.mark.parametrize("at", [0, 3, 4, 13, 22, 39])
def test_interrupted_build_continues_to_the_same_store(tmp_path: Path, at: int) -> None:
    """Only what was not committed is read again, and the fingerprint is that of one go."""
    whole = build(Vectors(), tmp_path / "whole")
    recipe = Vectors()
    _interrupted(recipe, tmp_path / "broken", at)
    seen: list[tuple[int, int]] = []
    store = build(recipe, tmp_path / "broken", progress=lambda *done: seen.append(done))
    assert seen == [(done, 40) for done in range(at // 4 * 4, 41)]
    assert store.fingerprint == whole.fingerprint
    assert verify(store) == []
    for found, expected in zip(_content(store), _content(whole), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert sorted(os.listdir(tmp_path)) == ["broken", "whole"]
    assert sorted(os.listdir(store.path)) == ["data.mdb", "metadata.json"]


def test_half_built_store_cannot_be_opened(tmp_path: Path) -> None:
    """Neither under its name nor under that of the partial directory."""
    partial = _interrupted(Vectors(), tmp_path / "vectors", 20)
    with pytest.raises(UserError, match="half built; the same `mstgraph prepare`"):
        Store(tmp_path / "vectors")
    with pytest.raises(UserError, match="half-built store"):
        Store(partial)


@pytest.mark.parametrize("named", ["metadata.json", "vectors"])
def test_build_broken_off_at_its_end_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    """Before the metadata take their name, or before the store takes its own."""
    rename = os.rename

    def fail(source: str | Path, target: str | Path) -> None:
        if Path(target).name == named:
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        patch.setattr(os, "rename", fail)
        with pytest.raises(KeyboardInterrupt):
            build(Vectors(), tmp_path / "vectors")
    with pytest.raises(UserError, match="half built"):
        Store(tmp_path / "vectors")
    assert verify(build(Vectors(), tmp_path / "vectors")) == []


def test_anything_different_starts_over_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Other options, or other bytes in a raw file, never continue an earlier build."""
    raw = tmp_path / "raw.bin"
    raw.write_bytes(b"one")
    destination = tmp_path / "vectors"
    _interrupted(Vectors(raw=raw), destination, 20)
    raw.write_bytes(b"two")
    _interrupted(Vectors(raw=raw), destination, 10)
    _interrupted(Vectors(raw=raw, seed=1), destination, 5)
    assert [record.message.split(":")[0] for record in caplog.records] == [
        f"starting over in {destination}.partial"
    ] * 2
    store = build(Vectors(raw=raw, seed=1), destination)
    np.testing.assert_array_equal(store.read("audio", range(40)), column(Vectors(seed=1), "audio"))
    assert store.metadata["recipe"]["raw_files"][0]["name"] == "raw.bin"
    assert store.metadata["recipe"]["raw_files"][0]["size"] == 3


KILLED = """
import sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from sample_recipes import Vectors
from mstgraph.store import layout
from mstgraph.store.build.builder import build
layout.BLOCK_SAMPLES, layout.RECORD_BYTES = 4, 480
def progress(done, total):
    print(done, flush=True)
    time.sleep(0.01)
build(Vectors(), Path({destination!r}), progress=progress)
"""


def test_killed_build_continues(tmp_path: Path) -> None:
    """Kill -9 leaves a partial directory that the next build continues."""
    destination = tmp_path / "vectors"
    script = KILLED.format(tests=str(Path(__file__).parents[1]), destination=str(destination))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= 18:
                process.send_signal(signal.SIGKILL)
                break
    with pytest.raises(UserError, match="half built"):
        Store(destination)
    seen: list[int] = []
    store = build(Vectors(), destination, progress=lambda done, total: seen.append(done))
    assert seen[0] >= 16
    assert store.fingerprint == build(Vectors(), tmp_path / "whole").fingerprint


def test_two_builds_of_one_store_at_once_are_refused(tmp_path: Path) -> None:
    """The second one would write into the first one's files."""

    def again(done: int, total: int) -> None:
        if done == 10:
            with pytest.raises(UserError, match="another process is building"):
                build(Vectors(), tmp_path / "vectors")

    assert build(Vectors(), tmp_path / "vectors", progress=again).length == 40


def test_map_grows_as_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store larger than LMDB's first map is written all the same."""
    monkeypatch.setattr(writer, "INITIAL_MAP", 256 * 1024)
    store = build(Maps(), tmp_path / "maps")
    assert (store.path / "data.mdb").stat().st_size > 8 * 1024 * 1024
    assert verify(store) == []


FULL_DISK = """
import re
import resource, sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from sample_recipes import Maps
from mstgraph.support.errors import UserError
from mstgraph.store import layout
from mstgraph.store.build.builder import build
layout.BLOCK_SAMPLES, layout.RECORD_BYTES = 4, 480
resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, resource.RLIM_INFINITY))
try:
    build(Maps(), Path({destination!r}))
except UserError as error:
    print(error)
"""


def test_full_disk_is_one_sentence_and_the_same_command_continues(tmp_path: Path) -> None:
    """A write that the system refuses halfway keeps the committed blocks."""
    destination = tmp_path / "maps"
    script = FULL_DISK.format(tests=str(Path(__file__).parents[1]), destination=str(destination))
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "the disk is full" in found.stdout
    assert re.search(r" [kM]B: ", found.stdout)
    assert "nothing half written" in found.stdout
    assert found.stdout.strip().endswith("the same command continues once that is mended")
    seen: list[int] = []
    store = build(Maps(), destination, progress=lambda done, total: seen.append(done))
    assert seen[0] == 4
    assert verify(store) == []


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (lmdb.DiskError("mdb_txn_commit: No space left on device"), "the disk is full"),
        (OSError(errno.ENOSPC, "No space left on device"), "the disk is full"),
        (OSError(errno.EROFS, "Read-only file system"), "Read-only file system"),
    ],
)
def test_failing_writes_are_told_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    """Whatever layer reports it, the user reads the reason and how to go on."""

    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(writer.Writer, "write_splits", fail)
    with pytest.raises(UserError, match=f"failed after .* [kM]B: {message}; nothing half written"):
        build(Vectors(), tmp_path / "vectors")


def test_destination_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read-only place is named, with what to do."""

    def refuse(*arguments: object, **named: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"cannot be written \(Permission denied\).*--out"):
        build(Vectors(), tmp_path / "vectors")


def test_existing_store_is_returned_or_refused(tmp_path: Path) -> None:
    """The same recipe finds its store; another one must not overwrite it."""
    destination = tmp_path / "vectors"
    first = build(Vectors(), destination)
    changed = (destination / "data.mdb").stat().st_mtime_ns
    assert build(Vectors(), destination).fingerprint == first.fingerprint
    assert (destination / "data.mdb").stat().st_mtime_ns == changed
    with pytest.raises(UserError, match=r"already holds a store of another recipe.*--out"):
        build(Vectors(seed=1), destination)


def test_directory_with_other_files_is_not_built_into(tmp_path: Path) -> None:
    """A user's files are never replaced; an empty directory is fine."""
    (tmp_path / "photos").mkdir()
    build(Vectors(), tmp_path / "photos")
    shutil.rmtree(tmp_path / "photos")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"")
    with pytest.raises(UserError, match="exists and is no store"):
        build(Vectors(), tmp_path / "photos")
    with pytest.raises(UserError, match="is a file"):
        build(Vectors(), tmp_path / "photos" / "cat.jpg")


def test_fingerprint_depends_on_the_content_alone(tmp_path: Path) -> None:
    """Place and time do not count; samples, splits and options that change them do."""
    first = build(Vectors(), tmp_path / "first")
    time.sleep(0.01)
    assert build(Vectors(), tmp_path / "deep" / "er" / "second").fingerprint == first.fingerprint
    other = Vectors()
    other.splits = {"cv": {"train": range(20), "test": range(20, 30)}}
    found = {first.fingerprint, build(other, tmp_path / "splits").fingerprint}
    found.add(build(Vectors(seed=1), tmp_path / "seed").fingerprint)
    assert len(found) == 3
    assert str(tmp_path) not in json.dumps(first.metadata)


def test_classes_without_training_samples_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a class cannot be learnt; the split is named. The ignored label needs no samples."""
    with caplog.at_level(logging.WARNING, logger="mstgraph"):
        build(Maps(size=(4, 5)), tmp_path / "maps")
    assert [record.message for record in caplog.records] == [
        "test maps has no training sample of 'door' in split '0', '1', '2', '3', '4'"
    ]
    caplog.clear()
    recipe = Vectors()
    recipe.splits = {"cv": {"train": range(0, 30, 3), "test": [1]}}
    build(recipe, tmp_path / "vectors")
    assert [record.message for record in caplog.records] == [
        "test vectors has no training sample of 'dog', 'owl' in split 'cv'"
    ]
