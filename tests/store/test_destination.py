"""Where stores can be built, and what is refused before anything is done for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sample_recipes import Vectors

from mstgraph.report.preparation import prepare
from mstgraph.store.build.builder import build
from mstgraph.store.reader import Store
from mstgraph.store.verification import verify
from mstgraph.support.errors import UserError


def test_an_empty_folder_stays_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Be it somebody's working directory or another disk."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lost+found").mkdir()  # the top of a file system has one
    before = tmp_path.stat().st_ino
    assert verify(build(Vectors(), Path("."))) == []
    assert tmp_path.stat().st_ino == before
    assert sorted(os.listdir(".")) == ["data.mdb", "lost+found", "metadata.json"]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_leads_to_where_the_store_is_built(there: bool, tmp_path: Path) -> None:
    """To an empty folder, or to one that is still to be made; the link stays a link."""
    target, link = tmp_path / "disk" / "big", tmp_path / "stores" / "x"
    target.parent.mkdir()
    link.parent.mkdir()
    if there:
        target.mkdir()
    link.symlink_to(target)
    build(Vectors(), link)
    assert link.is_symlink()
    assert verify(Store(target)) == []
    assert sorted(os.listdir(target)) == ["data.mdb", "metadata.json"]
    assert os.listdir(link.parent) == ["x"]


@pytest.mark.parametrize("named", ["data.mdb", "metadata.json"])
def test_a_kill_before_a_file_takes_its_place_in_a_folder(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command finishes it; nobody takes it for a store before."""
    replace_file = os.replace

    def killed(source: Path, target: Path) -> None:
        if Path(target) == tmp_path / named:
            raise KeyboardInterrupt
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        build(Vectors(), tmp_path)
    monkeypatch.undo()
    with pytest.raises(UserError, match="half built"):
        Store(tmp_path)
    assert verify(build(Vectors(), tmp_path)) == []
    assert sorted(os.listdir(tmp_path)) == ["data.mdb", "metadata.json"]


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("x", "x is a file; expected a directory"),
        ("x/notes.md", "x exists and is no store"),
        ("x.partial/data.mdb", r"x\.partial holds 'data.mdb' and is no half-built store"),
        ("x.partial/metadata.json", "is no half-built store"),
        ("loop", "expected a folder"),
    ],
)
def test_what_is_somebodys_is_refused_and_stays(name: str, sentence: str, tmp_path: Path) -> None:
    """A file, a folder with other things, a folder that only has the name of ours."""
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if name == "loop":
        path.symlink_to(path)
    else:
        path.write_text("precious")
    place = tmp_path / ("loop" if name == "loop" else "x")
    with pytest.raises(UserError, match=sentence):
        build(Vectors(), place)
    assert name == "loop" or path.read_text() == "precious"


def test_a_destination_is_checked_before_the_recipe_is_run(tmp_path: Path) -> None:
    """What takes hours is not begun for a place that cannot take it."""
    recipe = tmp_path / "recipe.py"
    recipe.write_text("raise AssertionError('it was run')")
    with pytest.raises(UserError, match=r"the folder of --out has an empty name"):
        prepare(recipe, "", progress=False)
    with pytest.raises(UserError, match="is no store"):
        prepare(recipe, tmp_path, progress=False)


def test_less_than_one_process_is_refused(tmp_path: Path) -> None:
    """Before the recipe is looked for."""
    with pytest.raises(UserError, match="0 jobs are asked for; expected at least 1"):
        prepare(tmp_path / "none.py", tmp_path / "store", progress=False, jobs=0)
