"""A store of other code or of other raw data is known for what it is."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from mstgraph.store.build.builder import build
from mstgraph.store.load import load_recipe
from mstgraph.store.staleness import edited_module, other_raw_data
from mstgraph.support.errors import UserError

RECIPE = """
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mstgraph.store import Labels, Modality, Recipe

sys.path.insert(0, str(Path(__file__).parent / "lib"))
import {helper}


@dataclass
class Small(Recipe):
    title, source, licence = "small", "drawn at random", "none"
    raw: Path
    reader: str = ""

    def modalities(self):
        return (Modality("m", "float32", (2,)),)

    def labels(self):
        return Labels("classification", ("a", "b"))

    def __len__(self):
        return 10

    def raw_files(self):
        return (self.raw,) if self.raw.is_file() else tuple(sorted(self.raw.glob("*.bin")))

    def sample(self, index):
        from {late} import offset
        values = np.full(2, {helper}.gain * index + offset, "float32")
        return {{"m": values, "label": index % 2}}
"""


@pytest.fixture
def world(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A recipe that imports one module when it is loaded and one when it is used; raw files."""
    own = f"{request.node.name.replace('[', '_').replace(']', '').replace('-', '_')}"[-40:]
    (tmp_path / "lib").mkdir()
    (tmp_path / "recipe.py").write_text(RECIPE.format(helper=f"helper{own}", late=f"late{own}"))
    (tmp_path / "lib" / f"helper{own}.py").write_text(f"from above{own} import gain\n")
    (tmp_path / "lib" / f"above{own}.py").write_text("gain = 2\n")
    (tmp_path / "lib" / f"late{own}.py").write_text("offset = 1\n")
    (tmp_path / "raw").mkdir()
    for name in ("one", "two"):
        (tmp_path / "raw" / f"{name}.bin").write_bytes(name.encode() * 1000)
    return tmp_path


def origin(world: Path, raw: Path | None = None) -> dict[str, Any]:
    """Build the store and return what it says of where it comes from."""
    recipe = load_recipe(world / "recipe.py", raw or world / "raw")
    found: dict[str, Any] = build(recipe, world / "store").metadata["recipe"]
    return found


@pytest.mark.parametrize("which", ["helper", "above", "late"])
def test_an_edited_module_of_a_recipe_is_named(which: str, world: Path) -> None:
    """Also one that another one imports, and one that is imported when a sample is read."""
    prepared = origin(world)
    assert edited_module(prepared, world / "recipe.py") is None
    (edited,) = (world / "lib").glob(f"{which}*.py")
    edited.write_text(edited.read_text() + "\ngain = offset = 5\n")
    assert edited_module(prepared, world / "recipe.py") == edited.stem
    with pytest.raises(UserError, match="other modules that the recipe imports"):
        origin(world)


def test_a_recipe_that_was_moved_with_its_modules_is_the_same(world: Path) -> None:
    """Where things lie changes nothing."""
    prepared = origin(world)
    shutil.copytree(world, world / "elsewhere")
    assert edited_module(prepared, world / "elsewhere" / "recipe.py") is None
    assert other_raw_data(prepared, world / "elsewhere" / "raw") is None


@pytest.mark.parametrize("change", ["content", "size", "gone", "another"])
def test_other_raw_data_are_named(change: str, world: Path) -> None:
    """Changed in place, with size and time as they were or not, cut, removed, or another folder."""
    prepared, raw = origin(world), world / "raw"
    assert other_raw_data(prepared, raw) is None
    file = raw / "two.bin"
    before = file.stat()
    if change == "gone":
        file.unlink()
    elif change == "another":
        raw = Path(shutil.copytree(raw, world / "other"))
        (raw / "two.bin").write_bytes(b"2wo" * 1000)
        os.utime(raw / "two.bin", ns=(before.st_atime_ns, before.st_mtime_ns))
    else:
        file.write_bytes(b"new" * (1000 if change == "content" else 5))
    assert "two.bin'" in (other_raw_data(prepared, raw) or "")


def test_a_raw_file_of_another_name_is_read(world: Path) -> None:
    """Two files written one after the other can have one size and one time."""
    one = world / "raw" / "one.bin"
    prepared = origin(world, one)
    two = one.with_name("two.bin")
    status = one.stat()
    os.utime(two, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert other_raw_data(prepared, one) is None
    assert "two.bin' has changed, or is another file" in (other_raw_data(prepared, two) or "")


def test_raw_data_that_are_not_here_say_nothing(world: Path) -> None:
    """Whoever has prepared a store may put its raw data away."""
    prepared = origin(world)
    shutil.rmtree(world / "raw")
    assert other_raw_data(prepared, world / "raw") is None
    assert other_raw_data(prepared, None) is None


def test_stores_of_earlier_versions_are_taken_as_they_are(world: Path) -> None:
    """They know neither modules nor times; a size that differs is seen all the same."""
    one = world / "raw" / "one.bin"
    prepared = origin(world, one)
    for key in ("modules", "places"):
        del prepared[key]
    for file in prepared["raw_files"]:
        for key in ("path", "modified", "inode"):
            del file[key]
    assert edited_module(prepared, world / "recipe.py") is None
    assert other_raw_data(prepared, one) is None
    one.write_bytes(b"shorter")
    assert other_raw_data(prepared, one) is not None
