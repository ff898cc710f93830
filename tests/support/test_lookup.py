"""Where a named file is looked for, and in which order."""

from __future__ import annotations

from pathlib import Path

import pytest

from mstgraph.support import lookup
from mstgraph.support.errors import UserError


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """A working directory, a folder two deep beside which to look, and a shipped folder."""
    found = {name: tmp_path / name for name in ("here", "above", "above/deep", "shipped")}
    for folder in found.values():
        folder.mkdir()
    monkeypatch.chdir(found["here"])
    monkeypatch.setattr(lookup, "SHIPPED", found["shipped"])
    return found


def test_the_first_place_wins(places: dict[str, Path]) -> None:
    """The working directory, the folder, the folders above it, and what is shipped."""
    order = [places[name] / "x.gin" for name in ("here", "above/deep", "above", "shipped")]
    for file in order:
        file.write_text("")
    for file in order:
        assert lookup.find_file("x.gin", [places["above/deep"]]).resolve() == file
        file.unlink()
    with pytest.raises(UserError):
        lookup.find_file("x.gin", [places["above/deep"]])


def test_without_a_folder_nothing_lies_above(places: dict[str, Path]) -> None:
    """What is typed on the command line is found here or among what is shipped."""
    (places["here"].parent / "x.gin").write_text("")
    with pytest.raises(UserError) as caught:
        lookup.find_file("x.gn")
    assert str(caught.value) == (
        f"there is no file 'x.gn': looked in the working directory, and in '{places['shipped']}'"
    )
    (places["shipped"] / "x.gin").write_text("")
    assert lookup.find_file("x.gin") == places["shipped"] / "x.gin"


def test_an_absolute_name_has_one_place(places: dict[str, Path]) -> None:
    """The sentence lists no folders that were never looked into."""
    (places["above"] / "x.gin").write_text("")
    with pytest.raises(UserError) as caught:
        lookup.find_file(places["above"] / "y.gin", place="a.gin:1")
    assert str(caught.value) == (
        f"a.gin:1: there is no file '{places['above']}/y.gin'; did you mean "
        f"'{places['above']}/x.gin'? (valid: {places['above']}/x.gin)"
    )


def test_a_folder_of_the_users_is_never_a_shipped_one(places: dict[str, Path]) -> None:
    """Stores lie where they were written: none comes with the package."""
    (places["shipped"] / "stores").mkdir()
    assert lookup.find_folder("stores", [places["above/deep"]]) is None
    (places["above"] / "stores").mkdir()
    assert lookup.find_folder("stores", [places["above/deep"]]) == places["above"] / "stores"
