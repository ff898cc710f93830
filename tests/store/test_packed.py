"""Identifiers and splits take fewer bytes and say the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sample_recipes import Vectors

from mstgraph.store.build import description, writer
from mstgraph.store.build.builder import build
from mstgraph.store.layout import IDENTIFIER, SPLITS, canonical
from mstgraph.store.packed import packed_identifiers, packed_split, unpacked
from mstgraph.store.reader import Store
from mstgraph.store.verification import verify
from mstgraph.support.errors import UserError


@pytest.mark.parametrize("ids", [[], [0], [6], [0, 2, 3, 6], range(7)])
def test_a_split_is_a_bit_for_each_sample(ids: list[int]) -> None:
    """Of a number of samples that fills no byte, too."""
    packed = packed_split(np.array(ids, np.int64), 7)
    assert len(packed) == 1
    assert np.frombuffer(unpacked(SPLITS, packed, range(7)), "<i8").tolist() == list(ids)


@pytest.mark.parametrize(
    ("names", "most"), [(["8", "9", "10"], 0), (["8", "9", "11"], 30), (["ä"] * 900, 60)]
)
def test_identifiers_that_are_numbers_take_nothing(names: list[str], most: int) -> None:
    """Others are compressed; what comes back is the text that the checksum is of."""
    samples = range(8, 8 + len(names))
    packed = packed_identifiers(canonical(names), samples)
    assert len(packed) <= most
    assert json.loads(unpacked(IDENTIFIER, packed, samples)) == names


def test_what_was_not_packed_so_is_told() -> None:
    """As a mistake in a value, whatever the library raises."""
    with pytest.raises(ValueError, match="incorrect header"):
        unpacked(IDENTIFIER, b"no such thing", range(3))


def test_stores_of_the_plain_form_are_read(
    tmp_path: Path, small_blocks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that earlier versions wrote: of the same fingerprint, and verified alike."""
    new = build(Vectors(), tmp_path / "new")
    monkeypatch.setattr(writer, "packed_identifiers", lambda content, samples: content)
    monkeypatch.setattr(writer, "packed_split", lambda ids, length: ids.astype("<i8").tobytes())
    monkeypatch.setattr(description, "FORMAT_VERSION", 1)
    old = build(Vectors(), tmp_path / "old")
    assert (old.metadata["format_version"], new.metadata["format_version"]) == (1, 3)
    assert old.fingerprint == new.fingerprint
    assert verify(old) == []
    for store in (old, new):
        assert [store.identifier(index) for index in (0, 39)] == ["clip000", "clip039"]
    np.testing.assert_array_equal(old.split("2", "test"), new.split("2", "test"))


def test_a_packed_value_that_says_something_else_is_damage(store: Store) -> None:
    """Though it is stored as it was written: the checksum is of what it says."""
    store.metadata["format_version"] = 1
    with pytest.raises(UserError, match=r"record of '.splits'.* does not match its checksum"):
        store.split("0", "train")
