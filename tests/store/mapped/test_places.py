"""Where values lie in the file: exactly where LMDB hands them out, and found without LMDB."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Mapping
from pathlib import Path

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_recipes import Maps, column

from mstgraph.store.build.builder import build
from mstgraph.store.mapped import environment
from mstgraph.store.mapped.places import DamagedPages, find_places
from mstgraph.store.reader import Store

Values = Mapping[bytes, bytes]


def written(path: Path, databases: Mapping[str, Values]) -> memoryview:
    """Write databases with LMDB, each in two transactions, and return the file's bytes."""
    shutil.rmtree(path, ignore_errors=True)
    with lmdb.open(str(path), max_dbs=len(databases), lock=False, map_size=1 << 28) as opened:
        handles = {name: opened.open_db(name.encode()) for name in databases}
        for parity in (0, 1):
            with opened.begin(write=True) as transaction:
                for name, values in databases.items():
                    for key in list(values)[parity::2]:
                        transaction.put(key, values[key], db=handles[name])
    return memoryview((path / "data.mdb").read_bytes())


def found(file: memoryview, database: str) -> Values | None:
    """Return what lies at the places that are found."""
    places = find_places(file, database)
    return None if places is None else {k: bytes(file[a : a + n]) for k, (a, n) in places.items()}


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=60),
        st.integers(0, 9000).map(lambda size: bytes(np.arange(size) % 251)),
        max_size=60,
    )
)
def test_values_of_every_size_are_found(tmp_path_factory, values: Values) -> None:
    """In a leaf or on pages of their own, in one database of several."""
    path = tmp_path_factory.getbasetemp() / "places"
    file = written(path, {"one": values, "other": {b"key": b"value"}})
    assert found(file, "one") == values
    assert list(find_places(file, "one") or ()) == sorted(values)
    assert found(file, "other") == {b"key": b"value"}


def test_a_tree_of_several_levels(tmp_path: Path) -> None:
    """Thousands of records, as of large samples."""
    values = {n.to_bytes(8, "big"): bytes([n % 256]) * 300 for n in range(30_000)}
    file = written(tmp_path / "deep", {"deep": values})
    assert found(file, "deep") == values


def test_what_is_not_understood_is_left_to_lmdb(tmp_path: Path) -> None:
    """Another version, or another byte order: nothing is said of it."""
    file = written(tmp_path / "file", {"one": {b"key": b"value"}})
    later, swapped = bytearray(file), bytearray(file)
    later[20] += 1
    swapped[16:20] = swapped[16:20][::-1]
    assert find_places(memoryview(later), "one") is None
    assert find_places(memoryview(swapped), "one") is None
    with pytest.raises(KeyError):
        find_places(file, "two")


def test_damaged_pages_are_found_before_lmdb_sees_them(tmp_path: Path) -> None:
    """No flipped bit ends the process, leads beyond the file or round in a circle."""
    values = {n.to_bytes(8, "big"): bytes([n]) * (5000 if n % 9 == 0 else 90) for n in range(200)}
    file = written(tmp_path / "file", {"one": values})
    for place in (16, 40):  # magic, size of a page
        spoilt = bytearray(file)
        spoilt[place] ^= 0xFF
        with pytest.raises(DamagedPages):
            find_places(memoryview(spoilt), "one")
    for cut in (0, 100, 8192):
        with pytest.raises(DamagedPages):
            find_places(file[:cut], "one")
    random = np.random.default_rng(0)
    damaged = 0
    for place in random.integers(0, len(file), 1500):
        spoilt = bytearray(file)
        spoilt[place] ^= 1 << random.integers(8)
        try:
            places = find_places(memoryview(spoilt), "one") or {}
        except (DamagedPages, KeyError):
            damaged += 1
            continue
        assert all(start + size <= len(file) for start, size in places.values())
    assert damaged > 5


@pytest.mark.parametrize("name", ["rgb", "audio", "label"])
def test_columns_are_read_without_lmdb_touching_them(
    store: Store, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """The same as through LMDB, of which no value of the column is asked for."""
    plain = Store(store.path)
    samples = [39, 0, 8, 8, 21]
    read = Store.read_labels if name == "label" else lambda s, i: s.read(name, i)
    monkeypatch.setattr(environment, "find_places", lambda memory, database: None)
    expected = read(plain, samples)
    plain.close()
    store.close()
    gc.collect()  # the next store opens the file anew
    monkeypatch.undo()
    monkeypatch.delattr(environment, "LMDB")
    np.testing.assert_array_equal(read(store, samples), expected)


def test_large_samples_are_read_without_lmdb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records of one sample each; what is read outlives the store."""
    store = build(Maps(), tmp_path / "maps")
    monkeypatch.delattr(environment, "LMDB")
    rows = store.read("rgb", [5, 2])
    store.close()
    np.testing.assert_array_equal(rows, column(Maps(), "rgb")[[5, 2]])
