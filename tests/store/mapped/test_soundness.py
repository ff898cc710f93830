"""A turned bit is found before its number is used; a record is compared once in a process."""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent.futures import wait
from mmap import PAGESIZE
from pathlib import Path

import numpy as np
import pytest
from sample_recipes import Maps, Vectors, column

from mstgraph.store.build.builder import build
from mstgraph.store.build.writer import OWN
from mstgraph.store.mapped import soundness
from mstgraph.store.mapped.environment import is_sound
from mstgraph.store.mapped.places import find_places
from mstgraph.store.mapped.soundness import CHECKSUMS, CRCS
from mstgraph.store.reader import Store
from mstgraph.support.errors import UserError


def spoil(store: Store, database: str, number: int = 0) -> Store:
    """Flip a bit in the middle of a record of a database; return the store again."""
    path = store.path / "data.mdb"
    store.close()
    gc.collect()
    content = bytearray(path.read_bytes())
    places = find_places(memoryview(bytes(content)), database)
    assert places is not None
    start, size = list(places.values())[number]
    content[start + size // 2] ^= 4
    path.write_bytes(content)
    return Store(store.path)


READ: dict[str, Callable[[Store], object]] = {
    "rgb": lambda store: store.read("rgb", [3]),
    "label": lambda store: store.read_labels([3]),
    ".splits": lambda store: store.split("0", "test"),
    ".statistics": lambda store: store.statistics("audio", "0"),
    "identifier": lambda store: store.identifier(0),
    ".checksums": lambda store: store.read("audio", [39]),
}


@pytest.mark.parametrize("database", READ)
def test_a_turned_bit_is_found_before_it_is_used(database: str, store: Store) -> None:
    """In samples, labels, splits, statistics, names, and in the list of checksums itself."""
    with pytest.raises(UserError, match="checksum"):
        READ[database](spoil(store, database))


def test_sound_records_beside_a_damaged_one_are_read(store: Store) -> None:
    """Only what is asked for is looked at."""
    spoilt = spoil(store, "rgb", 2)
    np.testing.assert_array_equal(spoilt.read("rgb", [0, 39]), column(Vectors(), "rgb")[[0, 39]])
    with pytest.raises(UserError, match="record of samples 16 to 23 of 'rgb' does not match"):
        spoilt.read("rgb", [0, 17])


@pytest.mark.parametrize("key", ["scale", "ignored"])
def test_metadata_that_say_something_else_are_refused(key: str, store: Store) -> None:
    """With the first value that is read: all that changes numbers is in the fingerprint."""
    path = store.path / "metadata.json"
    old = {"scale": '"scale": 2.0', "ignored": '"ignored": -1'}[key]
    new = {"scale": '"scale": 4.0', "ignored": '"ignored": 1'}[key]
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError, match=r"is damaged: metadata\.json or the list of checksums"):
        Store(store.path).read("rgb", [0])


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The places that are read for their checksums."""
    asked: list[tuple[int, int]] = []
    plain = soundness.file_crc

    def counted(stream, place):
        asked.append(place)
        return plain(stream, place)

    monkeypatch.setattr(soundness, "file_crc", counted)
    return asked


def test_each_record_is_compared_once_in_a_process(
    tmp_path: Path, read: list[tuple[int, int]]
) -> None:
    """Whatever store object reads it, and however often."""
    store = build(Maps(), tmp_path / "maps")
    for _ in range(2):
        store.read("depth", [0, 1, 2])
        store.read("depth", [2, 3])
    assert len(read) == len(set(read)) == 4
    store.close()
    Store(store.path).read("depth", [0, 1, 2, 3])
    assert len(read) == 4


def test_records_that_will_be_needed_are_compared_before(
    tmp_path: Path, read: list[tuple[int, int]]
) -> None:
    """In the background; what turns out to be damaged is told when it is read."""
    store = spoil(build(Maps(), tmp_path / "maps"), "depth", 4)
    store.will_need("depth", [1, 4])
    store.will_need("depth", [1, 4])
    wait(list(store.environment._pending.values()))
    assert len(read) == 2
    store.read("depth", [1])
    with pytest.raises(UserError, match="samples 4 to 4 of 'depth'"):
        store.read("depth", [4])
    assert len(read) == 2


def test_a_file_that_was_left_is_looked_through(store: Store) -> None:
    """Before LMDB, which trusts its own pages, is let at it."""
    databases = ["rgb", "audio", "label", "identifier"]
    store.close()
    assert is_sound(store.path, databases, OWN)
    data = store.path / "data.mdb"
    whole = data.read_bytes()
    for own in (CHECKSUMS, CRCS):
        places = find_places(memoryview(whole), own)
        assert places is not None
        header = next(iter(places.values()))[0] // PAGESIZE * PAGESIZE
        damaged = bytearray(whole)
        damaged[header + 10] ^= 4  # says another kind of page
        data.write_bytes(damaged)
        assert not is_sound(store.path, databases, OWN), own
    data.write_bytes(whole)
    assert not is_sound(spoil(store, "audio", 1).path, databases, OWN)
    data.write_bytes(b"x" * 500)
    assert not is_sound(store.path, databases, OWN)


@pytest.mark.parametrize("damaged", [True, False])
def test_stores_without_crcs_are_compared_with_their_checksums(
    damaged: bool, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of earlier versions; and one whose CRC itself is damaged is sound all the same."""
    if not damaged:
        np.testing.assert_array_equal(
            spoil(store, ".crc32").read("audio", [0, 39]), column(Vectors(), "audio")[[0, 39]]
        )
        return
    spoilt = spoil(store, "rgb")
    monkeypatch.setattr("mstgraph.store.mapped.environment.CRCS", ".none")
    np.testing.assert_array_equal(spoilt.read("rgb", [39]), column(Vectors(), "rgb")[[39]])
    with pytest.raises(UserError, match="does not match its checksum"):
        spoilt.read("rgb", [0])
