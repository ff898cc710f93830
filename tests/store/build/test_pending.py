"""Blocks whose record is not full yet lie beside the data, and leave nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_recipes import Vectors

from mstgraph.store import layout
from mstgraph.store.build.builder import build
from mstgraph.store.build.pending import Pending
from mstgraph.support.errors import UserError


def test_what_was_written_is_read_by_another_process(tmp_path: Path) -> None:
    """In its order; a block that is written again is the later one."""
    first = Pending(tmp_path)
    for place, content in enumerate((b"aa", b"bb", b"cc")):
        first.write("rgb", place, content)
    first.write("rgb", 1, b"dd")
    first.close()
    assert Pending(tmp_path).read("rgb", 2, 2) == [b"aa", b"dd"]


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:-1] + b"x"])
def test_damage_is_told(tmp_path: Path, damage) -> None:
    """A block that was cut short or changed would become part of a record that looks whole."""
    Pending(tmp_path).write("rgb", 0, b"aa")
    file = tmp_path / "pending" / "rgb"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match=r"is damaged: a block .* remove this folder"):
        Pending(tmp_path).read("rgb", 1, 2)


def test_a_store_takes_little_more_than_its_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every size of record: no hole, no padding, no list of numbers."""
    monkeypatch.setattr(layout, "BLOCK_BYTES", 16 * 1024)
    monkeypatch.setattr(layout, "RECORD_BYTES", 32 * 1024)
    store = build(Vectors(length=1024), tmp_path / "vectors")
    samples = sum(column.row_bytes for column in store.columns.values()) * store.length
    assert store.columns["rgb"].records > 1
    fixed = 128 * 1024  # pages of LMDB's trees, however many samples there are
    assert (store.path / "data.mdb").stat().st_size < 1.08 * samples + fixed
