"""Which folders may be written to, what in them is ours, and nothing through links."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mstgraph.support.disk.own_folder import (
    RECORD,
    OwnFolder,
    make_folder,
    named_folder,
    refuse_links,
)
from mstgraph.support.errors import UserError


def test_a_new_or_empty_folder_becomes_our_own(tmp_path: Path) -> None:
    """Also with what a kill may have left of an attempt, and on top of a file system."""
    for name in ("lost+found", ".lock", ".lock.marker", f".{RECORD}.partial"):
        (tmp_path / name).touch()
    own = OwnFolder(tmp_path, "run")
    own.claim()
    (tmp_path / "anything").touch()
    OwnFolder(tmp_path, "run").claim()
    OwnFolder(tmp_path / "new", "run").refuse_foreign()


@pytest.mark.parametrize("there", ["notes.md", ".git", "kept", "student-list.csv", "config.gin"])
def test_a_folder_with_other_things_is_refused(there: str, tmp_path: Path) -> None:
    """Whatever they are called; the sentence names them, and nothing is written."""
    (tmp_path / there).touch()
    with pytest.raises(UserError, match=f"is no run of mstgraph's and not empty .*'{there}'"):
        OwnFolder(tmp_path, "run").claim()
    assert [path.name for path in tmp_path.iterdir()] == [there]


def test_a_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    """A benchmark's is no run's."""
    OwnFolder(tmp_path, "benchmark").claim()
    (tmp_path / "results.json").touch()
    with pytest.raises(UserError, match="is no run"):
        OwnFolder(tmp_path, "run").claim()


def test_only_what_was_made_is_overwritten_or_removed(tmp_path: Path) -> None:
    """What somebody else puts there stays, under whatever name; the record outlives a process."""
    own = OwnFolder(tmp_path, "run")
    own.claim()
    own.make("student-a.json", "summary.json")
    for name in ("student-a.json", "summary.json", "student-mine.json"):
        (tmp_path / name).write_text("x")
    again = OwnFolder(tmp_path, "run")
    again.claim()
    again.make("summary.json")
    with pytest.raises(UserError, match=r"student-mine.json' is to be written, but is there"):
        again.make("student-mine.json")
    again.remove(["student-a.json", "student-mine.json"])
    assert not (tmp_path / "student-a.json").exists()
    assert (tmp_path / "student-mine.json").read_text() == "x"
    assert again.made() == ["student-a.json", "summary.json"]


def test_what_earlier_versions_made_is_taken_over(tmp_path: Path) -> None:
    """They kept no record."""
    (tmp_path / "summary.json").touch()
    own = OwnFolder(tmp_path, "run", lambda path: ["summary.json"])
    own.claim()
    own.make("summary.json")
    assert json.loads((tmp_path / RECORD).read_text())["made"] == ["summary.json"]


def test_a_damaged_record_is_one_sentence(tmp_path: Path) -> None:
    """That asks for no more than its removal."""
    OwnFolder(tmp_path, "run").claim()
    (tmp_path / RECORD).write_text('{"kind": 3}')
    with pytest.raises(UserError, match=r"\.mstgraph\.json' .*; remove this file"):
        OwnFolder(tmp_path, "run").claim()


def test_folders_are_not_made_through_links(tmp_path: Path) -> None:
    """At whatever depth; the top itself may be one."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "top").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "top")
    make_folder(tmp_path / "link", tmp_path / "link" / "a" / "b")
    (tmp_path / "top" / "a" / "c").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="a/c' is a link, through which nothing is written"):
        make_folder(tmp_path / "top", tmp_path / "top" / "a" / "c" / "d")
    assert not list((tmp_path / "outside").iterdir())
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is a link"):
        refuse_links(tmp_path / "dangling")


@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_name_is_no_folder(empty: str) -> None:
    """An unset variable of the shell would otherwise mean the working directory."""
    with pytest.raises(UserError, match="has an empty name"):
        named_folder(empty, Path("runs"))
    assert named_folder(None, Path("runs")) == Path("runs")
    assert named_folder("here", Path("runs")) == Path("here")
